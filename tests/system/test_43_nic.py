"""Netdev type nic against a hand-made front-end: honest, gone, and hostile."""

import os
import signal
import struct

import pytest

from kit import vhost
from kit.deadline import until
from kit.vhost import FrontEnd, GPA, UVA, INDIRECT, NEXT, WRITE, bits
from kit.wire import Stream, frame, number


class Bench:
    """Hub 0 with a nic and a socket; the socket's far end is `wire`."""

    def __init__(self, qmp, closing, **options):
        self.qmp, self.closing = qmp, closing
        qmp.cmd("netdev_add", type="nic", id="n0", **options)
        qmp.cmd("netdev_add", type="socket", id="s0", listen=qmp.daemon.path("s0"))
        for name in ("n0", "s0"):
            qmp.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=0,
                    netdev=name)
        self.wire = closing(Stream.connect(qmp.daemon.path("s0")))
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s0")
        self.path = qmp.daemon.path("n0.sock")

    def front(self):
        """A new front-end, not started."""
        return self.closing(FrontEnd(self.path))

    def started(self, *args, **how):
        f = self.front().start(*args, **how)
        until(lambda: self.qmp.netdev("n0")["operational"], 5, "n0 connected")
        return f

    def exchange(self, f, count=20):
        """Numbered frames cross in both directions."""
        f.transmit(*(frame(i, 60 + i) for i in range(count)))
        assert [self.wire.recv() for _ in range(count)] == \
            [frame(i, 60 + i) for i in range(count)]
        self.wire.send(*(frame(i, 60 + i) for i in range(count)))
        got = f.receive(count)
        assert [data for _, data in got] == [frame(i, 60 + i) for i in range(count)]
        assert all(h[:10] == bytes(10) and h[10] == 1 for h, _ in got)


@pytest.fixture
def bench(qmp, closing):
    return Bench(qmp, closing)


def nic_pid(qmp, name="n0"):
    """Process id of a netdev's backend, or of a lane."""
    return next(b["pid"] for b in qmp.cmd("query-backends") if b["id"] == name)


def test_frames_cross_both_ways(bench):
    f = bench.started()
    bench.exchange(f, 200)
    c = bench.qmp.counters("n0")
    assert c["in-frames"] == c["out-frames"] == 200


def test_a_frontend_that_comes_again(bench):
    """One that left in order, and one that just went: the next is welcome."""
    for _ in range(3):
        f = bench.started()
        bench.exchange(f)
        f.sock.close()
        until(lambda: not bench.qmp.netdev("n0")["operational"], 5, "n0 left")
    bench.exchange(bench.started())


def test_the_second_waits_for_the_first(bench):
    first = bench.started()
    second = bench.front()
    second.sock.settimeout(0.3)
    second.send(vhost.GET_FEATURES)
    with pytest.raises(TimeoutError):
        second.recv()
    bench.exchange(first)
    first.sock.close()
    second.sock.settimeout(5)
    assert second.recv()[0] == vhost.GET_FEATURES


def test_kill_9_and_connect_again(bench):
    bench.exchange(bench.started())
    os.kill(nic_pid(bench.qmp), signal.SIGKILL)
    bench.qmp.event("BACKEND_EXITED", id="n0")
    bench.qmp.event("BACKEND_RESTARTED", id="n0")
    bench.exchange(bench.started())


def test_large_frames_in_mergeable_buffers(bench):
    """Nine thousand bytes over buffers of two thousand."""
    f = bench.started()
    bench.wire.send(*(frame(i, 9000) for i in range(40)))
    assert [d for _, d in f.receive(40)] == [frame(i, 9000) for i in range(40)]


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp_frame(payload):
    """Ethernet, IPv4 and TCP with the partial checksum that a guest leaves."""
    src, dst = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    size = 20 + len(payload)
    pseudo = src + dst + struct.pack("!BBH", 0, 6, size & 0xFFFF)
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 5000, 1, 5 << 4, 0x18, 4096,
                      checksum(pseudo), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, (20 + size) & 0xFFFF, 7, 0, 64, 6,
                     0, src, dst)
    ip = ip[:10] + struct.pack("!H", checksum(ip) ^ 0xFFFF) + ip[12:]
    return b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x08\0" + ip + tcp


def tcp_is_right(data):
    ip, tcp = data[14:34], data[34:]
    assert checksum(ip) == 0xFFFF, "IP checksum"
    assert struct.unpack("!H", ip[2:4])[0] == len(data) - 14
    pseudo = ip[12:20] + struct.pack("!BBH", 0, 6, len(tcp))
    assert checksum(pseudo + tcp) == 0xFFFF, "TCP checksum"
    return struct.unpack("!I", tcp[4:8])[0], tcp[20:]


OFFLOADS = vhost.USUAL | bits(vhost.F_CSUM, vhost.F_GUEST_CSUM, vhost.F_HOST_TSO4,
                              vhost.F_GUEST_TSO4)


def test_a_checksum_is_completed_for_the_wire(bench):
    f = bench.started(OFFLOADS)
    f.transmit(tcp_frame(b"x" * 501), header=struct.pack("<BBHHHHH", 1, 0, 54, 0,
                                                          34, 16, 0))
    assert tcp_is_right(bench.wire.recv()) == (5000, b"x" * 501)


def test_large_segments_are_cut_for_the_wire(bench):
    FrontEnd.BUFFER, before = 65536 // 16, FrontEnd.BUFFER
    try:
        f = bench.started(OFFLOADS)
        body = os.urandom(3500)
        f.transmit(tcp_frame(body), header=struct.pack(
            "<BBHHHHH", 1, 1, 54, 1000, 34, 16, 0))
    finally:
        FrontEnd.BUFFER = before
    parts = [tcp_is_right(bench.wire.recv()) for _ in range(4)]
    assert [seq for seq, _ in parts] == [5000, 6000, 7000, 8000]
    assert b"".join(p for _, p in parts) == body


def test_large_segments_reach_a_guest_whole(qmp, closing):
    """Between two nics that took TSO the frame is not touched."""
    bench = Bench(qmp, closing)
    qmp.cmd("netdev_add", type="nic", id="n1")
    qmp.cmd("netdev_add", type="hubport", id="p-n1", hubid=0, netdev="n1")
    one = bench.started(OFFLOADS)
    two = closing(FrontEnd(qmp.daemon.path("n1.sock"))).start(OFFLOADS)
    data = tcp_frame(os.urandom(1800))
    one.transmit(data, header=struct.pack("<BBHHHHH", 1, 1, 54, 600, 34, 16, 0))
    head, got = two.receive(1)[0]
    assert got == data
    assert struct.unpack("<BBHHHH", head[:10]) == (1, 1, 54, 600, 34, 16)


def test_set_link_stops_frames(bench):
    f = bench.started()
    bench.exchange(f)
    bench.qmp.cmd("set_link", name="n0", up=False)
    f.transmit(*(frame(i) for i in range(10)))  # taken all the same
    assert bench.wire.silent()
    bench.qmp.cmd("set_link", name="n0", up=True)
    bench.exchange(f)


@pytest.mark.parametrize("queues,counted", [(1, 3), (4, 9)])
def test_number_of_queues(qmp, closing, queues, counted):
    """Of single ones: cloud-hypervisor compares it with its num_queues=."""
    f = Bench(qmp, closing, queues=queues).front()
    f.negotiate()
    assert f.ask_u64(vhost.GET_QUEUE_NUM) == counted
    args, = (n["arguments"] for n in qmp.cmd("query-nics"))
    assert f"num_queues={2 * queues}" in args["cloud-hypervisor"][3]


def test_config_space(qmp, closing):
    f = Bench(qmp, closing, macaddr="52:54:00:aa:bb:cc", mtu=1400).front()
    f.negotiate(protocol=bits(vhost.PF_CONFIG, vhost.PF_REPLY_ACK))
    data = f.ask(vhost.GET_CONFIG, struct.pack("<III", 0, 12, 0) + bytes(12))
    assert data[12:18] == bytes.fromhex("525400aabbcc")
    assert struct.unpack("<H", data[18:20])[0] == 1  # link up
    assert struct.unpack("<H", data[22:24])[0] == 1400


# --- hostility: each costs at most its sender's process -----------------------

def tx_of(f, *descriptors):
    """Make one chain of (addr, len, flags, next) from descriptor 0 on."""
    tx = f.rings[1]
    for i, d in enumerate(descriptors):
        tx.put_desc(i, *d)
    tx.offer(0)
    tx.ring()


def truncate_memory(f):
    """The rings stay, the buffers are gone."""
    os.ftruncate(f.fd, 0x100000)


def region(*r, fds=1, count=None):
    def attack(f):
        payload = bytearray(f.table([r] * (count or 1)))
        f.send(vhost.SET_MEM_TABLE, bytes(payload), [f.fd] * fds)
    return attack


def indirect(length, flags=INDIRECT, inner=None):
    def attack(f):
        where = 0x300000
        for i, d in enumerate(inner or [(GPA + 0x310000, 60, 0, 0)]):
            struct.pack_into("<QIHH", f.memory, where + 16 * i, *d)
        tx_of(f, (GPA + where, length, flags, 1), (GPA, 60, 0, 0))
    return attack


def chains(*descriptors):
    return lambda f: tx_of(f, *descriptors)


def say(request, payload=b"", fds=(), flags=1):
    return lambda f: f.send(request, payload, fds, flags)


def jump(distance):
    def attack(f):
        f.rings[1].offer(0, idx=f.rings[1].next + distance)
        f.rings[1].ring()
    return attack


def wrong_descriptors(f):
    """Files where eventfds and memory belong."""
    with open("/dev/zero", "rb") as zero, open("/dev/null", "wb") as null:
        for r in (vhost.SET_VRING_KICK, vhost.SET_VRING_CALL):
            f.send(r, struct.pack("<Q", 1), [zero.fileno()])
            f.send(r, struct.pack("<Q", 1), [null.fileno()])
        f.send(vhost.SET_MEM_TABLE, f.table(), [zero.fileno()])


def a_message_for_ever(f):
    f.send_raw(struct.pack("<III", vhost.SET_MEM_TABLE, 1, 40)[:7])


def a_header_only(f):
    f.send_raw(struct.pack("<III", vhost.SET_FEATURES, 1, 8))


def rx_read_only(f):
    f.rings[0].put_desc(0, GPA + 0x200000, 2048, 0)


TOO_FAR = GPA + FrontEnd.BYTES - 10
ATTACKS = {
    "size 0x7fffffff": lambda f: f.send_raw(struct.pack("<III", 5, 1, 0x7FFFFFFF)),
    "partial header": a_message_for_ever,
    "header without payload": a_header_only,
    "version 2": say(vhost.GET_FEATURES, flags=2),
    "unknown request": say(77),
    "request 0": say(0),
    "request without its payload": say(vhost.SET_FEATURES),
    "descriptors where none belong": lambda f: f.send(
        vhost.SET_OWNER, fds=[f.fd] * 5),
    "more descriptors than fit": lambda f: f.send(
        vhost.SET_MEM_TABLE, f.table(), [f.fd] * 60),
    "features that were not offered": say(vhost.SET_FEATURES, b"\xff" * 8),
    "no region": lambda f: f.send(vhost.SET_MEM_TABLE, bytes(8)),
    "a count of four thousand million": lambda f: f.send(
        vhost.SET_MEM_TABLE, b"\xff" * 8 + bytes(32), [f.fd]),
    "region beyond its file": region(GPA, 1 << 40, UVA, 0),
    "region that wraps": region((1 << 64) - 4096, 8192, UVA, 0),
    "region whose offset wraps": region(GPA, 8192, UVA, (1 << 64) - 4096),
    "region of nothing": region(GPA, 0, UVA, 0),
    "region without descriptor": region(GPA, 4096, UVA, 0, fds=0),
    "the same region twice": region(GPA, 4096, UVA, 0, fds=2, count=2),
    "memory cut off": lambda f: (truncate_memory(f), tx_of(
        f, (GPA + 0x200000, 60, 0, 0))),
    "wrong descriptors": wrong_descriptors,
    "ring index 255": say(vhost.SET_VRING_NUM, struct.pack("<II", 255, 256)),
    "ring index 2^32-1": say(vhost.GET_VRING_BASE, struct.pack("<II", (1 << 32) - 1, 0)),
    "kick for ring 200": lambda f: f.send(
        vhost.SET_VRING_KICK, struct.pack("<Q", 200), [f.rings[0].kick]),
    "ring size 0": say(vhost.SET_VRING_NUM, struct.pack("<II", 1, 0)),
    "ring size 3": say(vhost.SET_VRING_NUM, struct.pack("<II", 1, 3)),
    "ring size 65536": say(vhost.SET_VRING_NUM, struct.pack("<II", 1, 65536)),
    "ring outside of memory": say(vhost.SET_VRING_ADDR, struct.pack(
        "<IIQQQQ", 1, 0, 1, 2, 3, 0)),
    "ring at the end of memory": say(vhost.SET_VRING_ADDR, struct.pack(
        "<IIQQQQ", 1, 0, UVA + FrontEnd.BYTES - 16, UVA, UVA, 0)),
    "ring not aligned": say(vhost.SET_VRING_ADDR, struct.pack(
        "<IIQQQQ", 1, 0, UVA + 1, UVA + 3, UVA + 5, 0)),
    "avail index jumps": jump(1000),
    "avail index goes back": jump(-5),
    "head out of range": lambda f: (f.rings[1].offer(40000), f.rings[1].ring()),
    "a chain that bites its tail": chains((GPA, 60, NEXT, 1), (GPA, 60, NEXT, 0)),
    "a chain out of the table": chains((GPA, 60, NEXT, 60000)),
    "a buffer outside of memory": chains((1 << 50, 60, 0, 0)),
    "a buffer that ends outside": chains((TOO_FAR, 60, 0, 0)),
    "a buffer that wraps": chains(((1 << 64) - 8, 60, 0, 0)),
    "a buffer of 4 GiB": chains((GPA, (1 << 32) - 1, 0, 0)),
    "a buffer of nothing": chains((GPA, 0, 0, 0)),
    "a chain to write where one reads": chains((GPA, 60, WRITE, 0)),
    "write before read": chains((GPA, 60, WRITE | NEXT, 1), (GPA, 60, 0, 0)),
    "half a header": chains((GPA + 0x200000, 5, 0, 0)),
    "a header and no frame": chains((GPA + 0x200000, 12, 0, 0)),
    "a frame of 13 bytes": chains((GPA + 0x200000, 25, 0, 0)),
    "a frame of a megabyte": chains((GPA + 0x200000, 1 << 20, 0, 0)),
    "indirect of nothing": indirect(0),
    "indirect not a multiple": indirect(17),
    "indirect too long": indirect(16 * 40000),
    "indirect and next": indirect(16, INDIRECT | NEXT),
    "indirect in indirect": indirect(16, inner=[(GPA + 0x300000, 16, INDIRECT, 0)]),
    "indirect that loops": indirect(32, inner=[(GPA, 60, NEXT, 1), (GPA, 60, NEXT, 0)]),
    "offloads nobody agreed to": lambda f: f.transmit(
        frame(1), header=b"\xff" * 12),
    "segments of nothing": lambda f: f.transmit(
        frame(1, 200), header=struct.pack("<BBHHHHH", 1, 1, 54, 0, 34, 16, 0)),
    "a checksum outside": lambda f: f.transmit(
        frame(1, 200), header=struct.pack("<BBHHHHH", 1, 0, 54, 0, 60000, 60000, 0)),
    "config out of range": say(vhost.SET_CONFIG, struct.pack(
        "<III", 0xFFFFFFF0, 250, 0) + bytes(250)),
    "config longer than said": say(vhost.GET_CONFIG, struct.pack(
        "<III", 0, 200, 0) + bytes(4)),
    "read-only receive buffers": rx_read_only,
    "a log nobody keeps": lambda f: f.send(
        vhost.SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [f.fd]),
    "a region to remove that is not": say(
        vhost.REM_MEM_REG, struct.pack("<QQQQQ", 0, 1, 2, 3, 4)),
    "in-band kicks": say(35, struct.pack("<II", 1, 0)),
}


@pytest.fixture
def neighbours(qmp, closing):
    """The attacked nic is n0; n1 and a socket are on the same hub."""
    bench = Bench(qmp, closing)
    qmp.cmd("netdev_add", type="nic", id="n1")
    qmp.cmd("netdev_add", type="hubport", id="p-n1", hubid=0, netdev="n1")
    bench.neighbour = closing(FrontEnd(qmp.daemon.path("n1.sock"))).start()
    return bench


def neighbour_works(bench, round_):
    first = 1000 * (round_ + 1)
    bench.neighbour.transmit(*(frame(first + i) for i in range(10)))
    assert bench.wire.numbers(10) == list(range(first, first + 10))
    bench.wire.send(*(frame(first + i) for i in range(10)))
    got = [number(d) for _, d in bench.neighbour.receive(10)]
    assert got == list(range(first, first + 10))


@pytest.mark.parametrize("for_", ["reading", "writing"])
def test_memory_that_is_cut_off_ends_its_process_only(neighbours, for_):
    """By the kernel, with SIGBUS; the neighbours lose nothing, and the next
    process serves the next front-end."""
    bench = neighbours
    n1 = nic_pid(bench.qmp, "n1")
    f = bench.started()
    truncate_memory(f)
    if for_ == "reading":
        tx_of(f, (GPA + 0x200000, 60, 0, 0))
    else:
        bench.wire.send(frame(1))
        assert number(bench.neighbour.receive(1)[0][1]) == 1
    exited = bench.qmp.event("BACKEND_EXITED", id="n0")
    assert exited["cause"] == f"signal:{int(signal.SIGBUS)}"
    neighbour_works(bench, 0)
    bench.qmp.event("BACKEND_RESTARTED", id="n0")
    closing_front(bench).transmit(frame(7))
    assert number(bench.wire.recv()) == 7
    assert nic_pid(bench.qmp, "n1") == n1


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_hostile_front_end(neighbours, name):
    """The attack; the neighbours' frames before and after; the next front-end
    of the attacked nic finds it working."""
    bench = neighbours
    n1 = nic_pid(bench.qmp, "n1")
    lane = nic_pid(bench.qmp, bench.qmp.cmd("query-hubs")[0]["lane"])
    neighbour_works(bench, 0)
    bench.neighbour.receive(0)
    f = bench.started(OFFLOADS)
    try:
        ATTACKS[name](f)
        f.rings[1].ring()
        f.alive()
    except (vhost.Closed, TimeoutError, AssertionError, OSError):
        pass
    neighbour_works(bench, 1)
    f.sock.close()
    until(lambda: not bench.qmp.netdev("n0")["operational"], 10, "n0 let go")

    def comes_again():
        try:
            return closing_front(bench)
        except (vhost.Closed, OSError):
            return None
    g = until(comes_again, 10, "the next front-end")
    g.transmit(frame(7))
    while number(bench.wire.recv()) != 7:
        pass
    assert nic_pid(bench.qmp, "n1") == n1
    assert lane == nic_pid(bench.qmp, bench.qmp.cmd("query-hubs")[0]["lane"])


def closing_front(bench):
    f = FrontEnd(bench.path)
    try:
        return bench.closing(f.start())
    except BaseException:
        f.sock.close()
        raise
