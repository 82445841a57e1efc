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
        self.buffer = b""

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
            if len(self.buffer) >= 4:
                size = struct.unpack("!I", self.buffer[:4])[0]
                if len(self.buffer) >= 4 + size:
                    data = self.buffer[4:4 + size]
                    self.buffer = self.buffer[4 + size:]
                    return data
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
