"""A nic whose front-end and guest are hostile in ways that take a while: strange
descriptors, a socket that is not read, memory that changes while it is read. The
process lives through all of it, within its list of system calls."""

import ctypes
import fcntl
import mmap
import multiprocessing
import os
import random
import socket
import struct
import time

import pytest

from kit import vhost
from kit.vhost import FrontEnd, GPA, INDIRECT, NEXT, UVA, bits
from kit.wire import Stream, frame, number

MIB = 1 << 20
SLOTS = 15  # CONFIGURE_MEM_SLOTS
AT, TABLE = 0x300000, 0x310000  # of a frame, of an indirect table


class Lab:
    """The attacked nic n0, a neighbour n1 and a socket, on one hub."""

    def __init__(self, qmp, closing):
        self.qmp, self.closing = qmp, closing
        for name in ("n0", "n1"):
            qmp.cmd("netdev_add", type="nic", id=name)
        qmp.cmd("netdev_add", type="socket", id="s0", listen=qmp.daemon.path("s0"))
        for name in ("n0", "n1", "s0"):
            qmp.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=0,
                    netdev=name)
        self.wire = closing(Stream.connect(qmp.daemon.path("s0")))
        self.neighbour = closing(FrontEnd(qmp.daemon.path("n1.sock"))).start()
        self.pid = self.process()

    def process(self):
        return next(b["pid"] for b in self.qmp.cmd("query-backends")
                    if b["id"] == "n0")

    def front(self):
        return self.closing(FrontEnd(self.qmp.daemon.path("n0.sock")))

    def unharmed(self):
        """The neighbour's frames arrive; n0 has the process that it had."""
        self.neighbour.transmit(*(frame(1000000 + i) for i in range(20)))
        found = []
        while len(found) < 20:
            data = self.wire.recv()
            if data[6:14] == frame(0)[6:14] and number(data) >= 1000000:
                found.append(number(data))
        assert found == list(range(1000000, 1000020))
        assert self.process() == self.pid


@pytest.fixture
def lab(qmp, closing):
    return Lab(qmp, closing)


# --- strange descriptors ------------------------------------------------------

def memfd(size=8 * MIB, seal=0, mode=None):
    fd = os.memfd_create("m", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seal)
    return fd if mode is None else os.open(f"/proc/self/fd/{fd}", mode)


def raw(call, *args):
    """A descriptor by a call of libc that Python has no name for."""
    return getattr(ctypes.CDLL(None), call)(*args)


def full_eventfd():
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    os.eventfd_write(fd, (1 << 64) - 2)
    return fd


def listener(family, address):
    s = socket.socket(family)
    s.bind(address)
    s.listen()
    return s.detach()


STRANGE = {
    "memfd, sealed against writing": lambda: memfd(seal=fcntl.F_SEAL_WRITE),
    "memfd, for reading": lambda: memfd(mode=os.O_RDONLY),
    "memfd, for writing": lambda: memfd(mode=os.O_WRONLY),
    "memfd, as a path": lambda: memfd(mode=os.O_PATH),
    "memfd, empty": lambda: memfd(0),
    "directory": lambda: os.open("/tmp", os.O_RDONLY),
    "/dev/zero": lambda: os.open("/dev/zero", os.O_RDWR),
    "/dev/full": lambda: os.open("/dev/full", os.O_RDWR),
    "/proc/self/mem": lambda: os.open("/proc/self/mem", os.O_RDWR),
    "terminal": lambda: os.openpty()[0],
    "pipe, to read": lambda: os.pipe()[0],
    "pipe, to write": lambda: os.pipe()[1],
    "epoll": lambda: raw("epoll_create1", 0),
    "timer": lambda: raw("timerfd_create", 1, 0),
    "inotify": lambda: raw("inotify_init1", 0),
    "signals": lambda: raw("signalfd", -1, (ctypes.c_uint64 * 16)(), 0),
    "process": lambda: os.pidfd_open(os.getpid()),
    "eventfd, full": full_eventfd,
    "socket, TCP": lambda: listener(socket.AF_INET, ("127.0.0.1", 0)),
    "socket, netlink": lambda: socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW).detach(),
    "socket, listening": lambda: listener(socket.AF_UNIX, ""),
    "socket, datagrams": lambda: socket.socketpair(
        socket.AF_UNIX, socket.SOCK_DGRAM)[0].detach(),
    "eventfd": lambda: os.eventfd(0, 0),
    "eventfd, semaphore": lambda: os.eventfd(5, os.EFD_SEMAPHORE),
    "file, empty": lambda: os.open("/tmp", os.O_TMPFILE | os.O_RDWR),
}
# Who may be what, beside a memfd: for calls unix sockets are.
EVENTS = {"eventfd", "eventfd, semaphore"}
CALLS = EVENTS | {"socket, listening", "socket, datagrams"}
PLACES = {
    vhost.SET_MEM_TABLE: set(), vhost.ADD_MEM_REG: set(),
    vhost.SET_VRING_KICK: EVENTS, vhost.SET_VRING_CALL: CALLS,
    vhost.SET_VRING_ERR: CALLS, vhost.SET_BACKEND_REQ_FD: {"socket, listening"},
}


@pytest.mark.parametrize("request_", PLACES)
def test_strange_descriptors_are_refused_or_do_no_harm(lab, request_):
    for name, make in STRANGE.items():
        f = lab.front().start(protocol=bits(
            vhost.PF_REPLY_ACK, vhost.PF_BACKEND_REQ, vhost.PF_CONFIG, SLOTS))
        payload = {
            vhost.SET_MEM_TABLE: f.table(),
            vhost.ADD_MEM_REG: struct.pack("<QQQQQ", 0, 1 << 40, MIB,
                                           UVA + (1 << 40), 0),
            vhost.SET_BACKEND_REQ_FD: b"",
        }.get(request_, struct.pack("<Q", 1))
        fd = make()
        taken = f.acked(request_, payload, [fd]) == 0
        assert taken == (name in PLACES[request_]), name
        # It is used, if it was taken; what was there is, if not.
        lab.qmp.cmd("set_link", name="n0", up=False)
        lab.qmp.cmd("set_link", name="n0", up=True)
        tx = f.rings[1]
        f.memory[tx.buffers:tx.buffers + 72] = bytes(12) + frame(7)
        tx.put_desc(0, GPA + tx.buffers, 72, 0)
        tx.offer(0)
        tx.ring()
        if request_ != vhost.SET_VRING_KICK:
            assert number(lab.wire.recv()) == 7, name
        assert f.alive(), name
        f.sock.close()
        os.close(fd)
    lab.unharmed()


# --- time ---------------------------------------------------------------------

def test_who_stops_in_the_middle_is_sent_away(lab):
    """One reads no answers, the other never ends its message."""
    lab.qmp.cmd("netdev_add", type="nic", id="n2")
    deaf = lab.front()
    deaf.negotiate()
    slow = lab.closing(FrontEnd(lab.qmp.daemon.path("n2.sock")))
    message = iter(struct.pack("<III", vhost.SET_FEATURES, 1, 8) + bytes(8))
    todo = {deaf.sock: lambda: struct.pack("<III", vhost.GET_FEATURES, 1, 0) * 100,
            slow.sock: lambda: bytes([next(message)])}
    end = time.monotonic() + 9  # and a message has twenty bytes
    while todo:
        assert time.monotonic() < end, "it is still there"
        for sock, data in list(todo.items()):
            try:
                sock.send(data(), socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                del todo[sock]
        time.sleep(0.5)
    lab.unharmed()


# --- memory that changes ------------------------------------------------------

def rewrite(fd, size, ring, seconds):
    """Lengths, chains, tables and headers, each of them possible."""
    m = mmap.mmap(fd, size)
    r = random.Random(1)
    shapes = [struct.pack("<QIHH", GPA + AT, *rest) for rest in
              ((72, 0, 0), (1512, 0, 0), (1, NEXT, 5), (65000, 0, 0))]
    inner = [struct.pack("<QIHH", GPA + AT, *rest) for rest in
             ((12, NEXT, 1), (500, 0, 0), (30, NEXT, 2), (64000, 0, 0))]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for i in range(300):
            m[ring + 16 * (i % 3):ring + 16 * (i % 3) + 16] = r.choice(shapes)
            m[TABLE:TABLE + 16] = r.choice(inner)
            m[AT:AT + 10] = r.choice((bytes(10), struct.pack(
                "<BBHHHH", 1, r.choice((0, 1, 4)), 54, r.choice((0, 1, 1000)),
                r.choice((0, 34, 60000)), r.choice((6, 16, 60000)))))


def test_memory_that_changes_while_it_is_read(lab):
    f = lab.front().start(vhost.USUAL | bits(
        vhost.F_INDIRECT, vhost.F_CSUM, vhost.F_HOST_TSO4, vhost.F_HOST_TSO6))
    tx = f.rings[1]
    for i in (0, 1, 2, 5):
        tx.put_desc(i, GPA + AT, 72, 0)
    tx.put_desc(3, GPA + TABLE, 64, INDIRECT)
    for i in range(4):
        struct.pack_into("<QIHH", f.memory, TABLE + 16 * i, GPA + AT, 500, 0, 0)
    writer = multiprocessing.get_context("fork").Process(
        target=rewrite, args=(f.fd, f.BYTES, tx.desc, 3))
    writer.start()
    sent, end = 0, time.monotonic() + 2
    while time.monotonic() < end:
        for i in range(4):
            tx.offer(i)
        tx.ring()
        due = 4
        while due > 0:
            due -= len(tx.wait())
        sent += 4
    writer.join()
    counters = lab.qmp.counters("n0")
    assert sent > 100
    assert counters["in-frames"] > 0 and counters["in-drop-offload"] > 0
    # What is wrong with a frame costs that frame, and its queue goes on.
    try:
        while lab.wire.recv(0.2):
            pass
    except socket.timeout:
        pass
    lab.unharmed()
