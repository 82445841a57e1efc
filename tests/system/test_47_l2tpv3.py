"""Netdev type l2tpv3: two of ours, raw sockets, QEMU and user-mode Linux as
peers, over UDP and over IP."""

import os
import signal
import socket
import struct
import subprocess

import pytest

from kit import uml
from kit.deadline import until
from kit.wire import Stream, frame, free_port, number

HOST = {4: "127.0.0.1", 6: "::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
UDP_MOST = 65507  # bytes of a datagram over IPv4


def port():
    return free_port(socket.SOCK_DGRAM)


def post(session, hub):
    """Our listening post on a hub: hears and sends what the netdev does."""
    name, path = f"post{hub}", session.daemon.path(f"post{hub}.sock")
    session.cmd("netdev_add", type="socket", id=name, listen=path)
    session.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=hub,
                netdev=name)
    end = Stream.connect(path)
    session.event("NETDEV_STREAM_CONNECTED", netdev_id=name)
    return end


def wire(session, name, hub, **options):
    """A netdev of the type on a hub."""
    session.cmd("netdev_add", type="l2tpv3", id=name, **options)
    session.cmd("netdev_add", type="hubport", id="p-" + name, hubid=hub,
                netdev=name)


def both_ways(one, other, sizes=(60, 1514, 9014)):
    for n, size in enumerate(sizes):
        one.send(frame(2 * n, size))
        assert other.recv() == frame(2 * n, size)
        other.send(frame(2 * n + 1, size))
        assert one.recv() == frame(2 * n + 1, size)


@pytest.fixture
def ends(qmp, closing):
    """ends(a, b) makes two netdevs on two hubs of one daemon; two posts."""
    def make(a, b, session=qmp):
        one, other = closing(post(session, 0)), closing(post(session, 1))
        wire(session, "a", 0, **a)
        wire(session, "b", 1, **b)
        return one, other
    return make


class Peer:
    """The far end, by hand: a UDP socket, and one of a stranger."""

    def __init__(self, session, ip=4, **options):
        self.sock = socket.socket(FAMILY[ip], socket.SOCK_DGRAM)
        self.sock.bind((HOST[ip], 0))
        self.sock.settimeout(5)
        self.to = (HOST[ip], port())
        self.stranger = socket.socket(FAMILY[ip], socket.SOCK_DGRAM)
        if ip == 6:
            options["ipv6"] = True
        wire(session, "a", 0, udp=True, src=HOST[ip], dst=HOST[ip],
             srcport=str(self.to[1]), dstport=str(self.sock.getsockname()[1]),
             **options)

    def send(self, data):
        self.sock.sendto(data, self.to)

    def recv(self):
        return self.sock.recv(65536)

    def close(self):
        self.sock.close()
        self.stranger.close()


@pytest.fixture
def far(qmp, closing):
    """far(**options) is (peer by hand, post)."""
    def make(**options):
        end = closing(post(qmp, 0))
        return closing(Peer(qmp, **options)), end
    return make


# --- two of ours -------------------------------------------------------------

@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize("options", [
    {},
    {"counter": True},
    {"pincounter": True, "offset": 256},
    {"cookie": 0xFFFFFFFF, "counter": True},
    {"cookie": (1 << 64) - 1, "cookie64": True, "offset": 3},
], ids=lambda o: "-".join(o) or "plain")
def test_two_of_ours(ends, ip, options):
    a, b = port(), port()
    both = {"udp": True, "src": HOST[ip], "dst": HOST[ip], **options}
    if ip == 6:
        both["ipv6"] = True
    cookie = both.pop("cookie", None)
    one, other = dict(both), dict(both)
    if cookie is not None:
        # as text: JSON numbers end at 2^63 - 1 here
        one.update(txcookie=str(cookie), rxcookie=str(cookie - 1))
        other.update(rxcookie=str(cookie), txcookie=str(cookie - 1))
    one.update(srcport=str(a), dstport=str(b), txsession=7, rxsession=8)
    other.update(srcport=str(b), dstport=str(a), txsession=8, rxsession=7)
    both_ways(*ends(one, other), (60, 1514, 9014, 65000))


def test_a_thousand_frames_in_batches(ends):
    a, b = port(), port()
    both = {"udp": True, "src": "127.0.0.1", "dst": "127.0.0.1",
            "counter": True, "txsession": 1}
    one, other = ends({**both, "srcport": str(a), "dstport": str(b)},
                      {**both, "srcport": str(b), "dstport": str(a)})
    for first in range(0, 1000, 100):
        one.send(*(frame(first + i) for i in range(100)))
        assert other.numbers(100) == list(range(first, first + 100))


# --- by hand -----------------------------------------------------------------

def test_the_header_on_the_wire(far):
    peer, end = far(txsession=0x01020304, rxsession=9, txcookie=5, rxcookie=6,
                    counter=True, offset=2)
    for n in (1, 2, 3):
        end.send(frame(n))
        assert peer.recv() == struct.pack("!IIII", 0x30000, 0x01020304, 5, n) \
            + b"\0\0" + frame(n)
    # whatever the counter and the offset area say
    peer.send(struct.pack("!IIII", 0x30000, 9, 6, 77) + b"xy" + frame(4))
    assert end.numbers(1) == [4]


def test_pinned_counter_has_its_word(far):
    """QEMU writes past its buffer."""
    peer, end = far(txsession=1, pincounter=True)
    for n in (1, 2):
        end.send(frame(n))
        assert peer.recv() == struct.pack("!III", 0x30000, 1, 0) + frame(n)


def test_cookie64_off_means_off(far):
    """QEMU looks only whether it is there."""
    peer, end = far(txsession=1, txcookie=2, rxcookie=3, cookie64=False)
    end.send(frame(1))
    assert peer.recv() == struct.pack("!III", 0x30000, 1, 2) + frame(1)


@pytest.mark.parametrize("ip", [4, 6])
def test_what_is_wrong_is_counted_by_its_reason(qmp, far, ip):
    peer, end = far(ip=ip, txsession=1, txcookie=2, rxcookie=3)
    head = struct.pack("!III", 0x30000, 1, 3)
    flood = 300
    for n in range(1, flood + 1):
        peer.send(struct.pack("!III", 0x30000, 1, 4) + frame(66))
        peer.send(struct.pack("!III", 0x30000, 2, 3) + frame(66))
        peer.send(b"")
        if n % 30 == 0:  # no more than the kernel keeps
            until(lambda n=n: qmp.counters("a")["in-drop-size"] == n, 5,
                  "the empty datagrams")
    for cut in range(1, len(head) + 14):
        peer.send((head + frame(66))[:cut])
    peer.send(struct.pack("!III", 0xC8030000, 1, 3) + frame(66))
    peer.send(struct.pack("!III", 0x20000, 1, 3) + frame(66))
    # from another port: the kernel does not give it to us
    peer.stranger.sendto(head + frame(66), peer.to)
    peer.send(head + frame(1))
    assert end.numbers(1) == [1]

    def counted():
        c = qmp.counters("a")
        return (c["in-drop-cookie"], c["in-drop-session"], c["in-drop-size"],
                c["in-errors"], c["in-frames"])
    assert counted() == (flood, flood, flood + len(head) + 13, 2, 1)
    assert end.silent()


def test_empty_datagrams_stop_nothing(qmp, far):
    """One stops QEMU for good."""
    peer, end = far(txsession=1)
    for n in range(200):
        for _ in range(50):
            peer.send(b"")
        peer.send(struct.pack("!II", 0x30000, 1) + frame(n))
        assert end.numbers(1) == [n]
    assert qmp.counters("a")["in-drop-size"] == 200 * 50


def test_jumbo_frames_and_those_beyond(qmp, far):
    """QEMU cuts frames at 2048 bytes and forwards what is left."""
    peer, end = far(txsession=1)
    head = struct.pack("!II", 0x30000, 1)
    for size in (2049, 9014, UDP_MOST - len(head)):
        peer.send(head + frame(size, size))
        assert end.recv() == frame(size, size)
        end.send(frame(size, size))
        assert peer.recv() == head + frame(size, size)
    end.send(frame(1, UDP_MOST - len(head) + 1))
    until(lambda: qmp.counters("a")["out-drop-size"] == 1, 5, "the drop")
    end.send(frame(2))
    assert number(peer.recv()[8:]) == 2


def test_a_peer_that_was_away_costs_no_later_frame(qmp, far):
    peer, end = far(txsession=1)
    address = peer.sock.getsockname()
    peer.sock.close()
    end.send(*(frame(i) for i in range(20)))
    until(lambda: (lambda c: c["out-frames"] + c["out-drop-error"])(
        qmp.counters("a")) == 20, 5, "20 frames")
    peer.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.sock.bind(address)
    peer.sock.settimeout(5)
    end.send(frame(21))
    assert number(peer.recv()[8:]) == 21


# --- raw IP ------------------------------------------------------------------

def in_netns(bulkhead, name, *args):
    """A daemon in a network namespace, and its session."""
    daemon = bulkhead(*(args or ("-nodefaults",)), ready=False,
                      before=("ip", "netns", "exec", name))

    def session():
        try:
            return daemon.qmp()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
    found = until(session, 20, "QMP")
    found.daemon = daemon
    return found


@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize("options", [
    {}, {"txcookie": 9, "rxcookie": 9, "counter": True, "offset": 5}],
    ids=["plain", "all"])
def test_raw_ip(netns, bulkhead, ends, ip, options):
    name = netns()
    here, there = {4: ("10.1.1.1", "10.1.1.2"), 6: ("fd00::1", "fd00::2")}[ip]
    for address in (here, there):
        subprocess.run(["ip", "-n", name, "addr", "add", address, "dev", "lo",
                        *(["nodad"] if ip == 6 else [])], check=True)
    if ip == 6:
        options = {**options, "ipv6": True}
    session = in_netns(bulkhead, name)
    one, other = ends({**options, "src": here, "dst": there, "txsession": 1},
                      {**options, "src": there, "dst": here, "txsession": 1},
                      session)
    both_ways(one, other, (60, 1514, 9014, 60000))
    assert session.netdev("a")["info"] == "l2tpv3: connected"
    c = session.counters("a")
    assert c["in-frames"] == 4 and c["in-errors"] == 0


@pytest.mark.parametrize("kind", ["udp", "raw"])
@pytest.mark.parametrize("ip", [4, 6])
def test_fragments(netns, bulkhead, closing, kind, ip):
    """Frames longer than the path's MTU go in pieces and come whole."""
    names = netns(), netns()
    subprocess.run(["ip", "link", "add", "v0", "mtu", "1500", "netns", names[0],
                    "type", "veth", "peer", "name", "v0", "mtu", "1500",
                    "netns", names[1]], check=True)
    form = {4: "10.1.2.%d", 6: "fd01::%d"}[ip]
    posts, sessions = [], []
    for i, name in enumerate(names):
        subprocess.run(["ip", "-n", name, "addr", "add",
                        form % (i + 1) + {4: "/24", 6: "/64"}[ip], "dev", "v0",
                        *(["nodad"] if ip == 6 else [])], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "v0", "up"], check=True)
    for i, name in enumerate(names):
        session = in_netns(bulkhead, name)
        options = {"udp": True, "srcport": "1701", "dstport": "1701"} \
            if kind == "udp" else {}
        if ip == 6:
            options["ipv6"] = True
        wire(session, "a", 0, src=form % (i + 1), dst=form % (2 - i),
             txsession=5, **options)
        posts.append(closing(post(session, 0)))
        sessions.append(session)

    def through():
        posts[0].send(frame(1))
        return posts[1].rest(0.1)
    until(through, 10, "a frame through the veth")
    posts[1].rest(0.2)
    both_ways(*posts, (1514, 9014, 30000))
    # many at once: the kernel cuts no message into datagrams of that length
    for first in range(100, 500, 40):
        posts[0].send(*(frame(first + i, 1514) for i in range(40)))
        assert posts[1].numbers(40) == list(range(first, first + 40))
    for c in (s.counters("a") for s in sessions):
        assert c["out-drop-size"] == c["out-drop-error"] == c["in-errors"] == 0


def test_raw_ip_without_the_privilege(build, bulkhead):
    """Rootless: a clear error, and UDP works."""
    if os.geteuid() != 0:
        daemon = bulkhead("-nodefaults")
    else:
        daemon = bulkhead("-nodefaults", uid=65534, before=(
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    session = daemon.qmp()
    desc = session.refused("netdev_add", type="l2tpv3", id="a", src="127.0.0.1",
                           dst="127.0.0.1", txsession=1).desc
    assert "CAP_NET_RAW" in desc and "udp=on" in desc
    session.cmd("netdev_add", type="l2tpv3", id="a", src="127.0.0.1",
                dst="127.0.0.1", txsession=1, udp=True, srcport=str(port()),
                dstport=str(port()))


def test_policy(bulkhead, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text("allow udp 127.0.0.1:*\nallow raw-ip 127.0.0.0/24\n"
                      "allow raw-ip [::1]\n")
    session = bulkhead("-nodefaults", "--policy", str(policy)).qmp()

    def add(src, dst, **options):
        session.cmd("netdev_add", type="l2tpv3", id="a", src=src, dst=dst,
                    txsession=1, **options)
        session.cmd("netdev_del", id="a")

    def refused(src, dst, **options):
        return session.refused("netdev_add", type="l2tpv3", id="a", src=src,
                               dst=dst, txsession=1, **options).desc
    ports = {"udp": True, "srcport": str(port()), "dstport": str(port())}
    add("127.0.0.1", "127.0.0.1", **ports)
    if os.geteuid() == 0:
        add("127.0.0.1", "127.0.0.2")
    assert '"allow udp 127.0.0.2:' in refused("127.0.0.1", "127.0.0.2", **ports)
    assert '"allow raw-ip 127.0.1.1"' in refused("127.0.0.1", "127.0.1.1")
    assert '"allow raw-ip 127.0.1.1"' in refused("127.0.1.1", "127.0.0.1")
    assert '"allow raw-ip [fd00::1]"' in refused("::1", "fd00::1", ipv6=True)
    assert session.cmd("query-netdevs") == []


# --- errors ------------------------------------------------------------------

V4 = {"src": "127.0.0.1", "dst": "127.0.0.1", "txsession": 1}
UDP = {**V4, "udp": True, "srcport": "40001", "dstport": "40002"}


@pytest.mark.parametrize("options, words", [
    ({"dst": "127.0.0.1", "txsession": 1}, "'src' is missing"),
    ({"src": "127.0.0.1", "txsession": 1}, "'dst' is missing"),
    ({"src": "127.0.0.1", "dst": "127.0.0.1"}, "'txsession' is missing"),
    ({**V4, "udp": True}, "need both src and dst port for udp"),
    ({**V4, "udp": True, "srcport": "1"}, "need both src and dst port for udp"),
    ({**UDP, "srcport": "70000"}, "'srcport' expects a number from 1 to 65535"),
    ({**UDP, "dstport": "0"}, "'dstport' expects a number from 1 to 65535"),
    ({**UDP, "dstport": "-5"}, "'dstport' expects a number from 1 to 65535"),
    ({**UDP, "dstport": "l2tp"}, "'dstport' expects a number from 1 to 65535"),
    ({**UDP, "dstport": "17x"}, "'dstport' expects a number from 1 to 65535"),
    ({**UDP, "src": ""}, "'src' expects an IP address"),
    ({**UDP, "dst": "127.0.0.1:9"}, "not a valid IPv6 address"),
    ({**UDP, "dst": "300.0.0.1"}, "not a valid IPv4 address"),
    ({**UDP, "dst": "::1"}, "two IP addresses of one family"),
    ({**UDP, "src": "::1", "dst": "::1"}, "set ipv6=on"),
    ({**UDP, "ipv6": True}, "ipv6=on wants IPv6 addresses"),
    ({**UDP, "rxcookie": 1}, "require both 'rxcookie' and 'txcookie'"),
    ({**UDP, "txcookie": 1}, "require both 'rxcookie' and 'txcookie'"),
    ({**UDP, "txcookie": 1, "rxcookie": 1 << 32}, "set cookie64=on"),
    ({**UDP, "txcookie": 1 << 62, "rxcookie": 1, "cookie64": False},
     "set cookie64=on"),
    ({**UDP, "offset": 257}, "offset must be at most 256 bytes"),
    ({**UDP, "txsession": 1 << 32}, "txsession"),
    ({**UDP, "src": "192.0.2.1"}, "cannot bind 192.0.2.1:40001"),
])
def test_refusals_leave_nothing(qmp, options, words):
    assert words in qmp.refused("netdev_add", type="l2tpv3", id="a",
                                **options).desc
    assert qmp.cmd("query-netdevs") == []
    qmp.cmd("netdev_add", type="l2tpv3", id="a", **{**UDP, "srcport": str(port())})


def test_on_the_command_line(bulkhead):
    a, b = port(), port()
    daemon = bulkhead(
        "-netdev", "l2tpv3,id=a,src=127.0.0.1,dst=127.0.0.1,udp=on,"
        f"srcport={a},dstport={b},txsession=4294967295,rxsession=0,"
        "txcookie=1,rxcookie=2,cookie64=on,counter=on,offset=8")
    n = daemon.qmp().netdev("a")
    assert n["info"] == "l2tpv3: connected"
    assert n["config"]["txsession"] == 4294967295
    assert n["config"]["rxsession"] == 0


# --- death -------------------------------------------------------------------

def test_killed_under_load(qmp, ends):
    """The launcher keeps the socket: its successor goes on."""
    a, b = port(), port()
    both = {"udp": True, "src": "127.0.0.1", "dst": "127.0.0.1",
            "txsession": 1, "txcookie": 1, "rxcookie": 1}
    one, other = ends({**both, "srcport": str(a), "dstport": str(b)},
                      {**both, "srcport": str(b), "dstport": str(a)})
    sent = 0
    for name in ("a", "b"):
        for _ in range(3):
            pid = [p for p in qmp.cmd("query-backends")
                   if p["id"] == name][0]["pid"]
            one.send(*(frame(sent + i, 1000) for i in range(64)))
            os.kill(pid, signal.SIGKILL)
            one.send(*(frame(sent + 64 + i, 1000) for i in range(64)))
            sent += 128
            assert qmp.event("BACKEND_EXITED", id=name)["cause"] == "signal:9"
            qmp.event("BACKEND_RESTARTED", id=name)

            def through():
                nonlocal sent
                one.send(frame(sent))
                sent += 1
                return sent - 1 in other.rest(0.2)
            until(through, 10, f"a frame after the end of {name}")
    other.send(frame(1 << 40))
    assert one.numbers(1) == [1 << 40]


# --- with others on the other side -------------------------------------------

@pytest.mark.parametrize("options", [
    "udp=on,txsession=1,rxsession=2",
    "udp=on,txsession=1,counter=on",
    "udp=on,txsession=1,rxsession=2,txcookie=3,rxcookie=4,counter=on,offset=16",
    "udp=on,txsession=1,txcookie=81985529216486895,rxcookie=4294967297,"
    "cookie64=on",
    "udp=on,ipv6=on,txsession=1,counter=on,pincounter=on",
    "txsession=1,rxsession=2,txcookie=3,rxcookie=4,counter=on",
    "ipv6=on,txsession=1",
])
def test_with_qemu(qmp, closing, peer, options):
    """Frames go through QEMU's own netdev, both ways."""
    given = dict(o.split("=") for o in options.split(","))
    if "udp" not in given and os.geteuid() != 0:
        pytest.skip("raw IP needs root")
    host = "::1" if "ipv6" in given else "127.0.0.1"
    # raw IP has no ports: over IPv4 another address of the loopback
    ours, theirs = host, host
    if "udp" not in given:
        theirs = "127.0.0.2" if host == "127.0.0.1" else host
        given["rxsession"] = "9"  # else each would hear itself on ::1
    ports = {"srcport": str(port()), "dstport": str(port())} \
        if "udp" in given else {}
    mine = {k: int(v) if v.isdigit() else v == "on" for k, v in given.items()}
    swap = {"txsession": "rxsession", "rxsession": "txsession",
            "txcookie": "rxcookie", "rxcookie": "txcookie",
            "srcport": "dstport", "dstport": "srcport"}
    given.setdefault("rxsession", given["txsession"])
    far = {swap.get(k, k): v for k, v in {**given, **ports}.items()}
    end = closing(post(qmp, 0))
    wire(qmp, "a", 0, src=ours, dst=theirs, **ports, **mine)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("127.0.0.1", 0))
        back = port()
        peer("-netdev", f"l2tpv3,id=far,src={theirs},dst={ours}," +
             ",".join(f"{k}={v}" for k, v in far.items()),
             "-netdev", "dgram,id=out,local.type=inet,local.host=127.0.0.1,"
             f"local.port={back},remote.type=inet,remote.host=127.0.0.1,"
             f"remote.port={out.getsockname()[1]}",
             "-netdev", "hubport,id=h0,hubid=0,netdev=far",
             "-netdev", "hubport,id=h1,hubid=0,netdev=out")

        def heard():
            end.send(frame(1, 600))
            out.settimeout(0.2)
            try:
                return out.recv(65536) == frame(1, 600)
            except socket.timeout:
                return False
        until(heard, 10, "a frame out of QEMU's hub")
        for n in range(2, 50):
            out.sendto(frame(n, 900 + n), ("127.0.0.1", back))
            assert end.recv() == frame(n, 900 + n)


@pytest.mark.seconds(180)
@pytest.mark.parametrize("cookies", [False, True])
def test_with_user_mode_linux(build, qmp, closing, cookies):
    """Its own l2tpv3 transport: a guest pings and resolves through `user`."""
    reason = uml.why_not()
    if reason:
        pytest.skip(reason)
    a, b = port(), port()
    options, theirs = {}, ""
    if cookies:
        options = {"txcookie": 0x11223344, "rxcookie": 0x55667788,
                   "counter": True}
        theirs = ",rx_cookie=0x11223344,tx_cookie=0x55667788,counter=1"
    wire(qmp, "a", 0, src="127.0.0.1", dst="127.0.0.1", udp=True,
         srcport=str(a), dstport=str(b), txsession=10, rxsession=20, **options)
    qmp.cmd("netdev_add", type="user", id="u")
    qmp.cmd("netdev_add", type="hubport", id="p-u", hubid=0, netdev="u")
    guest = closing(uml.Uml(
        build, vec="transport=l2tpv3,udp=1,src=127.0.0.1,dst=127.0.0.1,"
        f"srcport={b},dstport={a},rx_session=10,tx_session=20{theirs},"
        "mac=52:54:00:76:65:63")).wait_ready()
    guest.run("ip link set vec0 up && ip addr add 10.0.2.15/24 dev vec0")
    assert " 0% packet loss" in guest.run("busybox ping -c 5 -s 1400 10.0.2.2", 60)
    c = qmp.counters("a")
    assert c["in-drop-cookie"] == c["in-drop-session"] == c["in-errors"] == 0
    assert c["in-frames"] >= 5 and c["out-frames"] >= 5
