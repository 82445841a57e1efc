"""Netdev type vde: the switch of vde2, QEMU on the same switch, and a switch
that lies."""

import os
import signal
import socket
import stat

import pytest

from kit import vde
from kit.deadline import until
from kit.wire import Stream, frame, free_port, number


@pytest.fixture
def lab(tmp_path_factory, closing):
    """lab(...) starts a switch; always at the same place."""
    reason = vde.why_not()
    if reason:
        pytest.skip(reason)
    path = str(tmp_path_factory.mktemp("v") / "sw")

    def start(*args):
        return closing(vde.Switch(path, *args))
    start.path = path
    return start


@pytest.fixture
def session(bulkhead, lab, tmp_path):
    """A daemon whose clients may join switches beside the lab's."""
    policy = tmp_path / "policy"
    policy.write_text(f"allow vde {os.path.dirname(lab.path)}\n")
    daemon = bulkhead("-nodefaults", "--policy", str(policy))
    made = daemon.qmp()
    made.daemon = daemon
    return made


@pytest.fixture
def post(session):
    """Our listening post on hub 0."""
    path = session.daemon.path("post.sock")
    session.cmd("netdev_add", type="socket", id="post", listen=path)
    session.cmd("netdev_add", type="hubport", id="p-post", hubid=0,
                netdev="post")
    end = Stream.connect(path)
    session.event("NETDEV_STREAM_CONNECTED", netdev_id="post")
    yield end
    end.close()


def join(session, path, **options):
    session.cmd("netdev_add", type="vde", id="v", sock=path, **options)
    session.cmd("netdev_add", type="hubport", id="p-v", hubid=0, netdev="v")


def is_up(session, seconds=20):
    until(lambda: session.netdev("v")["operational"], seconds, "the switch")


def is_down(session):
    until(lambda: not session.netdev("v")["operational"], 20, "the loss")


def both_ways(post, plug, base=0):
    post.send(frame(base + 1), frame(base + 2, 1514))
    assert plug.numbers(2) == [base + 1, base + 2]
    plug.send(frame(base + 3, 1514), frame(base + 4))
    assert post.numbers(2) == [base + 3, base + 4]


def pid_of(session, name):
    return [b for b in session.cmd("query-backends")
            if b["id"] == name][0].get("pid")


@pytest.mark.parametrize("form", ["{}", "vde://{}"])
def test_switch(session, post, lab, closing, form):
    switch = lab()
    join(session, form.format(lab.path))
    is_up(session)
    both_ways(post, closing(vde.Plug(lab.path)))
    assert session.netdev("v")["info"].startswith(f"vde: sock={lab.path},port=")
    assert switch.names() == []  # what we had in its directory is gone
    assert "bulkhead" in switch.ask("port/print")
    session.cmd("netdev_del", id="v")
    until(lambda: "bulkhead" not in switch.ask("port/print"), 10, "a free port")


def test_qemu(session, post, lab, peer):
    """A QEMU on the same switch."""
    lab()
    join(session, lab.path)
    is_up(session)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(10)
        port = free_port(socket.SOCK_DGRAM)
        peer("-netdev", f"vde,id=q,sock={lab.path}",
             "-netdev", "hubport,id=a,hubid=0,netdev=q",
             "-netdev", f"socket,id=u,udp=127.0.0.1:{far.getsockname()[1]},"
             f"localaddr=127.0.0.1:{port}",
             "-netdev", "hubport,id=b,hubid=0,netdev=u")
        post.send(frame(1, 1514))
        assert number(far.recv(65536)) == 1
        for i in range(2, 200):
            far.sendto(frame(i), ("127.0.0.1", port))
            assert post.numbers(1) == [i]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_switch_restarts(session, post, lab, closing, how):
    """Its directory goes and comes, or stays with a dead socket in it."""
    switch = lab()
    join(session, lab.path)
    is_up(session)
    pid = pid_of(session, "v")
    for turn in range(3):
        plug = closing(vde.Plug(lab.path))
        both_ways(post, plug, 10 * turn)
        plug.close()
        switch.close(how)
        is_down(session)
        post.send(frame(99))
        until(lambda t=turn:
              session.counters("v")["out-drop-disconnected"] == t + 1,
              5, "a counted frame")
        switch = lab()
        is_up(session)
    assert pid_of(session, "v") == pid
    assert switch.names() == []


def test_backend_killed(session, post, lab, closing):
    """A new process, a new port, the same switch, nothing left behind."""
    switch = lab()
    join(session, lab.path)
    is_up(session)
    plug = closing(vde.Plug(lab.path))
    both_ways(post, plug)
    for turn in range(1, 4):
        pid = pid_of(session, "v")
        os.kill(pid, signal.SIGKILL)
        until(lambda p=pid: pid_of(session, "v") not in (None, 0, p), 20, "another")
        is_up(session)
        both_ways(post, plug, 10 * turn)
    # the switch learns of the end of the ones before in its own time
    until(lambda: switch.ask("port/print").count("bulkhead") == 1, 10,
          "one port")
    assert switch.names() == []


def test_switch_comes_late(session, post, lab, closing):
    join(session, lab.path)
    assert not session.netdev("v")["operational"]
    lab()
    is_up(session)
    both_ways(post, closing(vde.Plug(lab.path)))


def test_command_line(bulkhead, lab):
    """The operator needs no policy."""
    lab()
    session = bulkhead("-netdev", f"vde,id=v,sock={lab.path},mode=0600").qmp()
    is_up(session)


def test_port(session, post, lab, closing):
    switch = lab()
    join(session, lab.path, port=7)
    is_up(session)
    assert session.netdev("v")["info"] == f"vde: sock={lab.path},port=7"
    assert "0007" in switch.ask("port/print")
    both_ways(post, closing(vde.Plug(lab.path)))
    session.cmd("netdev_add", type="vde", id="w", sock=lab.path, port=1000)
    # no such port: vde_switch says nothing, or hangs up; we try again
    until(lambda: "switch.absent" in session.daemon.log(), 10, "the reason")
    assert not session.netdev("w")["operational"]


def test_frames_that_the_switch_would_cut(session, post, lab, closing):
    """QEMU's are cut to 1518 bytes; ours are dropped and counted."""
    lab()
    join(session, lab.path)
    is_up(session)
    plug = closing(vde.Plug(lab.path))
    post.send(frame(1, 1518), frame(2, 1519), frame(3, 9014), frame(4, 1518))
    assert plug.numbers(2) == [1, 4]
    until(lambda: session.counters("v")["out-drop-size"] == 2, 5, "two drops")
    assert session.counters("v")["out-frames"] == 2


SCHEMES = ["cmd", "tap", "udp", "vxlan", "vxvde", "ptp", "hub", "switch",
           "multi", "bonding", "seqpacket", "null", "../x", ""]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_other_schemes_are_refused(session, tmp_path, scheme):
    """Those of libvdeplug run commands and make interfaces."""
    trace = tmp_path / "trace"
    sock = f"{scheme}://touch {trace}"
    error = session.refused("netdev_add", type="vde", id="v", sock=sock)
    assert error.desc == f"sock='{sock}': of the schemes only vde://PATH, " \
        "a switch's directory, is served"
    assert session.cmd("query-netdevs") == []
    assert not trace.exists()


@pytest.mark.parametrize("options, text", [
    ({"sock": "sw"}, "sock='sw': it must be the absolute path of a switch's "
     "directory, of at most 72 bytes"),
    ({"sock": "vde://"}, "sock='': it must be the absolute path of a switch's "
     "directory, of at most 72 bytes"),
    ({"sock": "/" + 72 * "x"}, f"sock='/{72 * 'x'}': it must be the absolute "
     "path of a switch's directory, of at most 72 bytes"),
    ({"sock": "/sw[3/mode=666]"}, "sock='/sw[3/mode=666]': what stands in "
     "brackets are options of their own here: port=, group=, mode="),
    ({"sock": "/sw", "group": "users"}, "Parameter 'group' expects the number "
     "of a group: names of groups are not known here"),
    ({"sock": "/sw", "group": "-1"}, "Parameter 'group' expects the number of "
     "a group: names of groups are not known here"),
    ({"sock": "/sw", "mode": 0o1000}, "Parameter 'mode' expects permissions "
     "from 01 to 0777"),
])
def test_options_that_cannot_be(session, options, text):
    error = session.refused("netdev_add", type="vde", id="v", **options)
    assert error.desc == text


def test_file_is_no_switch(session, lab):
    """libvdeplug takes the first line of a file as what to do."""
    with open(lab.path, "w", encoding="ascii") as f:
        f.write("cmd://true\n")
    error = session.refused("netdev_add", type="vde", id="v", sock=lab.path)
    assert error.desc == f"cannot join the VDE switch {lab.path}: " \
        "Not a directory"


def test_policy(bulkhead, session, lab, tmp_path):
    there = os.path.dirname(lab.path)
    switch = lab()
    os.symlink(lab.path, there + "/link")
    error = session.refused("netdev_add", type="vde", id="v",
                            sock=there + "/link")
    assert error.desc.startswith(f"cannot join the VDE switch {there}/link: ")
    other = str(tmp_path)
    error = session.refused("netdev_add", type="vde", id="v", sock=other)
    assert error.desc == f"policy refuses to join {other}: add \"allow vde " \
        f"{other}\" to the policy file"
    error = session.refused("netdev_add", type="vde", id="v")
    assert "policy refuses to join /run/vde.ctl" in error.desc
    if os.geteuid() == 0:
        error = bulkhead("-nodefaults").qmp().refused(
            "netdev_add", type="vde", id="v", sock=lab.path)
        assert "allow vde" in error.desc
    assert switch.names() == []


def test_directory_becomes_a_link(session, lab, closing, tmp_path_factory):
    """What policy allowed at first is not followed elsewhere later."""
    switch = lab()
    join(session, lab.path)
    is_up(session)
    other = str(tmp_path_factory.mktemp("o") / "sw")
    elsewhere = closing(vde.Liar(other))
    elsewhere.listening.settimeout(2)
    switch.close()
    os.symlink(other, lab.path)
    is_down(session)
    with pytest.raises(socket.timeout):
        elsewhere.accept()
    os.unlink(lab.path)
    lab()
    is_up(session)


# --- a switch that lies -----------------------------------------------------

@pytest.fixture
def liar(lab, closing):
    return closing(vde.Liar(lab.path))


ANSWERS = ["", "/", "001.6", "/etc/passwd", "/run/x/001.6.", "/x/1.", "/x/.6",
           "/x/000.6", "/x/123456.6", "/x/1.123456", "/x/65535.6",
           "/x/1.70000", "/x/fd", "/x/fd1x", "/x/ctl", "/x/1.6/../ctl"]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_no_switch_gives(session, liar, name):
    join(session, liar.path)
    for _ in range(2):
        stream, kind, _ = liar.accept()
        assert kind == 0
        liar.answer(stream, name)
        assert stream.recv(1) == b""  # hung up, and tried again
        stream.close()
    assert not session.netdev("v")["operational"]


def test_answers_of_other_sorts(session, liar):
    join(session, liar.path)
    stream, _, _ = liar.accept()
    liar.answer(stream, "/x/001.6", family=socket.AF_INET)
    assert stream.recv(1) == b""
    # what it names is not there, is a link, or is no datagram socket
    stream, _, _ = liar.accept()
    liar.answer(stream, liar.path + "/001.6")
    assert stream.recv(1) == b""
    os.symlink("ctl", os.path.join(liar.path, "001.6"))
    stream, _, _ = liar.accept()
    liar.answer(stream, liar.path + "/001.6")
    assert stream.recv(1) == b""
    os.rename(os.path.join(liar.path, "ctl"), os.path.join(liar.path, "002.6"))
    os.link(os.path.join(liar.path, "002.6"), os.path.join(liar.path, "ctl"))
    stream, _, _ = liar.accept()
    liar.answer(stream, liar.path + "/002.6")
    assert stream.recv(1) == b""
    assert not session.netdev("v")["operational"]


def test_silence(session, liar):
    """It accepts and says nothing, or half of it: five seconds, and again."""
    join(session, liar.path)
    stream, _, _ = liar.accept()
    stream.sendall(b"\x01\x00/run")
    stream.settimeout(15)
    assert stream.recv(1) == b""
    liar.accept()
    # meanwhile everything answers
    assert not session.netdev("v")["operational"]


@pytest.mark.parametrize("name", ["001.9", "fd9"])
def test_lengths(session, post, liar, name):
    """Empty, too short, too long: counted, and the rest gets through. The
    second name is that of VDEPlug's hubs."""
    join(session, liar.path)
    stream, _, theirs = liar.accept()
    assert theirs.startswith(liar.path + "/.bulkhead-")
    assert stat.S_IMODE(os.stat(theirs).st_mode) == 0o700
    with liar.join(stream, theirs, name) as data:
        is_up(session)
        assert not os.path.exists(theirs)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for bad in (b"", b"x", b"x" * 13, b"x" * 70000, b"x" * 130000):
            data.send(bad)
        data.send(frame(1, 60000))
        data.send(frame(2))
        assert post.numbers(2) == [1, 2]
        assert session.counters("v")["in-drop-size"] == 5
        for _ in range(2000):
            data.send(b"")
        data.send(frame(3))
        assert post.numbers(1, 30) == [3]
        # it talks: that is no switch
        stream.sendall(b"hello")
        assert stream.recv(1) == b""
        is_down(session)
    stream.close()


def test_switch_that_takes_nothing(session, post, liar):
    """Its queue is full: the hub's patience, then drops; and it can go."""
    join(session, liar.path)
    stream, _, theirs = liar.accept()
    with liar.join(stream, theirs) as data:
        is_up(session)
        post.send(*(frame(i) for i in range(20000)))
        until(lambda: session.counters("v")["out-frames"] > 0, 5, "some")
        data.setblocking(False)
        stream.close()
        is_down(session)
        post.send(frame(5))
        until(lambda: session.counters("v")["out-drop-disconnected"] > 0, 10,
              "drops")


def test_mode_and_group(bulkhead, lab, closing):
    """Of our own socket's name, as long as it has one."""
    liar = closing(vde.Liar(lab.path))
    bulkhead("-netdev", f"vde,id=v,sock={lab.path},mode=0660,"
             f"group={os.getegid()}")
    _, _, theirs = liar.accept()
    st = os.stat(theirs)
    assert stat.S_IMODE(st.st_mode) == 0o660 and st.st_gid == os.getegid()


def test_name_goes_with_the_netdev(session, liar):
    """Deleted in the middle of joining: nothing is left in the directory."""
    join(session, liar.path)
    stream, _, theirs = liar.accept()
    session.cmd("netdev_del", id="p-v")
    session.cmd("netdev_del", id="v")
    assert stream.recv(1) == b""
    until(lambda: not os.path.exists(theirs), 5, "a clean directory")
