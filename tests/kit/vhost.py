"""A vhost-user front-end made by hand: honest by default, and able to say
anything. Split rings, memory in one memfd, guest addresses that differ from
its own (as QEMU's do)."""

import array
import mmap
import os
import select
import socket
import struct
import time

GET_FEATURES, SET_FEATURES, SET_OWNER = 1, 2, 3
SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD = 5, 6, 7
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL, SET_PROTOCOL, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD = 19, 20, 21
GET_CONFIG, SET_CONFIG, RESET_DEVICE = 24, 25, 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG = 36, 37, 38
SET_STATUS, GET_STATUS = 39, 40

F_CSUM, F_GUEST_CSUM, F_MTU, F_MAC = 0, 1, 3, 5
F_GUEST_TSO4, F_GUEST_TSO6, F_HOST_TSO4, F_HOST_TSO6 = 7, 8, 11, 12
F_MRG_RXBUF, F_STATUS, F_CTRL_VQ, F_CTRL_RX = 15, 16, 17, 18
F_CTRL_VLAN, F_CTRL_RX_EXTRA, F_ANNOUNCE, F_MQ = 19, 20, 21, 22
F_CTRL_MAC, F_INDIRECT, F_EVENT_IDX, F_PROTOCOL, F_VERSION_1 = 23, 28, 29, 30, 32
PF_MQ, PF_REPLY_ACK, PF_BACKEND_REQ, PF_CONFIG, PF_STATUS = 0, 3, 5, 9, 16

NEXT, WRITE, INDIRECT = 1, 2, 4
HEADER = 12
GPA, UVA = 0x10000, 0x7F0000000000


def bits(*numbers):
    return sum(1 << n for n in numbers)


USUAL = bits(F_MAC, F_MRG_RXBUF, F_STATUS, F_PROTOCOL, F_VERSION_1)


class Closed(Exception):
    """The back-end has closed the connection."""


class Ring:
    """One split virtqueue of `size` entries at `at` in the memory."""

    def __init__(self, front, index, size, at, buffers):
        self.front, self.index, self.size = front, index, size
        self.desc = at
        self.avail = at + 16 * size
        self.used = (self.avail + 6 + 2 * size + 63) & ~63
        self.end = self.used + 6 + 8 * size
        self.buffers = buffers  # where its data buffers begin
        self.next = self.seen = 0
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)

    def put_desc(self, i, addr, length, flags, next_=0):
        struct.pack_into("<QIHH", self.front.memory, self.desc + 16 * i, addr,
                         length, flags, next_)

    def offer(self, head, idx=None):
        """Make a chain available; `idx` lies about the index."""
        m = self.front.memory
        struct.pack_into("<H", m, self.avail + 4 + 2 * (self.next % self.size), head)
        self.next += 1
        # One store: struct writes the bytes one by one, and a device that is
        # awake would see an index between two.
        self.front.halves[(self.avail + 2) // 2] = \
            (self.next if idx is None else idx) & 0xFFFF

    def ring(self):
        os.eventfd_write(self.kick, 1)

    def used_index(self):
        return struct.unpack_from("<H", self.front.memory, self.used + 2)[0]

    def taken(self):
        """(id, length) of what the device gave back since the last look."""
        found = []
        while self.seen & 0xFFFF != self.used_index():
            found.append(struct.unpack_from(
                "<II", self.front.memory,
                self.used + 4 + 8 * (self.seen % self.size)))
            self.seen += 1
        return found

    def wait(self, seconds=5):
        """taken(), when it is something."""
        end = time.monotonic() + seconds
        while True:
            found = self.taken()
            if found:
                return found
            left = end - time.monotonic()
            assert left > 0, f"ring {self.index}: nothing used in {seconds} s"
            if select.select([self.call], [], [], min(left, 0.05))[0]:
                os.eventfd_read(self.call)

    def close(self):
        os.close(self.kick)
        os.close(self.call)


class FrontEnd:
    """connect(), then what a test wants; start() does what all drivers do."""

    SIZE = 256
    BUFFER = 2048
    BYTES = 8 << 20

    def __init__(self, path, seconds=5):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(seconds)
        self.sock.connect(path)
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.BYTES)
        self.memory = mmap.mmap(self.fd, self.BYTES)
        self.halves = memoryview(self.memory).cast("H")
        self.rings = []
        self.features = self.protocol = 0

    # --- messages ---

    def send_raw(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                      array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def send(self, request, payload=b"", fds=(), flags=1):
        self.send_raw(struct.pack("<III", request, flags, len(payload)) + payload,
                      fds)

    def read_exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            data += more
        return data

    def recv(self):
        """(request, flags, payload) of the next message."""
        request, flags, size = struct.unpack("<III", self.read_exactly(12))
        return request, flags, self.read_exactly(size)

    def ask(self, request, payload=b""):
        self.send(request, payload)
        got, flags, data = self.recv()
        assert (got, flags) == (request, 5), (request, got, flags)
        return data

    def ask_u64(self, request):
        return struct.unpack("<Q", self.ask(request))[0]

    def acked(self, request, payload=b"", fds=()):
        """Send with need_reply; the u64 of the answer: 0 is success."""
        self.send(request, payload, fds, flags=9)
        got, flags, data = self.recv()
        assert (got, flags, len(data)) == (request, 5, 8), (request, got, flags)
        return struct.unpack("<Q", data)[0]

    def alive(self):
        """Does it still answer?"""
        try:
            self.ask_u64(GET_FEATURES)
            return True
        except Closed:
            return False

    # --- what drivers do ---

    def negotiate(self, features=USUAL, protocol=bits(PF_MQ, PF_REPLY_ACK)):
        self.send(SET_OWNER)
        offered = self.ask_u64(GET_FEATURES)
        self.features = features & offered
        if self.features >> F_PROTOCOL & 1:
            self.protocol = protocol & self.ask_u64(GET_PROTOCOL)
            self.send(SET_PROTOCOL, struct.pack("<Q", self.protocol))
        return offered

    def table(self, regions=None):
        """SET_MEM_TABLE's payload: one region for all of the memory."""
        regions = regions or [(GPA, self.BYTES, UVA, 0)]
        return struct.pack("<II", len(regions), 0) + b"".join(
            struct.pack("<QQQQ", *r) for r in regions)

    def share(self):
        assert self.acked(SET_MEM_TABLE, self.table(), [self.fd]) == 0

    def add_ring(self, index, size=None):
        size = size or self.SIZE
        at = 0x10000 * (index + 1)
        buffers = 0x200000 + index * size * self.BUFFER
        ring = Ring(self, index, size, at, buffers)
        self.rings.append(ring)
        return ring

    def set_ring(self, ring, base=0, enable=True):
        i = ring.index
        self.send(SET_VRING_NUM, struct.pack("<II", i, ring.size))
        self.send(SET_VRING_BASE, struct.pack("<II", i, base))
        self.send(SET_VRING_ADDR, struct.pack(
            "<IIQQQQ", i, 0, UVA + ring.desc, UVA + ring.used,
            UVA + ring.avail, 0))
        self.send(SET_VRING_CALL, struct.pack("<Q", i), [ring.call])
        self.send(SET_VRING_KICK, struct.pack("<Q", i), [ring.kick])
        if enable and self.features >> F_PROTOCOL & 1:
            self.send(SET_VRING_ENABLE, struct.pack("<II", i, 1))

    def start(self, features=USUAL, queues=2, **how):
        """Everything up to running rings: 0 receives, 1 sends, ..."""
        self.negotiate(features, **how)
        self.send(SET_FEATURES, struct.pack("<Q", self.features))
        self.share()
        for i in range(queues):
            self.set_ring(self.add_ring(i))
        self.post(self.SIZE)
        assert self.alive()
        return self

    # --- frames ---

    def post(self, count):
        """Give the device `count` buffers to receive into."""
        rx = self.rings[0]
        for i in range(count):
            rx.put_desc(i, GPA + rx.buffers + i * self.BUFFER, self.BUFFER, WRITE)
            rx.offer(i)
        rx.ring()

    def transmit(self, *frames, header=bytes(HEADER)):
        """Send frames, wait until the device has taken all."""
        tx = self.rings[1]
        for at in range(0, len(frames), tx.size):
            batch = frames[at:at + tx.size]
            for i, f in enumerate(batch):
                where = tx.buffers + i * self.BUFFER
                data = header + f
                self.memory[where:where + len(data)] = data
                tx.put_desc(i, GPA + where, len(data), 0)
                tx.offer(i)
            tx.ring()
            done = 0
            while done < len(batch):
                done += len(tx.wait())

    def receive(self, count, seconds=5):
        """[(virtio_net_hdr, frame)] of the next `count` frames."""
        rx, found = self.rings[0], []
        while len(found) < count:
            taken = rx.wait(seconds)
            while taken:
                i, length = taken.pop(0)
                where = rx.buffers + i * self.BUFFER
                head = self.memory[where:where + HEADER]
                data = self.memory[where + HEADER:where + length]
                used = [i]
                for _ in range(struct.unpack_from("<H", head, 10)[0] - 1):
                    i, length = taken.pop(0)
                    where = rx.buffers + i * self.BUFFER
                    data += self.memory[where:where + length]
                    used.append(i)
                found.append((head, data))
                for i in used:
                    rx.offer(i)
            rx.ring()
        return found

    def close(self):
        self.sock.close()
        for r in self.rings:
            r.close()
        self.halves.release()
        self.memory.close()
        os.close(self.fd)
