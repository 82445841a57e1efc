"""Netdev type user, from the guest's side of the wire, without a guest."""

import socket
import struct

import pytest

from kit.deadline import until
from kit.wire import Stream, free_port

GUEST = bytes.fromhex("52540000aa01")
ROUTER_IP = "10.0.2.2"


@pytest.fixture
def wire(qmp):
    """wire(**options) starts `user` on hub 0 and returns the guest's wire."""
    made = []

    def start(**options):
        path = qmp.daemon.path("g.sock")
        qmp.cmd("netdev_add", type="user", id="u", **options)
        qmp.cmd("netdev_add", type="hubport", id="p-u", hubid=0, netdev="u")
        qmp.cmd("netdev_add", type="socket", id="g", listen=path)
        qmp.cmd("netdev_add", type="hubport", id="p-g", hubid=0, netdev="g")
        made.append(Stream.connect(path))
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="g")
        return made[-1]
    yield start
    for end in made:
        end.close()


def arp(target, sender="10.0.2.15"):
    return b"\xff" * 6 + GUEST + struct.pack(
        "!HHHBBH6s4s6s4s", 0x0806, 1, 0x0800, 6, 4, 1, GUEST,
        socket.inet_aton(sender), b"\0" * 6, socket.inet_aton(target))


def answer(end, accept, seconds=5):
    """The first frame that `accept` likes."""
    return until(lambda: (lambda f: f if accept(f) else None)(end.recv(seconds)),
                 seconds)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(proto, payload, dst, src="10.0.2.15"):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64,
                       proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + payload


def ether(packet, dst):
    return dst + GUEST + b"\x08\x00" + packet


def udp(sport, dport, data, dst, **how):
    return ipv4(17, struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data,
                dst, **how)


def dhcp(kind, *options):
    body = struct.pack("!BBBBIHH16s16s192s", 1, 1, 6, 0, 0x1234, 0, 0x8000,
                       b"", GUEST, b"") + b"\x63\x82\x53\x63"
    body += bytes([53, 1, kind]) + b"".join(options) + b"\xff"
    return ether(udp(68, 67, body, "255.255.255.255", src="0.0.0.0"), b"\xff" * 6)


def router(end):
    end.send(arp(ROUTER_IP))
    return answer(end, lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2")[6:12]


def test_arp_and_padding(wire):
    end = wire()
    end.send(arp(ROUTER_IP))
    reply = answer(end, lambda f: f[12:14] == b"\x08\x06")
    assert len(reply) >= 60
    assert reply[6:12] == b"\x52\x55" + socket.inet_aton(ROUTER_IP)


def test_dhcp_options(wire):
    end = wire(hostname="harbour", domainname="sea.example",
               bootfile="boot.img", tftp_server_name="tftp.example",
               dnssearch=[{"str": "sea.example"}])
    end.send(dhcp(1))
    offer = answer(end, lambda f: f[23:24] == b"\x11" and f[34:36] == b"\0\x43")
    assert socket.inet_ntoa(offer[58:62]) == "10.0.2.15"
    for word in (b"harbour", b"sea.example", b"boot.img", b"tftp.example",
                 b"\x03sea\x07example\x00"):
        assert word in offer


def test_other_network(wire):
    end = wire(net="192.168.76.0/24", dhcpstart="192.168.76.9")
    end.send(dhcp(1))
    offer = answer(end, lambda f: f[34:36] == b"\0\x43")
    assert socket.inet_ntoa(offer[58:62]) == "192.168.76.9"


def test_hostfwd_udp_and_tcp_bind(wire, qmp):
    tcp, dgram = free_port(), free_port(socket.SOCK_DGRAM)
    end = wire(hostfwd=[{"str": f"tcp:127.0.0.1:{tcp}-:80"},
                        {"str": f"udp:127.0.0.1:{dgram}-:53"}])
    mac = router(end)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"hello", ("127.0.0.1", dgram))
        answer(end, lambda f: b"hello" in f or f[12:14] == b"\x08\x06")
    with socket.create_connection(("127.0.0.1", tcp), 5):
        # slirp asks for the guest's address, or sends the SYN at once
        answer(end, lambda f: f[12:14] == b"\x08\x06" or f[23:24] == b"\x06")
    assert mac
    qmp.cmd("netdev_del", id="u")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", tcp), 1).close()


def tcp_syn(end, mac, address, port):
    """Send a SYN; returns the flags of the answer."""
    segment = struct.pack("!HHIIBBHHH", 4000, port, 1, 0, 5 << 4, 2, 8192, 0, 0)
    pseudo = socket.inet_aton("10.0.2.15") + socket.inet_aton(address) + \
        struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + \
        segment[18:]
    end.send(ether(ipv4(6, segment, address), mac))

    def reply(f):
        if f[12:14] == b"\x08\x06":
            end.send(arp(ROUTER_IP))
            return False
        return f[12:14] == b"\x08\x00" and f[23] == 6
    return answer(end, reply)[47]


SYN_ACK, RST = 0x12, 0x04


def test_host_loopback_is_closed_unless_asked(wire):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        end = wire()
        mac = router(end)
        try:
            flags = tcp_syn(end, mac, ROUTER_IP, server.getsockname()[1])
            assert flags & RST
        except socket.timeout:
            pass
        with pytest.raises(socket.timeout):
            server.accept()


def test_host_loopback_when_asked(wire):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        end = wire(host_loopback=True)
        flags = tcp_syn(end, router(end), ROUTER_IP, server.getsockname()[1])
        assert flags & SYN_ACK == SYN_ACK
        server.accept()[0].close()


def test_guestfwd_to_an_address(wire):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        end = wire(restrict=True, guestfwd=[
            {"str": f"tcp:10.0.2.100:8080-tcp:127.0.0.1:{server.getsockname()[1]}"}])
        end.send(arp("10.0.2.100"))
        mac = answer(end, lambda f: f[12:14] == b"\x08\x06")[6:12]
        assert tcp_syn(end, mac, "10.0.2.100", 8080) & SYN_ACK == SYN_ACK


def test_guestfwd_to_a_command_is_refused(qmp):
    desc = qmp.refused("netdev_add", type="user", id="u",
                       guestfwd=[{"str": "tcp:10.0.2.100:80-cmd:/bin/cat"}]).desc
    assert "guestfwd" in desc or "guest forwarding" in desc
    desc = qmp.refused("netdev_add", type="user", id="u", smb="/tmp").desc
    assert "smb" in desc


def test_garbage_from_the_guest(wire, qmp):
    """What a guest may send: nonsense of every length. `user` may drop it, or
    die of it and be replaced; DHCP works afterwards."""
    end = wire()
    seed = 12345
    for i in range(2000):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        size = 14 + seed % 1500
        body = bytes((seed >> (j % 23)) & 0xFF for j in range(size - 14))
        kind = (0x0800, 0x0806, 0x86DD, seed & 0xFFFF)[i % 4]
        end.send(b"\xff" * 6 + GUEST + struct.pack("!H", kind) + body)

    def leased():
        end.send(dhcp(1))
        try:
            return answer(end, lambda f: f[34:36] == b"\0\x43", 1)
        except (socket.timeout, AssertionError):
            return None
    assert until(leased, 20, "a lease after the garbage")
    assert "u" in {n["id"] for n in qmp.cmd("query-netdevs")}


def test_what_is_not_for_us_is_counted(wire, qmp):
    """Frames to other stations, and to the host's loopback addresses."""
    end = wire()
    mac = router(end)
    before = qmp.counters("u")
    end.send(ether(udp(1, 2, b"x", "10.0.2.16"), bytes.fromhex("52540000aa02")))
    end.send(ether(udp(1, 2, b"x", "127.0.0.1"), mac))

    def counted():
        now = qmp.counters("u")
        return all(now[c] == before[c] + 1
                   for c in ("out-drop-address", "out-drop-policy"))
    until(counted, 5, "both drops")
