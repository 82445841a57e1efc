"""Chardevs: made, judged, used by one netdev at a time, kept over its deaths."""

import array
import os
import signal
import socket
import subprocess

import pytest

from kit.deadline import until
from kit.qmp import QmpError


def socket_backend(addr, **options):
    """The backend of chardev-add; underscores become dashes."""
    data = {k.replace("_", "-"): v for k, v in options.items()}
    return {"type": "socket", "data": {"addr": addr, **data}}


def unix(path, **options):
    """An address in QEMU's older form."""
    return {"type": "unix", "data": {"path": str(path), **options}}


def passed(name):
    return {"type": "fd", "data": {"str": name}}


def add(session, id_, addr, **options):
    return session.cmd("chardev-add", id=id_,
                       backend=socket_backend(addr, **options))


def refused(session, id_, addr, **options):
    """What chardev-add says, without what all of these begin with."""
    error = session.refused("chardev-add", id=id_,
                            backend=socket_backend(addr, **options))
    assert error.cls == "GenericError"
    head = f"Failed to add chardev '{id_}': "
    assert error.desc.startswith(head), error
    return error.desc[len(head):]


def chardevs(session):
    return {c["label"]: c for c in session.cmd("query-chardev")}


def pass_fd(session, name, fd):
    """getfd with a descriptor."""
    line = b'{"execute": "getfd", "id": "fd", "arguments": ' \
        b'{"fdname": "%s"}}\r\n' % name.encode()
    session.sock.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                   array.array("i", [fd]))])
    assert session.finish("fd") == {}


def test_server_comes_and_goes(qmp):
    path = qmp.daemon.path("c.sock")
    assert add(qmp, "c", unix(path)) == {}
    assert chardevs(qmp) == {"c": {
        "label": "c", "filename": f"disconnected:unix:{path},server=on",
        "frontend-open": False}}
    assert os.stat(path).st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)  # it listens, though nobody uses it
    assert qmp.cmd("chardev-remove", id="c") == {}
    assert not os.path.exists(path)
    assert chardevs(qmp) == {}
    add(qmp, "c", unix(path))  # the name and the path are free again


def test_client(qmp, closing):
    path = qmp.daemon.path("far.sock")
    cause = f"Failed to connect to '{path}': No such file or directory"
    assert refused(qmp, "c", unix(path), server=False) == cause
    assert refused(qmp, "c", unix(path), server=False, reconnect=0) == cause
    add(qmp, "later", unix(path), server=False, reconnect=1)
    add(qmp, "soon", unix(path), server=False, reconnect_ms=10)
    assert chardevs(qmp)["later"]["filename"] == f"disconnected:unix:{path}"
    far = closing(socket.socket(socket.AF_UNIX))
    far.settimeout(5)
    far.bind(path)
    far.listen()
    add(qmp, "c", unix(path), server=False)
    closing(far.accept()[0])
    assert chardevs(qmp)["c"]["filename"] == f"unix:{path}"
    os.unlink(path)


def test_abstract_name(bulkhead, tmp_path):
    name = f"bulkhead-test-{os.getpid()}"
    policy = tmp_path / "policy"
    policy.write_text("allow unix *\n")
    session = bulkhead("-nodefaults", "--policy", str(policy)).qmp()
    add(session, "c", unix(name, abstract=True))
    assert chardevs(session)["c"]["filename"] == \
        f"disconnected:unix:{name},abstract=on,tight=on,server=on"
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + name)
    add(session, "wide", unix(name, abstract=True, tight=False))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(("\0" + name).ljust(108, "\0"))


def test_names(qmp):
    path = qmp.daemon.path("c.sock")
    for bad in ("", "1x", "a b", "é"):
        error = qmp.refused("chardev-add", id=bad,
                            backend=socket_backend(unix(path)))
        assert error.desc == "Parameter 'id' expects an identifier"
    add(qmp, "c", unix(path))
    error = qmp.refused("chardev-add", id="c",
                        backend=socket_backend(unix(path)))
    assert error.desc == "Chardev with id 'c' already exists"
    error = qmp.refused("chardev-remove", id="zz")
    assert (error.cls, error.desc) == ("GenericError", "Chardev 'zz' not found")
    # Netdevs have names of their own.
    qmp.cmd("netdev_add", type="socket", id="c",
            listen=qmp.daemon.path("n.sock"))


def test_addresses_that_cannot_be(qmp, closing):
    taken = qmp.daemon.path("taken.sock")
    add(qmp, "c", unix(taken))
    assert refused(qmp, "d", unix(taken)) == \
        f"Failed to bind socket to {taken}: Address already in use"
    assert os.path.exists(taken)
    plain = qmp.daemon.path("plain")
    with open(plain, "w", encoding="ascii"):
        pass
    assert refused(qmp, "d", unix(plain)).startswith(
        f"Failed to bind socket to {plain}: ")
    assert os.path.exists(plain)
    assert refused(qmp, "d", unix(plain), server=False).startswith(
        f"Failed to connect to '{plain}': ")
    longest = "/" + "x" * 107
    assert refused(qmp, "d", unix(longest)) == \
        f"UNIX socket path '{longest}' is too long"
    assert refused(qmp, "d", unix("")) == "UNIX socket path is empty"
    deep = qmp.daemon.path("no/such")
    assert refused(qmp, "d", unix(deep)) == \
        f"Failed to bind socket to {deep}: No such file or directory"
    assert list(chardevs(qmp)) == ["c"]


def test_argument_errors_name_the_place(qmp):
    """As QEMU's, with the whole path."""
    for backend, cause in (
            ({"type": "nope", "data": {}},
             "Parameter 'backend.type' does not accept value 'nope'"),
            ({"type": "socket"}, "Parameter 'backend.data' is missing"),
            ({"type": "socket", "data": {}},
             "Parameter 'backend.data.addr' is missing"),
            ({"type": "socket", "data": {"addr": {"type": "unix", "data": {}}}},
             "Parameter 'backend.data.addr.data.path' is missing"),
            ({"type": "socket", "data": {"addr": {
                "type": "unix", "data": {"path": 1}}}},
             "Invalid parameter type for 'backend.data.addr.data.path', "
             "expected: string"),
            ({"type": "socket", "data": {"addr": unix("x"), "foo": 1}},
             "Parameter 'backend.data.foo' is unexpected"),
            ({"type": "socket", "data": {"addr": unix("x"), "wait": "on"}},
             "Invalid parameter type for 'backend.data.wait', "
             "expected: boolean")):
        assert qmp.refused("chardev-add", id="c", backend=backend).desc == cause
    assert qmp.refused("chardev-add", id="c").desc == \
        "Parameter 'backend' is missing"


@pytest.mark.parametrize("backend", [
    {"type": "file", "data": {"out": "/tmp/x"}}, {"type": "pty", "data": {}},
    {"type": "null", "data": {}}, {"type": "stdio", "data": {"signal": True}},
    {"type": "serial", "data": {"device": "/dev/ttyS0"}},
    {"type": "udp", "data": {"remote": {"type": "inet", "data": {
        "host": "127.0.0.1", "port": "1"}}}},
    {"type": "ringbuf", "data": {"size": 4096}}])
def test_other_types_are_refused_by_name(qmp, backend):
    error = qmp.refused("chardev-add", id="c", backend=backend)
    assert error.desc == "Failed to add chardev 'c': chardev type " \
        f"'{backend['type']}' is not available in this build"


def test_options_that_are_refused(qmp):
    path = unix(qmp.daemon.path("c.sock"))
    inet = {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}
    for addr, options, cause in (
            (inet, {}, "address type 'inet' is not available in this build: "
             "FD passing needs a unix socket"),
            ({"type": "vsock", "data": {"cid": "2", "port": "1"}}, {},
             "address type 'vsock' is not available in this build: "
             "FD passing needs a unix socket"),
            (path, {"telnet": True}, "'telnet' is not available in this build"),
            (path, {"websocket": True},
             "'websocket' is not available in this build"),
            (path, {"tls_creds": "t"},
             "'tls-creds' is not available in this build"),
            (path, {"reconnect": 1}, "'reconnect' option is incompatible with "
             "socket in server listen mode"),
            (path, {"server": False, "wait": False}, "'wait' option is "
             "incompatible with socket in client connect mode"),
            (path, {"server": False, "reconnect": 1, "reconnect_ms": 1},
             "'reconnect' and 'reconnect-ms' are mutually exclusive"),
            (path, {"server": False, "reconnect": -1},
             "Parameter 'reconnect' expects 0 to 2147483 seconds")):
        assert refused(qmp, "c", addr, **options) == cause
    assert chardevs(qmp) == {} and os.listdir(qmp.daemon.run_dir) == ["qmp.sock"]


def test_a_passed_descriptor(qmp, closing):
    assert refused(qmp, "c", passed("nofd")) == \
        "File descriptor named 'nofd' has not been found"
    assert "means nothing now" in refused(qmp, "c", passed("0"))
    listener = closing(socket.socket(socket.AF_UNIX))
    listener.bind(f"\0bulkhead-test-{os.getpid()}-l")
    listener.listen()
    pass_fd(qmp, "ours", listener.fileno())
    add(qmp, "c", passed("ours"))
    assert chardevs(qmp)["c"]["filename"] == "disconnected:fd:ours,server=on"
    # The name is used up, also by a refusal.
    assert "has not been found" in refused(qmp, "d", passed("ours"))
    with open("/dev/null", "rb") as null:
        pass_fd(qmp, "null", null.fileno())
    assert refused(qmp, "d", passed("null")) == \
        "the passed descriptor is not a socket"
    assert "has not been found" in refused(qmp, "d", passed("null"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pass_fd(qmp, "pair", theirs.fileno())
        assert refused(qmp, "d", passed("pair"), server=False, reconnect=1) == \
            "'reconnect' option is incompatible with 'fd' address type"
        pass_fd(qmp, "pair", theirs.fileno())
        add(qmp, "d", passed("pair"), server=False)
        assert chardevs(qmp)["d"]["filename"] == "fd:pair"
        theirs.close()
        qmp.cmd("chardev-remove", id="d")
        ours.settimeout(5)
        assert ours.recv(1) == b""  # nobody else has it


def test_policy_without_a_file(bulkhead):
    session = bulkhead("-nodefaults").qmp()
    if os.geteuid() == 0:
        assert refused(session, "c", unix("/tmp/bulkhead-c.sock")) == \
            'policy refuses to listen on /tmp/bulkhead-c.sock: add "allow ' \
            'unix /tmp" to the policy file'
        assert "policy refuses to connect to" in refused(
            session, "c", unix("/tmp/bulkhead-c.sock"), server=False,
            reconnect=1)
        assert 'add "allow unix @bulkhead"' in refused(
            session, "c", unix("bulkhead", abstract=True))
        assert "must be absolute" in refused(session, "c", unix("relative"))
    assert chardevs(session) == {}


def test_policy_file(bulkhead, tmp_path):
    policy, there, elsewhere = (tmp_path / n for n in ("policy", "a", "b"))
    there.mkdir()
    elsewhere.mkdir()
    policy.write_text(f"allow unix {there}\nallow unix @mine\n")
    session = bulkhead("-nodefaults", "--policy", str(policy)).qmp()
    add(session, "c", unix(there / "c.sock"))
    assert f'add "allow unix {elsewhere}"' in refused(
        session, "d", unix(elsewhere / "c.sock"))
    assert os.listdir(elsewhere) == []
    (there / "link").symlink_to(elsewhere)
    assert refused(session, "d", unix(there / "link" / "c.sock")).startswith(
        "Failed to bind socket to ")
    assert os.listdir(elsewhere) == []
    assert 'allow unix @yours' in refused(
        session, "d", unix("yours", abstract=True))
    # A descriptor is its own permission.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pass_fd(session, "pair", theirs.fileno())
        add(session, "d", passed("pair"), server=False)


def test_option(bulkhead, tmp_path):
    """The operator's paths need no policy; short forms are warned about."""
    path = tmp_path / "c,1.sock"
    daemon = bulkhead("-nodefaults", "-chardev",
                      f"socket,id=c,path={str(path).replace(',', ',,')},"
                      "server,nowait",
                      "-chardev", f"socket,id=d,path={tmp_path}/no,"
                      "reconnect-ms=50")
    session = daemon.qmp()
    assert {c: i["filename"] for c, i in chardevs(session).items()} == {
        "c": f"disconnected:unix:{path},server=on",
        "d": f"disconnected:unix:{tmp_path}/no"}
    assert "please use server=on instead" in daemon.log()
    daemon.stop()
    assert not path.exists()


def test_option_with_an_inherited_descriptor(bulkhead):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session = bulkhead("-nodefaults", "-chardev",
                           f"socket,id=c,fd={theirs.fileno()}",
                           pass_fds=(theirs.fileno(),)).qmp()
        assert chardevs(session)["c"]["filename"] == f"fd:{theirs.fileno()}"


@pytest.mark.parametrize("arg,cause", [
    ("socket,id=c,path=/nonexistent/c.sock",
     "Failed to add chardev 'c': Failed to connect to "
     "'/nonexistent/c.sock': No such file or directory"),
    ("socket,id=c,fd=77", "Failed to add chardev 'c': descriptor 77 was not "
     "open at the start, or is in use"),
    ("socket,id=c,host=h,port=1", "host= is not available in this build: FD "
     "passing needs a unix socket, path= or fd="),
    ("pty,id=c", "chardev type 'pty' is not available in this build"),
    ("nope,id=c", "'nope' is not a valid char driver name")])
def test_option_that_fails_ends_the_start(build, tmp_path, arg, cause):
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "--run-dir", str(tmp_path),
         "-nodefaults", "-chardev", arg], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"bulkheadd: -chardev {arg}: {cause}"


def test_option_help(build):
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "-chardev", "help"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
        check=False)
    assert done.returncode == 0
    assert done.stdout == "Available chardev backend types:\n  socket\n"


def test_many_come_and_go(qmp):
    """No slot and no descriptor is lost."""
    launcher = qmp.daemon.proc.pid
    path = qmp.daemon.path("c.sock")

    def fds():
        return len(os.listdir(f"/proc/{launcher}/fd"))
    add(qmp, "c", unix(path))
    qmp.cmd("chardev-remove", id="c")
    before = fds()
    for _ in range(50):
        add(qmp, "c", unix(path))
        refused(qmp, "d", unix(path))
        refused(qmp, "d", unix(path + "x"), server=False)
        qmp.cmd("chardev-remove", id="c")
    assert fds() == before


# --- with a nic that uses it ---------------------------------------------------


def process_of(session, id_):
    return [b for b in session.cmd("query-backends") if b["id"] == id_][0]


def connected(session, id_):
    return not chardevs(session)[id_]["filename"].startswith("disconnected:")


def is_connected(session, id_):
    until(lambda: connected(session, id_), 10, f"a peer of {id_}")


def far_side(path):
    """What a VM's front-end does that listens."""
    far = socket.socket(socket.AF_UNIX)
    far.settimeout(10)
    far.bind(path)
    far.listen()
    return far


def test_nic_on_a_server(qmp, closing):
    path = qmp.daemon.path("c.sock")
    add(qmp, "c", unix(path))
    early = closing(socket.socket(socket.AF_UNIX))
    early.connect(path)  # before anybody uses it
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    is_connected(qmp, "c")
    assert chardevs(qmp)["c"] == {
        "label": "c", "filename": f"unix:{path},server=on",
        "frontend-open": True}
    assert {"kind": "chardev", "text": "c"} in process_of(qmp, "n")["resources"]
    early.close()
    until(lambda: not connected(qmp, "c"), 10, "the end of the connection")
    late = closing(socket.socket(socket.AF_UNIX))
    late.connect(path)
    is_connected(qmp, "c")


def test_one_user_at_a_time(qmp):
    add(qmp, "c", unix(qmp.daemon.path("c.sock")))
    assert qmp.refused("netdev_add", type="nic", id="n", chardev="zz").desc == \
        'chardev "zz" not found'
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    assert qmp.refused("netdev_add", type="nic", id="m", chardev="c").desc == \
        "chardev \"c\" is busy: netdev 'n' uses it"
    assert qmp.refused("chardev-remove", id="c").desc == "Chardev 'c' is busy"
    qmp.cmd("netdev_del", id="n")
    assert not chardevs(qmp)["c"]["frontend-open"]
    qmp.cmd("netdev_add", type="nic", id="m", chardev="c")
    qmp.cmd("netdev_del", id="m")
    qmp.cmd("chardev-remove", id="c")
    assert qmp.refused("netdev_add", type="nic", id="n", chardev="c").desc == \
        'chardev "c" not found'


def test_a_listener_outlives_its_nic(qmp, closing):
    path = qmp.daemon.path("c.sock")
    add(qmp, "c", unix(path))
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    inode = os.stat(path).st_ino
    for _ in range(3):
        front = closing(socket.socket(socket.AF_UNIX))
        front.settimeout(10)
        front.connect(path)
        is_connected(qmp, "c")
        os.kill(process_of(qmp, "n")["pid"], signal.SIGKILL)
        qmp.event("BACKEND_EXITED", id="n")
        assert front.recv(1) == b""
        # At any time: it waits in the kernel until the next process is there.
        again = closing(socket.socket(socket.AF_UNIX))
        again.connect(path)
        qmp.event("BACKEND_RESTARTED", id="n")
        is_connected(qmp, "c")
        again.close()
        until(lambda: not connected(qmp, "c"), 10, "the end of the connection")
    assert os.stat(path).st_ino == inode


def test_nic_on_a_client(qmp, closing):
    """Its first connection is the chardev's; each process gets a fresh one."""
    path = qmp.daemon.path("far.sock")
    far = closing(far_side(path))
    add(qmp, "c", unix(path), server=False)
    first = closing(far.accept()[0])
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    is_connected(qmp, "c")
    first.close()
    second = closing(far.accept()[0])  # nobody said how often: it tries
    is_connected(qmp, "c")
    second.settimeout(10)
    os.kill(process_of(qmp, "n")["pid"], signal.SIGKILL)
    qmp.event("BACKEND_RESTARTED", id="n")
    closing(far.accept()[0])
    assert second.recv(1) == b""
    is_connected(qmp, "c")
    qmp.cmd("netdev_del", id="n")
    assert not connected(qmp, "c")
    qmp.cmd("netdev_add", type="nic", id="m", chardev="c")
    closing(far.accept()[0])
    os.unlink(path)


def test_a_client_may_be_there_first(qmp, closing):
    path = qmp.daemon.path("far.sock")
    add(qmp, "c", unix(path), server=False, reconnect_ms=20)
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    os.kill(process_of(qmp, "n")["pid"], signal.SIGKILL)
    qmp.event("BACKEND_RESTARTED", id="n")
    far = closing(far_side(path))
    closing(far.accept()[0])
    is_connected(qmp, "c")
    os.unlink(path)


def test_reconnect_can_be_switched_off(qmp, closing):
    path = qmp.daemon.path("far.sock")
    far = closing(far_side(path))
    add(qmp, "c", unix(path), server=False, reconnect=0)
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    is_connected(qmp, "c")
    far.accept()[0].close()
    until(lambda: not connected(qmp, "c"), 10, "the end of the connection")
    far.settimeout(1.5)
    with pytest.raises(socket.timeout):
        far.accept()
    os.unlink(path)


def test_nic_on_a_passed_descriptor(qmp):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pass_fd(qmp, "pair", theirs.fileno())
        add(qmp, "c", passed("pair"), server=False)
        theirs.close()
        qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
        is_connected(qmp, "c")
        os.kill(process_of(qmp, "n")["pid"], signal.SIGKILL)
        # Nobody knows any more what was said on it: it ends, and both are told.
        assert "ended with the process" in \
            qmp.event("BACKEND_NOTICE", id="n")["text"]
        ours.settimeout(10)
        assert ours.recv(4096) == b""
        until(lambda: not connected(qmp, "c"), 10, "an honest state")
        assert not qmp.netdev("n")["operational"]
        nic, = qmp.cmd("query-nics")
        assert (nic["role"], nic["connected"]) == ("passed", False)
        qmp.cmd("netdev_del", id="n")
        qmp.cmd("chardev-remove", id="c")
    # Another one, under the same names.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pass_fd(qmp, "pair", theirs.fileno())
        add(qmp, "c", passed("pair"), server=False)
        qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
        is_connected(qmp, "c")


@pytest.mark.parametrize("type_", ["nic", "vhost-user"])
def test_a_passed_connection_that_ends_is_not_asked_for_again(qmp, type_):
    """Who asks for what there is not breaks a rule, and dies of it."""
    ours, theirs = socket.socketpair()
    with theirs:
        pass_fd(qmp, "pair", theirs.fileno())
    add(qmp, "c", passed("pair"), server=False)
    qmp.cmd("netdev_add", type=type_, id="n", chardev="c")
    if type_ == "nic":
        is_connected(qmp, "c")
    pid = process_of(qmp, "n")["pid"]
    ours.close()
    until(lambda: not connected(qmp, "c"), 10, "the end of the connection")
    with pytest.raises(AssertionError):  # an absence: a second and a half
        qmp.event("BACKEND_EXITED", seconds=1.5)
    assert process_of(qmp, "n")["pid"] == pid
    # The next process finds out by itself.
    os.kill(pid, signal.SIGKILL)
    qmp.event("BACKEND_RESTARTED", id="n")
    assert not connected(qmp, "c")
    qmp.cmd("netdev_del", id="n")
    qmp.cmd("chardev-remove", id="c")


def test_a_socket_that_passes_no_descriptors(qmp, closing):
    far = closing(socket.socket())
    far.bind(("127.0.0.1", 0))
    far.listen()
    pass_fd(qmp, "tcp", far.fileno())
    add(qmp, "c", passed("tcp"))
    assert qmp.refused("netdev_add", type="nic", id="n", chardev="c").desc == \
        'chardev "c" does not support FD passing: it is not a unix stream socket'
    assert qmp.cmd("query-netdevs") == []
    qmp.cmd("chardev-remove", id="c")


def test_wait_holds_one_answer_and_nothing_else(qmp, closing):
    path = qmp.daemon.path("c.sock")
    add(qmp, "c", unix(path), wait=True)
    other = qmp.daemon.qmp()
    serial = qmp.start("netdev_add", type="nic", id="n", chardev="c")
    until(lambda: other.cmd("query-netdevs") and
          other.netdev("n")["state"] == "running", 10, "a running nic")
    add(other, "d", unix(qmp.daemon.path("d.sock")))
    # It is there, and can be plugged in and be unplugged meanwhile.
    other.cmd("netdev_add", type="hubport", id="p", hubid=0, netdev="n")
    qmp.sock.settimeout(0.3)
    with pytest.raises(socket.timeout):
        qmp.sock.recv(1, socket.MSG_PEEK)
    front = closing(socket.socket(socket.AF_UNIX))
    front.connect(path)
    assert qmp.finish(serial) == {}


def test_wait_ends_with_the_netdev(qmp):
    add(qmp, "c", unix(qmp.daemon.path("c.sock")), wait=True)
    other = qmp.daemon.qmp()
    serial = qmp.start("netdev_add", type="nic", id="n", chardev="c")
    until(lambda: other.cmd("query-netdevs") and
          other.netdev("n")["state"] == "running", 10, "a running nic")
    other.cmd("netdev_del", id="n")
    with pytest.raises(QmpError, match="deleted while it waited"):
        qmp.finish(serial)
    other.cmd("chardev-remove", id="c")


def test_options_in_their_order(bulkhead):
    """-chardev before the -netdev that uses it."""
    daemon = bulkhead("-chardev", "socket,id=c,path=/nonexistent/c,reconnect=1",
                      "-netdev", "nic,id=n,chardev=c")
    session = daemon.qmp()
    assert chardevs(session)["c"]["frontend-open"]
    assert session.netdev("n")["state"] == "running"


def test_option_that_comes_too_late(build, tmp_path):
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "--run-dir", str(tmp_path),
         "-netdev", "nic,id=n,chardev=c",
         "-chardev", f"socket,id=c,path={tmp_path}/c,server=on"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
        check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == \
        'bulkheadd: -netdev nic,id=n,chardev=c: chardev "c" not found'


def test_start_waits_for_the_first_peer(bulkhead, tmp_path, closing):
    path = str(tmp_path / "c.sock")
    daemon = bulkhead("-chardev", f"socket,id=c,path={path},server=on,wait=on",
                      "-netdev", "nic,id=n,chardev=c", ready=False)
    front = closing(socket.socket(socket.AF_UNIX))

    def there():
        try:
            front.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True
    assert daemon.notified() is None
    until(there, 10, "the listener")
    daemon.wait_ready()


def test_a_start_that_waits_can_be_ended(bulkhead, tmp_path):
    path = tmp_path / "c.sock"
    daemon = bulkhead("-chardev", f"socket,id=c,path={path},server=on,wait=on",
                      "-netdev", "nic,id=n,chardev=c", ready=False)
    until(path.exists, 10, "the listener")
    daemon.stop()
    assert not path.exists()


def test_vhost_user_meets_a_nic_over_two_chardevs(qmp):
    """A server and a client of one daemon, and each end dies once."""
    path = qmp.daemon.path("c.sock")
    add(qmp, "c", unix(path))
    add(qmp, "d", unix(path), server=False, reconnect_ms=20)
    assert qmp.refused("netdev_add", type="vhost-user", id="v",
                       chardev="zz").desc == 'chardev "zz" not found'
    qmp.cmd("netdev_add", type="vhost-user", id="v", chardev="d")
    qmp.cmd("netdev_add", type="nic", id="n", chardev="c")
    for victim in (None, "v", "n"):
        if victim:
            os.kill(process_of(qmp, victim)["pid"], signal.SIGKILL)
            qmp.event("BACKEND_RESTARTED", id=victim)
        is_connected(qmp, "c")
        is_connected(qmp, "d")
