"""Names of hosts where addresses are wanted: looked up by a process of their
own, in a network namespace with a name server that can be told to misbehave."""

import os
import signal
import socket
import time

import pytest

from kit.daemon import alive, status
from kit.deadline import until
from kit.dns import NXDOMAIN, NameServer
from kit.netns import Netns
from kit.qmp import QmpError
from kit.wire import Listener, Stream, frame, number

DEADLINE_S = 10  # of a look-up
NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="network and mount namespaces need root")

HOSTS = """127.0.0.1 localhost
127.0.0.1 peer.test
::1 six.test
239.1.2.3 group.test
"""
MOUNT = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf' \
    ' && shift && exec "$@"'


class World:
    """A network of its own, its files about names, and daemons in it."""

    def __init__(self, folder, bulkhead, closing):
        self.bulkhead, self.closing = bulkhead, closing
        self.ns = closing(Netns())
        self.ns.ip("link", "set", "lo", "up")
        self.ns.ip("route", "add", "239.0.0.0/8", "dev", "lo")
        self.hosts, self.resolv = folder / "hosts", folder / "resolv.conf"
        self.hosts.write_text(HOSTS)
        # One question, and patience: deadlines are ours.
        self.resolv.write_text("nameserver 127.0.0.1\noptions timeout:30\n")
        for file in (self.hosts, self.resolv):
            file.chmod(0o644)
        self.policy = folder / "policy"

    def says(self, **names):
        """Start the name server; a_test in `names` is a.test."""
        with self.ns.inside():
            return self.closing(NameServer(
                {k.replace("_", "."): v for k, v in names.items()}))

    def start(self, *args, before=(), **how):
        daemon = self.bulkhead(*args, **how, before=(
            *self.ns.argv("unshare", "-m", "sh", "-c", MOUNT,
                          str(self.hosts), str(self.resolv)), *before))
        session = daemon.qmp()
        session.daemon = daemon
        return session

    def allow(self, *rules):
        self.policy.write_text("".join(f"allow {r}\n" for r in rules))
        return "--policy", str(self.policy)

    def listener(self, address=("127.0.0.1", 0)):
        with self.ns.inside():
            return self.closing(Listener(address))

    def datagrams(self):
        with self.ns.inside():
            sock = self.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        return sock


@pytest.fixture
def world(tmp_path, bulkhead, closing):
    tmp_path.chmod(0o755)
    return World(tmp_path, bulkhead, closing)


def inet(host, port=1, **more):
    return {"type": "inet", "host": host, "port": str(port), **more}


def connect(session, name, id="s", port=1):
    return session.start("netdev_add", type="socket", id=id,
                         connect=f"{name}:{port}")


def resolvers(session):
    """The processes that look something up."""
    return [p for p in session.daemon.processes()
            if status(p).get("Name", "").startswith("bulkhead-resol")]


def one_resolver(session):
    return until(lambda: resolvers(session), 5, "a process that looks up")[0]


def refusal(session, serial):
    with pytest.raises(QmpError) as caught:
        session.finish(serial)
    return caught.value.desc


def nothing_left(session):
    assert session.cmd("query-netdevs") == []
    assert not [p for p in resolvers(session) if alive(p)]


# --- names that mean something -------------------------------------------------


def test_connect(world):
    there = world.listener()
    qmp = world.start()
    qmp.finish(connect(qmp, "peer.test", port=there.port))
    end = there.accept()
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
    qmp.cmd("netdev_add", type="hubport", id="p", hubid=0, netdev="s")
    end.close()
    there.accept()  # it comes again by itself
    # The configuration can be given again.
    assert qmp.netdev("s")["config"]["connect"] == f"peer.test:{there.port}"
    assert not resolvers(qmp)


@pytest.mark.parametrize("host, family", [
    ("peer.test", socket.AF_INET), ("six.test", socket.AF_INET6)])
def test_stream_server(world, closing, host, family):
    qmp = world.start()
    port = world.listener().port + 1
    qmp.cmd("netdev_add", type="stream", id="s", server=True,
            addr=inet(host, port))
    with world.ns.inside():
        sock = closing(socket.socket(family, socket.SOCK_STREAM))
    sock.connect(("127.0.0.1" if family == socket.AF_INET else "::1", port))
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
    assert qmp.netdev("s")["config"]["addr"] == inet(host, port)


def post(qmp, closing):
    """Our listening post on hub 0, where `s` is."""
    path = qmp.daemon.path("post.sock")
    qmp.cmd("netdev_add", type="socket", id="post", listen=path)
    qmp.cmd("netdev_add", type="hubport", id="p0", hubid=0, netdev="post")
    qmp.cmd("netdev_add", type="hubport", id="p1", hubid=0, netdev="s")
    end = closing(Stream.connect(path))
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="post")
    return end


@pytest.mark.parametrize("kind, offset, options", [
    ("dgram", 0, lambda port: {"local": inet("localhost", port + 1),
                               "remote": inet("peer.test", port)}),
    ("socket", 0, lambda port: {"localaddr": f"localhost:{port + 1}",
                                "udp": f"peer.test:{port}"}),
    ("l2tpv3", 8, lambda port: {
        "src": "localhost", "dst": "peer.test", "udp": True, "txsession": 1,
        "srcport": str(port + 1), "dstport": str(port)}),
])
def test_datagrams(world, closing, kind, offset, options):
    peer = world.datagrams()
    qmp = world.start()
    qmp.cmd("netdev_add", type=kind, id="s",
            **options(peer.getsockname()[1]))
    post(qmp, closing).send(frame(7))
    assert number(peer.recv(65536)[offset:]) == 7


def test_a_group(world, closing):
    qmp = world.start()
    qmp.cmd("netdev_add", type="socket", id="s", mcast="group.test:4242",
            localaddr="127.0.0.1")
    with world.ns.inside():
        member = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    member.bind(("239.1.2.3", 4242))
    member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                      socket.inet_aton("239.1.2.3") +
                      socket.inet_aton("127.0.0.1"))
    member.settimeout(10)
    post(qmp, closing).send(frame(7))
    assert number(member.recv(65536)) == 7
    error = qmp.refused("netdev_add", type="socket", id="t",
                        mcast="peer.test:4242")
    assert "no address of the kind that is wanted" in error.desc


def test_a_name_server_is_asked(world):
    world.says(peer_example=["127.0.0.1", "2001:db8::1"])
    there = world.listener()
    qmp = world.start()
    qmp.cmd("netdev_add", type="stream", id="s",
            addr=inet("peer.example", there.port, ipv4=True))
    there.accept()


def test_start_configuration(world, tmp_path):
    """The command line and --config are not subject to policy, and a lost
    connection is made again under a policy that allows nothing."""
    one, other = world.listener(), world.listener()
    config = tmp_path / "config"
    config.write_text('{"execute": "netdev_add", "arguments": {"type": "socket",'
                      f' "id": "c", "connect": "peer.test:{other.port}"}}}}\n')
    world.start("-nodefaults", "-netdev",
                f"socket,id=s,connect=peer.test:{one.port}",
                "--config", str(config), *world.allow())
    for there in (one, other):
        there.accept().close()
        there.accept()


# --- several addresses ---------------------------------------------------------


def test_more_than_anybody_needs(world):
    many = [f"127.1.{i // 250}.{i % 250 + 1}" for i in range(1000)]
    server = world.says(many_test=many)
    there = world.listener(("0.0.0.0", 0))
    qmp = world.start()
    qmp.finish(connect(qmp, "many.test", port=there.port))
    there.accept()
    assert "many.test" in server.asked


def test_the_next_address_is_tried(world):
    """Those that policy refuses, and those where nobody listens."""
    world.says(two_test=["127.0.0.2", "127.0.0.3"])
    there = world.listener(("127.0.0.3", 0))
    qmp = world.start("-nodefaults",
                      *world.allow("lookup *", "connect 127.0.0.3"))
    qmp.finish(connect(qmp, "two.test", port=there.port))
    there.accept()
    other = world.start()
    other.finish(connect(other, "two.test", port=there.port))
    there.accept()


@pytest.mark.seconds(120)
def test_a_lost_peer_is_looked_up_again(world):
    there = world.listener(("127.0.0.3", 0))
    moved = world.listener(("127.0.0.4", there.port))
    world.hosts.write_text("127.0.0.3 peer.test\n")
    qmp = world.start("-nodefaults", *world.allow("lookup peer.test",
                                                  "connect 127.0.0.0/29"))
    qmp.finish(connect(qmp, "peer.test", port=there.port))
    end = there.accept()
    there.close()
    world.hosts.write_text("127.0.0.4 peer.test\n")
    end.close()
    moved.accept(DEADLINE_S + 20)


def test_a_restart_waits_for_nobody(world):
    """What a name means is known: a dead backend is not held up by DNS."""
    server = world.says(peer_example=["127.0.0.1"])
    there = world.listener()
    qmp = world.start()
    qmp.finish(connect(qmp, "peer.example", port=there.port))
    there.accept()
    server.says["peer.example"] = None
    pid = [b for b in qmp.cmd("query-backends") if b["id"] == "s"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    there.accept(DEADLINE_S / 2)


# --- names that mean nothing ---------------------------------------------------


@pytest.mark.parametrize("kind, options, text", [
    ("socket", {"connect": "no.test:1"},
     "can't resolve host address 'no.test': Name or service not known "
     "(netdev 's', option 'connect', host 'no.test')"),
    ("stream", {"addr": inet("no.test")},
     "address resolution failed for no.test:1: Name or service not known "
     "(netdev 's', option 'addr', host 'no.test')"),
    ("dgram", {"local": inet("127.0.0.1"), "remote": inet("no.test")},
     "can't resolve host address 'no.test': Name or service not known "
     "(netdev 's', option 'remote', host 'no.test')"),
    ("l2tpv3", {"src": "no.test", "dst": "peer.test", "txsession": 1},
     "could not resolve src, errno = Name or service not known "
     "(netdev 's', option 'src', host 'no.test')"),
    ("l2tpv3", {"src": "peer.test", "dst": "no.test", "txsession": 1},
     "could not resolve dst, error = Name or service not known "
     "(netdev 's', option 'dst', host 'no.test')"),
    # No address of the family that is asked for.
    ("socket", {"connect": "v6only.test:1"},
     "can't resolve host address 'v6only.test': No address associated with "
     "hostname (netdev 's', option 'connect', host 'v6only.test')"),
    ("stream", {"addr": inet("v4only.test", ipv6=True)},
     "address resolution failed for v4only.test:1: No address associated with "
     "hostname (netdev 's', option 'addr', host 'v4only.test')"),
    # Two ends that cannot meet.
    ("dgram", {"local": inet("v6only.test"), "remote": inet("v4only.test")},
     "it has no address of the kind that is wanted"),
    # IPv4 in the form of IPv6 is no IPv6.
    ("stream", {"addr": inet("mapped.test", ipv6=True)},
     "No address associated with hostname"),
])
def test_no_address(world, kind, options, text):
    world.says(v6only_test=["::1"], v4only_test=["127.0.0.1"],
               mapped_test=["::ffff:127.0.0.1"], no_test=NXDOMAIN)
    qmp = world.start()
    assert text in qmp.refused("netdev_add", type=kind, id="s", **options).desc
    nothing_left(qmp)


def test_garbage(world):
    """A name server that lies about everything costs its own netdev."""
    lies = {
        "short.test": b"\x81",
        "flags.test": b"\xff" * 510,
        "counts.test": b"\x81\x80" + b"\xff" * 8 + b"\x00" * 500,
        "loop.test": b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" +
                     b"\xc0\x0c" * 100,
        "noise.test": os.urandom(510),
    }
    world.says(**{k.replace(".", "_"): v for k, v in lies.items()})
    first = world.start()
    sessions = [first.daemon.qmp() for _ in lies]
    asked = [connect(s, name, id=f"s{i}")
             for i, (s, name) in enumerate(zip(sessions, lies))]
    for session, serial in zip(sessions, asked):
        assert "can't resolve host address" in refusal(session, serial)
    nothing_left(first)


@pytest.mark.parametrize("name", [
    "a b", "-x", "a..b", ".", "a/b", "x" * 64, "a." * 127 + "b", "\u00e4.test",
    "--sandbox=off", "1.2.3.400"])
def test_what_is_no_name(world, name):
    qmp = world.start()
    qmp.refused("netdev_add", type="stream", id="s", addr=inet(name))
    nothing_left(qmp)


# --- a name server that says nothing --------------------------------------------


@pytest.fixture
def silence(world):
    """A session whose netdev is being looked up, in vain."""
    world.says(silent_test=None)
    qmp = world.start()
    qmp.asked_at = time.monotonic()
    qmp.waiting = connect(qmp, "silent.test")
    return qmp


def test_silence_ends_and_holds_nobody(silence):
    other = silence.daemon.qmp()
    one_resolver(silence)
    for i in range(10):
        begin = time.monotonic()
        other.cmd("query-version")
        other.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=i)
        other.cmd("netdev_del", id=f"p{i}")
        assert time.monotonic() - begin < 1
    assert refusal(silence, silence.waiting) == (
        "can't resolve host address 'silent.test': no name server has answered "
        "in time (netdev 's', option 'connect', host 'silent.test')")
    took = time.monotonic() - silence.asked_at
    assert DEADLINE_S - 1 < took < DEADLINE_S + 3
    nothing_left(silence)


def test_killed(silence):
    os.kill(one_resolver(silence), signal.SIGKILL)
    assert "the process that looked it up has died" in \
        refusal(silence, silence.waiting)
    nothing_left(silence)


def test_deleted(silence):
    one_resolver(silence)
    other = silence.daemon.qmp()
    other.cmd("netdev_del", id="s")
    assert refusal(silence, silence.waiting) == \
        "netdev 's' was deleted while it was starting"
    until(lambda: not resolvers(silence), 5, "the end of the look-up")
    nothing_left(silence)


def test_the_end_of_the_daemon(silence):
    pid = one_resolver(silence)
    silence.daemon.stop()
    until(lambda: not alive(pid), 5, "the end of the look-up")


def test_confinement(silence):
    pid = one_resolver(silence)
    until(lambda: status(pid).get("Seccomp") == "2" and
          status(pid).get("Seccomp_filters") == "2", 5, "its filter")
    found = status(pid)
    for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[caps], 16) == 0, caps
    assert found["NoNewPrivs"] == "1" and found["Threads"] == "1"
    assert set(found["Uid"].split()) & {"0", str(os.geteuid())} == set()
    root = f"/proc/{pid}/root"
    assert os.listdir(root) == ["etc"]
    assert sorted(os.listdir(root + "/etc")) == \
        ["gai.conf", "host.conf", "hosts", "resolv.conf"]

    def namespace(of, kind):
        return os.readlink(f"/proc/{of}/ns/{kind}")
    daemon = silence.daemon.proc.pid
    assert namespace(pid, "net") == namespace(daemon, "net")
    for kind in ("mnt", "pid", "ipc", "uts", "user"):
        assert namespace(pid, kind) != namespace(daemon, kind), kind
    # Its log is a file of the test's.
    fds = {os.readlink(f"/proc/{pid}/fd/{n}").split(":")[0]
           for n in os.listdir(f"/proc/{pid}/fd") if n != "2"}
    assert fds == {"socket", "/dev/null"}


# --- policy ----------------------------------------------------------------------


@pytest.mark.parametrize("rules, text", [
    (["connect *"], "policy refuses to look up db.peer.test: add \"allow lookup "
     "db.peer.test\" to the policy file"),
    (["connect *", "lookup peer.test", "lookup .other.test"],
     "policy refuses to look up db.peer.test"),
    (["lookup .peer.test", "connect 10.0.0.0/8"],
     "policy refuses to connect to 127.0.0.1:1: add \"allow connect "
     "127.0.0.1:1\""),
    (["lookup DB.Peer.test", "udp *"],
     "policy refuses to connect to 127.0.0.1:1"),
])
def test_policy_refuses(world, rules, text):
    world.hosts.write_text("127.0.0.1 db.peer.test\n")
    qmp = world.start("-nodefaults", *world.allow(*rules))
    assert text in refusal(qmp, connect(qmp, "db.peer.test"))
    nothing_left(qmp)


def test_clients_do_not_write_the_files(qmp):
    """In the run directory, but for the look-ups of others."""
    for part in ("names/hosts", "etc/resolv.conf"):
        error = qmp.refused("netdev_add", type="dump", id="d",
                            file=qmp.daemon.path(part))
        assert "policy refuses" in error.desc


# --- without root -----------------------------------------------------------------


def test_rootless(world):
    there = world.listener()
    qmp = world.start(uid=NOBODY, before=(
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
    qmp.finish(connect(qmp, "peer.test", port=there.port))
    there.accept()
    world.says()
    assert "Name or service not known" in refusal(
        qmp, connect(qmp, "no.test", id="n"))
