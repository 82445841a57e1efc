"""Netdev type socket: every mode, against raw sockets and against QEMU."""

import os
import signal
import socket

import pytest

from kit.deadline import until
from kit.wire import Listener, Stream, frame, free_port, number


@pytest.fixture
def tap(qmp):
    """Our listening post on hub 0: hears and sends what the netdev does."""
    path = qmp.daemon.path("post.sock")
    qmp.cmd("netdev_add", type="socket", id="post", listen=path)
    qmp.cmd("netdev_add", type="hubport", id="p-post", hubid=0, netdev="post")
    end = Stream.connect(path)
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="post")
    yield end
    end.close()


def plug(session, **options):
    """Netdev `s` of type socket on hub 0."""
    session.cmd("netdev_add", type="socket", id="s", **options)
    session.cmd("netdev_add", type="hubport", id="p-s", hubid=0, netdev="s")


def both_ways(post, end, base=0):
    post.send(frame(base + 1))
    assert end.numbers(1) == [base + 1]
    end.send(frame(base + 2, 1514), frame(base + 3, 60))
    assert post.numbers(2) == [base + 2, base + 3]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_listen(qmp, tap, kind):
    address = ("127.0.0.1", free_port()) if kind == "tcp" else \
        qmp.daemon.path("l.sock")
    plug(qmp, listen=address if kind == "unix" else "127.0.0.1:%d" % address[1])
    for turn in range(3):
        end = Stream.connect(address)
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
        both_ways(tap, end, 10 * turn)
        end.close()
        qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="s")


def test_info_names_the_present_peer(qmp):
    """As `info network` of QEMU does, and as it is now."""
    port = free_port()
    plug(qmp, listen=f"127.0.0.1:{port}")
    assert not qmp.netdev("s").get("info")
    end = Stream.connect(("127.0.0.1", port))
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
    assert qmp.netdev("s")["info"].startswith(
        "socket: connection from 127.0.0.1:")
    end.close()
    qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="s")
    assert not qmp.netdev("s").get("info")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_connect_and_reconnect(qmp, tap, closing, kind):
    """The far side may come late, go, and come back."""
    if kind == "tcp":
        port = free_port()
        address, text = ("127.0.0.1", port), f"127.0.0.1:{port}"
    else:
        address = text = qmp.daemon.path("far.sock")
    plug(qmp, connect=text)
    for turn in range(3):
        far = closing(Listener(address))
        end = closing(far.accept())
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
        both_ways(tap, end, 10 * turn)
        end.close()
        far.close()
        if kind == "unix":
            os.unlink(address)
        qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="s")


def test_reconnect_can_be_switched_off(qmp, closing):
    far = closing(Listener(("127.0.0.1", 0)))
    plug(qmp, connect=f"127.0.0.1:{far.port}", reconnect_ms=0)
    far.accept().close()
    qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="s")
    with pytest.raises(socket.timeout):
        far.accept(1.5)


def test_frames_for_nobody_are_counted(qmp, tap):
    plug(qmp, connect=qmp.daemon.path("nobody.sock"))
    tap.send(*(frame(i) for i in range(10)))

    until(lambda: qmp.counters("s")["out-drop-disconnected"] == 10, 5,
          "10 counted frames")


def test_udp(qmp, tap):
    """One datagram, one frame; strangers are not heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        far.bind(("127.0.0.1", 0))
        far.settimeout(5)
        local = free_port(socket.SOCK_DGRAM)
        plug(qmp, udp="127.0.0.1:%d" % far.getsockname()[1],
             localaddr=f"127.0.0.1:{local}")
        tap.send(frame(1, 1514))
        assert number(far.recv(65536)) == 1
        stranger.sendto(frame(66), ("127.0.0.1", local))
        far.sendto(b"", ("127.0.0.1", local))
        far.sendto(b"x", ("127.0.0.1", local))
        far.sendto(frame(2, 1514), ("127.0.0.1", local))
        assert tap.numbers(1) == [2]


def test_what_the_kernel_drops_is_counted(qmp, tap):
    """The lane stands still, the ring and the kernel's queue fill up: each
    datagram is a frame or counted."""
    local, count = free_port(socket.SOCK_DGRAM), 8000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        plug(qmp, udp="127.0.0.1:%d" % far.getsockname()[1],
             localaddr=f"127.0.0.1:{local}")
        lane = qmp.cmd("query-hubs")[0]["lane"]
        pid = [b for b in qmp.cmd("query-backends") if b["id"] == lane][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            for i in range(count):
                far.sendto(frame(i, 1400), ("127.0.0.1", local))
        finally:
            os.kill(pid, signal.SIGCONT)
        tap.rest()
        # the kernel tells with the next datagram what it dropped before
        far.sendto(frame(count), ("127.0.0.1", local))
        until(lambda: tap.numbers(1) == [count], 10, "the last frame")
        c = qmp.counters("s")
        assert c["in-drop-full"] > 0
        assert c["in-frames"] + c["in-drop-full"] == count + 1


def test_mcast(qmp, tap):
    """Own frames do not come back; a stranger on the group is heard."""
    group, port = "239.192.7.7", free_port(socket.SOCK_DGRAM)
    plug(qmp, mcast=f"{group}:{port}", localaddr="127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        far.bind((group, port))
        member = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
        far.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        far.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                       socket.inet_aton("127.0.0.1"))
        far.settimeout(5)
        tap.send(frame(1))
        assert number(far.recv(65536)) == 1
        far.sendto(frame(2), (group, port))
        assert tap.numbers(1) == [2]
        assert tap.silent(0.2)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_inherited_fd(bulkhead, kind):
    """fd=N on the command line: a connected socket made by somebody else."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        daemon = bulkhead("-netdev", f"socket,id=s,fd={theirs.fileno()}",
                          "-netdev", "hubport,id=p,hubid=0,netdev=s",
                          pass_fds=(theirs.fileno(),))
        session = daemon.qmp()
        path = daemon.path("post.sock")
        session.cmd("netdev_add", type="socket", id="post", listen=path)
        session.cmd("netdev_add", type="hubport", id="q", hubid=0, netdev="post")
        post = Stream.connect(path)
        session.event("NETDEV_STREAM_CONNECTED", netdev_id="post")
        post.send(frame(1))
        if kind == socket.SOCK_STREAM:
            assert Stream(ours).numbers(1) == [1]
        else:
            ours.settimeout(5)
            assert number(ours.recv(65536)) == 1


def test_deleted_while_it_connects(qmp, closing):
    """QEMU's stream dies of it: a slow connect, and netdev_del at once."""
    far = socket.socket(socket.AF_UNIX)
    closing(far)
    path = qmp.daemon.path("full")
    far.bind(path)
    far.listen(0)
    waiting = []
    while True:
        s = closing(socket.socket(socket.AF_UNIX))
        s.setblocking(False)
        try:
            s.connect(path)
        except BlockingIOError:
            break  # the backlog is full: the next connect has to wait
        waiting.append(s)
    for _ in range(10):
        qmp.cmd("netdev_add", type="socket", id="s", connect=path)
        qmp.cmd("netdev_del", id="s")
    assert waiting and qmp.cmd("query-netdevs") == []


def test_link_up_of_an_unconnected_listener(qmp, tap):
    """Another of QEMU's ways to die: set_link up, then a frame."""
    plug(qmp, listen=qmp.daemon.path("l.sock"))
    qmp.cmd("set_link", name="s", up=False)
    qmp.cmd("set_link", name="s", up=True)
    tap.send(frame(1))
    until(lambda: qmp.counters("s")["out-drop-disconnected"] == 1, 5, "the drop")
    end = Stream.connect(qmp.daemon.path("l.sock"))
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
    both_ways(tap, end, 10)
    end.close()


def test_port_in_use_is_the_answer(qmp, closing):
    far = closing(Listener(("127.0.0.1", 0)))
    desc = qmp.refused("netdev_add", type="socket", id="s",
                       listen=f"127.0.0.1:{far.port}").desc
    assert str(far.port) in desc and "in use" in desc
    assert qmp.cmd("query-netdevs") == []


# --- with QEMU on the other side ---------------------------------------------------

QEMU_HUB = ("-netdev", "hubport,id=h0,hubid=0,netdev=far",
            "-netdev", "hubport,id=h1,hubid=0,netdev=out")


@pytest.mark.parametrize("mode", ["listen", "connect", "udp", "mcast", "unix"])
def test_with_qemu(qmp, tap, peer, closing, mode):
    """Frames go through QEMU's own netdev of the same mode, both ways."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("127.0.0.1", 0))
        out.settimeout(10)
        back = free_port(socket.SOCK_DGRAM)
        outside = ("-netdev", "dgram,id=out,local.type=inet,local.host=127.0.0.1,"
                   f"local.port={back},remote.type=inet,remote.host=127.0.0.1,"
                   f"remote.port={out.getsockname()[1]}")
        a, b = free_port(), free_port(socket.SOCK_DGRAM)
        path = qmp.daemon.path("q")
        ours, theirs = {
            "listen": ({"listen": f"127.0.0.1:{a}"},
                       f"socket,id=far,connect=127.0.0.1:{a}"),
            "connect": ({"connect": f"127.0.0.1:{a}"},
                        f"socket,id=far,listen=127.0.0.1:{a}"),
            "udp": ({"udp": f"127.0.0.1:{b}", "localaddr": f"127.0.0.1:{a}"},
                    f"socket,id=far,udp=127.0.0.1:{a},localaddr=127.0.0.1:{b}"),
            "mcast": ({"mcast": f"239.192.7.8:{b}", "localaddr": "127.0.0.1"},
                      f"socket,id=far,mcast=239.192.7.8:{b},localaddr=127.0.0.1"),
            "unix": ({"connect": path},
                     f"stream,id=far,server=on,addr.type=unix,addr.path={path}"),
        }[mode]
        if mode == "listen":
            plug(qmp, **ours)
        peer("-netdev", theirs, *outside, *QEMU_HUB)
        if mode != "listen":
            plug(qmp, **ours)
        if mode in ("listen", "connect", "unix"):
            qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")

        def heard():
            tap.send(frame(1, 600))
            out.settimeout(0.2)
            try:
                return number(out.recv(65536)) == 1
            except socket.timeout:
                return False
        until(heard, 10, "a frame out of QEMU's hub")
        out.sendto(frame(2, 900), ("127.0.0.1", back))
        while tap.numbers(1) != [2]:
            pass
