"""Frames, and raw ends of the socket netdev's transports."""

import socket
import struct
import time

BROADCAST = b"\xff" * 6
SOURCE = bytes.fromhex("020000000001")
ETHERTYPE = 0x88B5  # IEEE local experimental


def frame(number, size=60, fill=None):
    """A broadcast frame that carries its number."""
    body = struct.pack("!6s6sHQ", BROADCAST, SOURCE, ETHERTYPE, number)
    return body + bytes([number & 0xFF if fill is None else fill]) * \
        (size - len(body))


def number(data):
    """The number in a frame of ours."""
    assert data[12:14] == b"\x88\xb5", data[:32]
    return struct.unpack("!Q", data[14:22])[0]


class Stream:
    """QEMU's stream framing: 32-bit big-endian length, then the frame."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.at = 0  # where the next frame starts in it

    @classmethod
    def connect(cls, address, seconds=5):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(seconds)
        sock.connect(address)
        return cls(sock)

    def send(self, *frames):
        self.sock.settimeout(20)
        self.sock.sendall(b"".join(struct.pack("!I", len(f)) + f for f in frames))

    def recv(self, seconds=5):
        """One frame; EOFError when the other side has closed."""
        end = time.monotonic() + seconds
        while True:
            have = len(self.buffer) - self.at
            if have >= 4:
                size = struct.unpack_from("!I", self.buffer, self.at)[0]
                if have >= 4 + size:
                    data = bytes(self.buffer[self.at + 4:self.at + 4 + size])
                    self.at += 4 + size
                    return data
            del self.buffer[:self.at]
            self.at = 0
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            more = self.sock.recv(1 << 18)
            if not more:
                raise EOFError
            self.buffer += more

    def numbers(self, count, seconds=10):
        """The numbers of the next `count` frames of ours; others are skipped."""
        found = []
        end = time.monotonic() + seconds
        while len(found) < count:
            data = self.recv(max(0.001, end - time.monotonic()))
            if data[12:14] == b"\x88\xb5":
                found.append(number(data))
        return found

    def rest(self, seconds=0.5):
        """The numbers of all frames until nothing came for so long."""
        found = []
        try:
            while True:
                found += self.numbers(1, seconds)
        except socket.timeout:
            return found

    def silent(self, seconds=0.2):
        """Nothing arrives for a while. Only to show an absence."""
        try:
            data = self.recv(seconds)
        except socket.timeout:
            return True
        raise AssertionError(f"got {data[:40]}")

    def closed(self, seconds=5):
        """The other side closes, whatever it still says before."""
        try:
            while True:
                self.recv(seconds)
        except (EOFError, ConnectionError):
            return True

    def close(self):
        self.sock.close()


def plug(session, hub, *names):
    """Netdevs of type socket with a port p-NAME each on one hub; our ends."""
    ends = []
    for name in names:
        path = session.daemon.path(name + ".sock")
        session.cmd("netdev_add", type="socket", id=name, listen=path)
        session.cmd("netdev_add", type="hubport", id="p-" + name, hubid=hub,
                    netdev=name)
        ends.append(Stream.connect(path))
        session.event("NETDEV_STREAM_CONNECTED", netdev_id=name)
    return ends


def relay(source, target, count, size=60, window=256, first=0, between=None):
    """Send numbered frames from one end to the other, at most `window` of them
    not yet heard; returns what was heard, when all came. `between(n)` is called
    after each window, n frames having been heard."""
    heard, sent, seen = [], 0, set()
    while len(seen) < count:
        more = min(window - (sent - len(seen)), count - sent)
        if more > 0:
            source.send(*(frame(first + sent + i, size) for i in range(more)))
            sent += more
        new = [n for n in target.numbers(max(1, (sent - len(seen)) // 2), 20)
               if first <= n < first + count]
        heard += new
        seen.update(new)
        if between:
            between(len(seen))
    return heard


class Listener:
    """A stream socket that waits for the connecting side."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(address)
        self.sock.listen(8)

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def accept(self, seconds=10):
        self.sock.settimeout(seconds)
        return Stream(self.sock.accept()[0])

    def close(self):
        self.sock.close()


def free_port(kind=socket.SOCK_STREAM):
    """A loopback port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
