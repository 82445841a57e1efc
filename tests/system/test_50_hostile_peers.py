"""Network peers that lie, stall and flood: each gets an error or loses its
connection; the others lose nothing."""

import os
import socket
import struct
import threading

import pytest

from kit.deadline import until
from kit.wire import Stream, frame, free_port


class Room:
    """Two honest ends and one netdev for the villain, on one hub."""

    def __init__(self, session):
        self.qmp = session
        self.a, self.b = self.plug("a"), self.plug("b")
        self.path = session.daemon.path("x.sock")
        session.cmd("netdev_add", type="socket", id="x", listen=self.path)
        session.cmd("netdev_add", type="hubport", id="p-x", hubid=0, netdev="x")
        self.serial = 0

    def plug(self, name):
        path = self.qmp.daemon.path(name + ".sock")
        self.qmp.cmd("netdev_add", type="socket", id=name, listen=path)
        self.qmp.cmd("netdev_add", type="hubport", id="p-" + name, hubid=0,
                     netdev=name)
        end = Stream.connect(path)
        self.qmp.event("NETDEV_STREAM_CONNECTED", netdev_id=name)
        return end

    def villain(self):
        end = Stream.connect(self.path)
        self.qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="x")
        return end

    def well(self, count=200):
        """a and b hear each other without loss."""
        first = self.serial = self.serial + 1000
        self.a.send(*(frame(first + i) for i in range(count)))
        self.b.send(*(frame(first + i) for i in range(count)))
        for end in (self.b, self.a):
            got = []
            while len(got) < count:
                got += [n for n in end.numbers(1) if n >= first]
            assert got == list(range(first, first + count))


@pytest.fixture
def room(qmp):
    r = Room(qmp)
    yield r
    r.a.close()
    r.b.close()


def test_a_peer_that_comes_and_goes(room):
    """Each coming and going is an event for every client: a flood of them is
    slowed down, and nobody is cut off or killed for it."""
    over, count = threading.Event(), [0]

    def flood():
        while not over.is_set():
            try:
                Stream.connect(room.path, 1).close()
                count[0] += 1
            except OSError:
                pass  # the backlog is full

    pid = room.qmp.netdev("x").get("pid")
    villain = threading.Thread(target=flood)
    villain.start()
    try:
        until(lambda: count[0] > 100, 20, "a hundred connections")
        for _ in range(3):
            room.well()
    finally:
        over.set()
        villain.join()
    told = [e for e in room.qmp.events
            if e["event"] == "NETDEV_STREAM_CONNECTED"
            and e["data"]["netdev-id"] == "x"]
    assert len(told) < count[0] / 2 + 20, (len(told), count)
    assert room.qmp.netdev("x").get("pid") == pid

    def honest():
        try:
            return Stream.connect(room.path, 1)
        except OSError:
            return None  # the backlog is full of the villain's

    end = until(honest, 20, "an honest peer's turn")
    room.well()
    end.close()


def test_zero_length(room):
    """QEMU's receivers never recover from four zero bytes."""
    end = room.villain()
    end.sock.sendall(b"\0\0\0\0" * 1000)
    end.send(frame(5))
    room.well()


@pytest.mark.parametrize("length", [69633, 1 << 20, 1 << 31, 0xFFFFFFFF])
def test_impossible_length_ends_the_connection_at_once(room, length):
    end = room.villain()
    end.sock.sendall(struct.pack("!I", length))
    assert end.closed()
    room.qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="x")
    room.well()
    room.villain().close()


@pytest.mark.parametrize("length", [1, 5, 13])
def test_runts_go_nowhere(room, length):
    end = room.villain()
    end.sock.sendall(struct.pack("!I", length) + b"r" * length)
    room.well()


def test_one_byte_at_a_time(room):
    end = room.villain()
    data = frame(42, 100)
    for byte in struct.pack("!I", len(data)) + data:
        end.sock.sendall(bytes([byte]))
    assert 42 in room.a.numbers(1)
    room.well()


def test_half_a_frame_and_gone(room):
    for cut in (1, 3, 4, 5, 50):
        end = room.villain()
        end.sock.sendall((struct.pack("!I", 100) + b"h" * 100)[:cut])
        end.close()
        room.qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="x")
    room.well()


def test_half_open_peer_holds_nobody(room):
    """Connected, half a header sent, then silence."""
    end = room.villain()
    end.sock.sendall(b"\0\0")
    room.well(2000)


def test_flood(room):
    """As fast as it can for a while: frames of honest ones are lost to it at
    most, and all is well when it ends."""
    end = room.villain()
    stop = threading.Event()

    def flood():
        burst = b"".join(struct.pack("!I", 60) + frame(7, 60) for _ in range(500))
        try:
            while not stop.is_set():
                end.sock.sendall(burst)
        except OSError:
            pass
    thread = threading.Thread(target=flood)
    thread.start()
    heard = {"a": 0, "b": 0}

    def listen(name, source):
        while heard[name] < 50000:
            heard[name] += len(source.numbers(64, 20))
    others = [threading.Thread(target=listen, args=("a", room.a)),
              threading.Thread(target=listen, args=("b", room.b))]
    for t in others:
        t.start()
    for t in others:
        t.join()
    assert room.qmp.cmd("query-version")
    stop.set()
    end.sock.shutdown(socket.SHUT_RDWR)
    thread.join()
    room.qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="x")
    for source in (room.a, room.b):
        until(lambda s=source: drained(s), 30, "an end of the flood")
    room.well()


def drained(end):
    """Read what is there; True when nothing came for a while."""
    try:
        end.numbers(10000, 0.3)
        return False
    except socket.timeout:
        return True


def test_connections_in_excess(room):
    """One peer at a time; the others wait and are not lost to descriptors."""
    ends = []
    for _ in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(0.2)
        try:
            s.connect(room.path)
        except OSError:
            s.close()
            break
        ends.append(s)
    room.well()
    for s in ends:
        s.close()
    room.well()


def test_reset_storm(room):
    for _ in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        try:
            s.connect(room.path)
        except BlockingIOError:
            pass  # the backlog is full: that is what it is for
        s.close()
    room.well()

    def free():
        try:
            Stream.connect(room.path, 1).close()
            return True
        except OSError:
            return False
    until(free, 10, "the listener")


def test_empty_datagrams(room):
    """QEMU stops to receive for ever after one."""
    port = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        room.qmp.cmd("netdev_add", type="socket", id="d",
                     udp="127.0.0.1:%d" % far.getsockname()[1],
                     localaddr=f"127.0.0.1:{port}")
        room.qmp.cmd("netdev_add", type="hubport", id="p-d", hubid=0, netdev="d")
        for _ in range(100):
            far.sendto(b"", ("127.0.0.1", port))
        far.sendto(b"z" * 65507, ("127.0.0.1", port))
        far.sendto(frame(4242), ("127.0.0.1", port))
        got = room.a.numbers(1)
        while got != [4242]:
            got = room.a.numbers(1)


def test_dead_udp_peer(room):
    """Port unreachable comes back as an error on the socket: not the end."""
    port, nobody = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    room.qmp.cmd("netdev_add", type="socket", id="d",
                 udp=f"127.0.0.1:{nobody}", localaddr=f"127.0.0.1:{port}")
    room.qmp.cmd("netdev_add", type="hubport", id="p-d", hubid=0, netdev="d")
    room.well()

    def all_tried():
        c = room.qmp.counters("d")
        return c["out-frames"] + c["out-drop-error"] == c["rx-frames"] > 0
    # else they could fill the socket that is about to be there
    until(all_tried, 10, "the frames for nobody")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", nobody))
        far.settimeout(5)
        room.a.send(frame(31337))
        while far.recv(65536)[14:22] != struct.pack("!Q", 31337):
            pass


def test_no_processor_time_when_idle_after_all_that(room):
    end = room.villain()
    end.sock.sendall(b"\0\0\0\0\0")
    room.well()

    def ticks():
        total = 0
        for pid in room.qmp.daemon.processes():
            fields = open(f"/proc/{pid}/stat", encoding="ascii").read()
            fields = fields.rsplit(") ", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total
    before = ticks()
    assert room.a.silent(1)
    assert ticks() - before <= 1
    assert os.path.exists(room.path)
