"""Netdev types stream and dgram: the options of newer QEMU, against raw sockets
and against QEMU, on both sides."""

import json
import os
import signal
import socket
import struct

import pytest

from kit.deadline import until
from kit.wire import Listener, Stream, frame, free_port, number

CONNECTED, GONE = "NETDEV_STREAM_CONNECTED", "NETDEV_STREAM_DISCONNECTED"


def inet(port, host="127.0.0.1", **more):
    return dict({"type": "inet", "host": host, "port": str(port)}, **more)


def unix(path, **more):
    return dict({"type": "unix", "path": path}, **more)


def named(name):
    return {"type": "fd", "str": name}


@pytest.fixture
def qmp(bulkhead, tmp_path):
    """A session whose clients may open what they name: abstract names too."""
    policy = tmp_path / "policy"
    policy.write_text("default allow\n")
    daemon = bulkhead("-nodefaults", "--policy", str(policy))
    session = daemon.qmp()
    session.daemon = daemon
    return session


@pytest.fixture
def post(qmp):
    """Our listening post on hub 0: hears and sends what the netdev does."""
    path = qmp.daemon.path("post.sock")
    qmp.cmd("netdev_add", type="stream", id="post", addr=unix(path), server=True)
    qmp.cmd("netdev_add", type="hubport", id="p-post", hubid=0, netdev="post")
    end = Stream.connect(path)
    qmp.event(CONNECTED, netdev_id="post")
    yield end
    end.close()


def plug(session, kind, **options):
    """Netdev `s` on hub 0."""
    session.cmd("netdev_add", type=kind, id="s", **options)
    session.cmd("netdev_add", type="hubport", id="p-s", hubid=0, netdev="s")


def both_ways(post, end, base=0):
    post.send(frame(base + 1))
    assert end.numbers(1) == [base + 1]
    end.send(frame(base + 2, 1514), frame(base + 3, 60))
    assert post.numbers(2) == [base + 2, base + 3]


def kill_backend(qmp, name="s"):
    pid = [b for b in qmp.cmd("query-backends") if b["id"] == name][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    qmp.event("BACKEND_RESTARTED", id=name)


def datagrams(closing, path):
    """A datagram socket at a path, or at a loopback port (path None)."""
    end = closing(socket.socket(socket.AF_UNIX if path else socket.AF_INET,
                                socket.SOCK_DGRAM))
    end.bind(path or ("127.0.0.1", 0))
    end.settimeout(5)
    return end


def hears(end, post, n):
    """Does what the hub sends come there, in the end?"""
    def once():
        post.send(frame(n))
        end.settimeout(0.3)
        try:
            return number(end.recv(65536)) == n
        except socket.timeout:
            return False
    until(once, 10, f"frame {n}")


# --- stream ------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["tcp", "unix", "abstract"])
def test_server(qmp, post, kind):
    port, path = free_port(), qmp.daemon.path("l")
    address, addr, info = {
        "tcp": (("127.0.0.1", port), inet(port), "tcp:127.0.0.1:"),
        "unix": (path, unix(path), f"unix:{path}"),
        "abstract": ("\0" + path, unix(path, abstract=True), f"unix:{path}"),
    }[kind]
    plug(qmp, "stream", addr=addr, server=True)
    assert qmp.netdev("s")["info"] == "listening"
    for turn in range(3):
        end = Stream.connect(address)
        told = qmp.event(CONNECTED, netdev_id="s")["addr"]
        if kind == "tcp":
            assert told == inet(end.sock.getsockname()[1])
        else:
            assert told["type"] == "unix" and told["path"] == path
        assert qmp.netdev("s")["info"].startswith(info)
        both_ways(post, end, 10 * turn)
        end.close()
        qmp.event(GONE, netdev_id="s")
        assert qmp.netdev("s")["info"] == "listening"
    qmp.cmd("netdev_del", id="s")
    assert not os.path.exists(path)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_client_comes_back(qmp, post, closing, kind):
    """The far side may come late, go, and come back."""
    port, path = free_port(), qmp.daemon.path("far")
    address, addr = (("127.0.0.1", port), inet(port)) if kind == "tcp" else \
        (path, unix(path))
    plug(qmp, "stream", addr=addr)
    assert qmp.netdev("s")["info"] == "connecting"
    for turn in range(3):
        far = closing(Listener(address))
        end = closing(far.accept())
        assert qmp.event(CONNECTED, netdev_id="s")["addr"] == addr
        both_ways(post, end, 10 * turn)
        end.close()
        far.close()
        if kind == "unix":
            os.unlink(path)
        qmp.event(GONE, netdev_id="s")
        assert qmp.netdev("s")["info"] == "connecting"


@pytest.mark.parametrize("how", [{"reconnect": 0}, {"reconnect-ms": 0}])
def test_one_attempt_only(qmp, closing, how):
    far = closing(Listener(("127.0.0.1", 0)))
    plug(qmp, "stream", addr=inet(far.port), **how)
    far.accept().close()
    qmp.event(GONE, netdev_id="s")
    with pytest.raises(socket.timeout):
        far.accept(1.5)


@pytest.mark.parametrize("how", [{"reconnect": 1}, {"reconnect-ms": 30}])
def test_reconnects_as_it_is_told(qmp, closing, how):
    far = closing(Listener(("127.0.0.1", 0)))
    plug(qmp, "stream", addr=inet(far.port), **how)
    for _ in range(3):
        far.accept().close()
        qmp.event(CONNECTED, netdev_id="s")
        qmp.event(GONE, netdev_id="s")


@pytest.mark.parametrize("server", [False, True])
def test_passed_descriptor(qmp, post, closing, server):
    """fd: a connected socket, or with server one that is bound."""
    if server:
        path = qmp.daemon.path("given")
        given = closing(socket.socket(socket.AF_UNIX))
        given.bind(path)
    else:
        given, other = socket.socketpair()
        closing(given)
        end = closing(Stream(other))
    qmp.cmd("getfd", fd_=given.fileno(), fdname="link")
    plug(qmp, "stream", addr=named("link"), server=server)
    if server:
        end = closing(Stream.connect(path))
    told = qmp.event(CONNECTED, netdev_id="s")["addr"]
    assert told == named("link")
    both_ways(post, end)
    assert qmp.netdev("s")["info"] == "fd:link"
    end.close()
    qmp.event(GONE, netdev_id="s")
    assert qmp.netdev("s").get("info", "") == ("listening" if server else "")


def test_wrong_descriptors_are_refused(qmp, closing):
    gram = closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    bound = closing(socket.create_server(("127.0.0.1", 0)))
    a, b = socket.socketpair()
    for s in (closing(a), closing(b)):
        qmp.cmd("getfd", fd_=s.fileno(), fdname=f"s{s.fileno()}")
    pipe = os.pipe()
    for fd, kind, options, text in (
            (gram.fileno(), "stream", {}, "is not a stream socket"),
            (bound.fileno(), "stream", {}, "is a listening socket"),
            (a.fileno(), "stream", {"server": True}, "Failed to listen"),
            (a.fileno(), "dgram", {}, "is not a datagram socket"),
            (pipe[0], "stream", {}, "is not a socket")):
        qmp.cmd("getfd", fd_=fd, fdname="x")
        where = "addr" if kind == "stream" else "local"
        error = qmp.refused("netdev_add", type=kind, id="s", **options,
                            **{where: named("x")})
        assert text in error.desc, error
    for fd in pipe:
        os.close(fd)
    error = qmp.refused("netdev_add", type="stream", id="s", addr=named("none"))
    assert "File descriptor named 'none' has not been found" in error.desc
    assert qmp.cmd("query-netdevs") == []


@pytest.mark.parametrize("server", [False, True])
def test_a_killed_stream_is_back(qmp, post, closing, server):
    path = qmp.daemon.path("k")
    far = None if server else closing(Listener(path))
    plug(qmp, "stream", addr=unix(path), server=server)

    def meet():
        return closing(Stream.connect(path) if server else far.accept())
    end = meet()
    qmp.event(CONNECTED, netdev_id="s")
    both_ways(post, end)
    kill_backend(qmp)
    assert end.closed()
    end = meet()
    qmp.event(CONNECTED, netdev_id="s")
    both_ways(post, end, 100)


@pytest.mark.parametrize("length", [69633, 0xFFFFFFFF])
def test_a_lying_peer_loses_its_connection(qmp, post, length):
    path = qmp.daemon.path("l")
    plug(qmp, "stream", addr=unix(path), server=True)
    villain = Stream.connect(path)
    qmp.event(CONNECTED, netdev_id="s")
    villain.sock.sendall(b"\0\0\0\0" * 1000 + struct.pack("!I", length))
    assert villain.closed()
    qmp.event(GONE, netdev_id="s")
    end = Stream.connect(path)
    qmp.event(CONNECTED, netdev_id="s")
    both_ways(post, end)
    end.close()


# --- dgram -------------------------------------------------------------------------

def test_udp(qmp, post, closing):
    """One datagram, one frame; strangers are not heard."""
    far, stranger = datagrams(closing, None), datagrams(closing, None)
    local = free_port(socket.SOCK_DGRAM)
    plug(qmp, "dgram", local=inet(local), remote=inet(far.getsockname()[1]))
    hears(far, post, 1)
    assert qmp.netdev("s")["info"] == \
        f"udp=127.0.0.1:{local}/127.0.0.1:{far.getsockname()[1]}"
    stranger.sendto(frame(66), ("127.0.0.1", local))
    for data in (b"", b"x", frame(2, 1514)):
        far.sendto(data, ("127.0.0.1", local))
    assert post.numbers(1) == [2]
    kill_backend(qmp)
    far.sendto(frame(3), ("127.0.0.1", local))
    assert post.numbers(1) == [3]


def test_udp_over_ipv6(qmp, post, closing):
    far = closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    far.bind(("::1", 0))
    local = free_port(socket.SOCK_DGRAM)
    plug(qmp, "dgram", local=inet(local, "::1"),
         remote=inet(far.getsockname()[1], "::1"))
    hears(far, post, 1)


@pytest.mark.parametrize("local", [None, inet(0), inet(7)])
def test_group(qmp, post, closing, local):
    """Own frames do not come back; a stranger on the group is heard."""
    group, port = "239.192.7.9", free_port(socket.SOCK_DGRAM)
    more = {"local": local} if local else {}
    plug(qmp, "dgram", remote=inet(port, group), **more)
    assert qmp.netdev("s")["info"] == f"mcast={group}:{port}"
    if not local:
        return  # which interface it is depends on the host's routes
    far = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    far.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    far.bind((group, port))
    far.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                   socket.inet_aton(group) + socket.inet_aton("127.0.0.1"))
    far.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                   socket.inet_aton("127.0.0.1"))
    hears(far, post, 1)
    far.sendto(frame(2), (group, port))
    assert post.numbers(1) == [2]
    assert post.silent(0.2)


@pytest.mark.parametrize("abstract", [False, True])
def test_paths(qmp, post, closing, abstract):
    """The peer comes late, goes, and comes back; the file is removed."""
    ours, theirs = qmp.daemon.path("o"), qmp.daemon.path("t")
    at, to = ("\0" + ours, "\0" + theirs) if abstract else (ours, theirs)
    more = {"abstract": True} if abstract else {}
    plug(qmp, "dgram", local=unix(ours, **more), remote=unix(theirs, **more))
    assert qmp.netdev("s")["info"] == f"udp={ours}:{theirs}"
    post.send(frame(9))  # to nobody
    until(lambda: qmp.counters("s")["out-drop-disconnected"] == 1, 5, "the drop")
    for turn in range(3):
        far = datagrams(closing, to)
        hears(far, post, 10 + turn)
        for data in (b"", b"x", frame(20 + turn, 1514)):
            far.sendto(data, at)
        assert post.numbers(1) == [20 + turn]
        far.close()
        if not abstract:
            os.unlink(theirs)
    assert abstract or os.path.exists(ours)
    qmp.cmd("netdev_del", id="s")
    assert not os.path.exists(ours)


def test_a_peer_that_is_new_may_speak_first(qmp, post, closing):
    """A connected socket would refuse it for as long as we are silent."""
    ours, theirs = qmp.daemon.path("o"), qmp.daemon.path("t")
    plug(qmp, "dgram", local=unix(ours), remote=unix(theirs))
    far = datagrams(closing, theirs)
    hears(far, post, 1)
    far.close()
    os.unlink(theirs)
    far = datagrams(closing, theirs)

    def speaks():
        try:
            return far.sendto(frame(2), ours) > 0
        except PermissionError:
            return False
    until(speaks, 10, "a datagram to be taken")
    assert post.numbers(1) == [2]


def test_killed_between_paths(qmp, post, closing):
    """The launcher keeps the socket: what comes meanwhile waits in it."""
    ours, theirs = qmp.daemon.path("o"), qmp.daemon.path("t")
    plug(qmp, "dgram", local=unix(ours), remote=unix(theirs))
    far = datagrams(closing, theirs)
    hears(far, post, 1)
    for turn in range(3):
        inode = os.stat(ours).st_ino
        kill_backend(qmp)
        assert os.stat(ours).st_ino == inode
        far.sendto(frame(2 + turn), ours)
        assert post.numbers(1) == [2 + turn]
        hears(far, post, 10 + turn)


def test_two_of_ours_speak_over_paths(qmp, post, closing):
    a, b = qmp.daemon.path("a"), qmp.daemon.path("b")
    plug(qmp, "dgram", local=unix(a), remote=unix(b))
    qmp.cmd("netdev_add", type="dgram", id="t", local=unix(b), remote=unix(a))
    qmp.cmd("netdev_add", type="hubport", id="p-t", hubid=1, netdev="t")
    path = qmp.daemon.path("other")
    qmp.cmd("netdev_add", type="stream", id="o", addr=unix(path), server=True)
    qmp.cmd("netdev_add", type="hubport", id="p-o", hubid=1, netdev="o")
    other = closing(Stream.connect(path))
    qmp.event(CONNECTED, netdev_id="o")
    for turn in range(20):
        both_ways(post, other, 10 * turn)


def test_a_path_in_use_is_left_alone(qmp, closing):
    """QEMU unlinks whatever is there."""
    path, other = qmp.daemon.path("used"), qmp.daemon.path("t")
    used = datagrams(closing, path)
    for where in (path, qmp.daemon.path("plain")):
        if where != path:
            with open(where, "w", encoding="ascii") as f:
                f.write("mine")
        error = qmp.refused("netdev_add", type="dgram", id="s",
                            local=unix(where), remote=unix(other))
        assert "somebody listens there, or it is not a socket" in error.desc
        assert os.path.exists(where)
    used.close()  # its file stays, and nobody is behind it: stale
    plug(qmp, "dgram", local=unix(path), remote=unix(other))


def test_passed_datagram_socket(qmp, post, closing):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    qmp.cmd("getfd", fd_=closing(theirs).fileno(), fdname="link")
    plug(qmp, "dgram", local=named("link"))
    closing(ours)
    hears(ours, post, 1)
    ours.send(frame(2))
    assert post.numbers(1) == [2]
    assert qmp.netdev("s")["info"] == "fd=link unix"


# --- options -----------------------------------------------------------------------

@pytest.mark.parametrize("kind, options, text", [
    ("stream", {}, "Parameter 'addr' is missing"),
    ("stream", {"addr": {"type": "vsock", "cid": "1", "port": "1"}},
     "does not accept value 'vsock'"),
    ("stream", {"addr": inet(1), "server": True, "reconnect": 1},
     "'reconnect' and 'reconnect-ms' options are incompatible with socket in "
     "server mode"),
    ("stream", {"addr": inet(1), "server": True, "reconnect-ms": 1},
     "'reconnect' and 'reconnect-ms' options are incompatible with socket in "
     "server mode"),
    ("stream", {"addr": inet(1), "reconnect": 1, "reconnect-ms": 1},
     "'reconnect' and 'reconnect-ms' are mutually exclusive"),
    ("stream", {"addr": inet(1), "reconnect": -1}, "expects 0 to 2147483 seconds"),
    ("stream", {"addr": inet(1), "reconnect-ms": 1 << 31},
     "expects 0 to 2147483647 milliseconds"),
    ("stream", {"addr": named("x"), "reconnect": 1},
     "'reconnect' option is incompatible with 'fd' address type"),
    ("stream", {"addr": inet(1, "a.name", numeric=True)},
     "address resolution failed for a.name:1: "),
    ("stream", {"addr": inet(1, "a name")},
     "address resolution failed for a name:1: "),
    ("stream", {"addr": inet(1, "a.name", ipv4=False, ipv6=False)},
     "Cannot disable IPv4 and IPv6 at same time"),
    ("stream", {"addr": inet("http")}, "port number 'http' is invalid"),
    ("stream", {"addr": inet(65536)}, "port number '65536' is invalid"),
    ("stream", {"addr": inet(1, "")}, "an address to connect to needs a host"),
    ("stream", {"addr": inet(1, to=9), "server": True}, "'to' is not available"),
    ("stream", {"addr": inet(1, mptcp=True)}, "'mptcp' is not available"),
    ("stream", {"addr": inet(1, **{"keep-alive": False})},
     "'keep-alive' cannot be switched off"),
    ("stream", {"addr": inet(1, ipv4=False)}, "is IPv4, which ipv4= and ipv6="),
    ("stream", {"addr": inet(1, ipv6=True)}, "is IPv4, which ipv4= and ipv6="),
    ("stream", {"addr": inet(1, "::1", ipv4=True)},
     "is IPv6, which ipv4= and ipv6="),
    ("stream", {"addr": unix("/" + "x" * 120)}, "is too long"),
    ("stream", {"addr": unix("")}, "UNIX socket path is empty"),
    ("stream", {"addr": unix("/x", tight=True)},
     "'tight' is only valid with 'abstract'"),
    ("dgram", {}, "dgram requires local= parameter"),
    ("dgram", {"remote": inet(1)}, "dgram requires local= parameter"),
    ("dgram", {"local": inet(1)},
     "type=inet or type=unix requires remote parameter"),
    ("dgram", {"local": unix("/x")},
     "type=inet or type=unix requires remote parameter"),
    ("dgram", {"local": unix("/x"), "remote": inet(1)},
     "remote and local types must be the same"),
    ("dgram", {"local": named("x"), "remote": inet(1)},
     "don't set remote with local.fd"),
    ("dgram", {"local": unix("/x"), "remote": inet(1, "239.1.1.1")},
     "only support inet or fd type for local"),
    ("dgram", {"local": inet(1, "1.2.3.400"), "remote": inet(1, "239.1.1.1")},
     "localaddr '1.2.3.400' is not a valid IPv4 address"),
    ("dgram", {"local": named("x"), "remote": inet(1, "239.1.1.1")},
     "local.type=fd needs a connected socket and no remote="),
    ("dgram", {"local": inet(1), "remote": inet(1, "1.2.3.400")},
     "host address '1.2.3.400' is not a valid IPv4 address"),
    ("dgram", {"local": inet(1), "remote": inet(1, "a.name", numeric=True)},
     "can't resolve host address 'a.name'"),
    ("dgram", {"local": inet(1), "remote": inet(70000)},
     "port number '70000' is invalid"),
    ("dgram", {"local": inet(1), "remote": inet(1, "::1")},
     "local and remote must both be IPv4 or both be IPv6"),
    ("dgram", {"local": inet(1, "::1"), "remote": inet(1, "ff02::1")},
     "a group must be an IPv4 address"),
    ("dgram", {"local": unix("/x"), "remote": unix("/" + "x" * 120)},
     "is too long"),
])
def test_refusals(qmp, kind, options, text):
    error = qmp.refused("netdev_add", type=kind, id="s", **options)
    assert text in error.desc, error
    assert qmp.cmd("query-netdevs") == []


def test_listening_on_every_address(qmp, post, closing):
    """Without a host, of the family that the flags say."""
    for n, (host, more) in enumerate((("127.0.0.1", {}),
                                      ("::1", {"ipv6": True}),
                                      ("::1", {"ipv4": False}))):
        port = free_port()
        plug(qmp, "stream", addr=inet(port, "", numeric=True, **more,
                                      **{"keep-alive": True}), server=True)
        end = closing(Stream(socket.create_connection((host, port), 5)))
        qmp.event(CONNECTED, netdev_id="s")
        both_ways(post, end, 10 * n)
        end.close()
        qmp.cmd("netdev_del", id="s")
        qmp.cmd("netdev_del", id="p-s")


def test_abstract_name_that_is_filled_up(qmp, post, closing):
    name = qmp.daemon.path("wide")
    plug(qmp, "stream", addr=unix(name, abstract=True, tight=False), server=True)
    end = closing(Stream.connect("\0" + name + "\0" * (107 - len(name))))
    qmp.event(CONNECTED, netdev_id="s")
    both_ways(post, end)


def test_options_come_back(qmp):
    """query-netdevs shows what was asked for, in its shape."""
    addr = unix(qmp.daemon.path("l"))
    qmp.cmd("netdev_add", type="stream", id="s", addr=addr, server=True)
    qmp.cmd("netdev_add", type="stream", id="c", addr=inet(7, numeric=True),
            **{"reconnect-ms": 0})
    local, remote = unix(qmp.daemon.path("o")), unix(qmp.daemon.path("t"))
    qmp.cmd("netdev_add", type="dgram", id="d", local=local, remote=remote)
    assert qmp.netdev("s")["config"]["addr"] == addr
    assert qmp.netdev("s")["config"]["server"] is True
    assert qmp.netdev("c")["config"]["addr"] == inet(7, numeric=True)
    assert qmp.netdev("c")["config"]["reconnect-ms"] == 0
    assert qmp.netdev("d")["config"]["local"] == local
    assert qmp.netdev("d")["config"]["remote"] == remote


@pytest.mark.parametrize("form", ["keys", "json"])
def test_command_line(bulkhead, closing, form):
    port, local = free_port(), free_port(socket.SOCK_DGRAM)
    far = datagrams(closing, None)
    to = far.getsockname()[1]
    args = (f"stream,id=s,server=on,addr.type=inet,addr.host=127.0.0.1,"
            f"addr.port={port}",
            f"dgram,id=d,local.type=inet,local.host=127.0.0.1,"
            f"local.port={local},remote.type=inet,remote.host=127.0.0.1,"
            f"remote.port={to}")
    if form == "json":
        args = (json.dumps({"type": "stream", "id": "s", "server": True,
                            "addr": inet(port)}),
                json.dumps({"type": "dgram", "id": "d", "local": inet(local),
                            "remote": inet(to)}))
    bulkhead("-netdev", args[0], "-netdev", args[1],
             "-netdev", "hubport,id=p0,hubid=0,netdev=s",
             "-netdev", "hubport,id=p1,hubid=0,netdev=d")
    end = closing(Stream.connect(("127.0.0.1", port)))
    hears(far, end, 1)  # what was sent before the connection was made is lost
    far.sendto(frame(2), ("127.0.0.1", local))
    assert end.numbers(1) == [2]


def test_policy_is_asked_about_both_paths(bulkhead):
    daemon = bulkhead("-nodefaults")
    session = daemon.qmp()
    if os.geteuid() != 0:
        pytest.skip("rootless clients may do what the user may")
    inside = unix(daemon.path("o"))
    for local, remote in ((inside, unix("/tmp/elsewhere.sock")),
                          (unix("/tmp/elsewhere.sock"), inside)):
        error = session.refused("netdev_add", type="dgram", id="s",
                                local=local, remote=remote)
        assert "policy refuses" in error.desc and "allow unix" in error.desc
    assert not os.path.exists(daemon.path("o"))


# --- with QEMU on the other side ---------------------------------------------------

QEMU_HUB = ("-netdev", "hubport,id=h0,hubid=0,netdev=far",
            "-netdev", "hubport,id=h1,hubid=0,netdev=out")


@pytest.mark.parametrize("mode", ["server", "client", "unix-server",
                                  "unix-client", "udp", "group", "paths"])
def test_with_qemu(qmp, post, peer, closing, mode):
    """Frames go through QEMU's own netdev of the same type, both ways."""
    out, back = datagrams(closing, None), free_port(socket.SOCK_DGRAM)
    outside = ("-netdev", "dgram,id=out,local.type=inet,local.host=127.0.0.1,"
               f"local.port={back},remote.type=inet,remote.host=127.0.0.1,"
               f"remote.port={out.getsockname()[1]}")
    a, b = free_port(), free_port(socket.SOCK_DGRAM)
    one, two = qmp.daemon.path("one"), qmp.daemon.path("two")
    tcp = f"addr.type=inet,addr.host=127.0.0.1,addr.port={a}"
    kind, ours, theirs = {
        "server": ("stream", {"addr": inet(a), "server": True},
                   f"stream,id=far,{tcp}"),
        "client": ("stream", {"addr": inet(a)},
                   f"stream,id=far,server=on,{tcp}"),
        "unix-server": ("stream", {"addr": unix(one), "server": True},
                        f"stream,id=far,addr.type=unix,addr.path={one}"),
        "unix-client": ("stream", {"addr": unix(one)},
                        f"stream,id=far,server=on,addr.type=unix,addr.path={one}"),
        "udp": ("dgram", {"local": inet(a), "remote": inet(b)},
                "dgram,id=far,local.type=inet,local.host=127.0.0.1,"
                f"local.port={b},remote.type=inet,remote.host=127.0.0.1,"
                f"remote.port={a}"),
        "group": ("dgram", {"local": inet(0), "remote": inet(b, "239.192.7.8")},
                  "dgram,id=far,local.type=inet,local.host=127.0.0.1,"
                  "local.port=0,remote.type=inet,remote.host=239.192.7.8,"
                  f"remote.port={b}"),
        "paths": ("dgram", {"local": unix(one), "remote": unix(two)},
                  f"dgram,id=far,local.type=unix,local.path={two},"
                  f"remote.type=unix,remote.path={one}"),
    }[mode]
    plug(qmp, kind, **ours)
    peer("-netdev", theirs, *outside, *QEMU_HUB)
    if kind == "stream":
        qmp.event(CONNECTED, netdev_id="s")
    hears(out, post, 1)
    out.sendto(frame(2, 900), ("127.0.0.1", back))
    while post.numbers(1) != [2]:
        pass
