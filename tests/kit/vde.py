"""VDE: the switch of vde2, a plug of our own in Python, and a switch that is
no switch."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

from .deadline import until
from .wire import number

SWITCH = "vde_switch"
REQUEST = struct.Struct("=IIIH108s")
NAME = struct.Struct("=H108s")


def why_not():
    """The reason for which there is no switch, or None."""
    return None if shutil.which(SWITCH) else f"{SWITCH} is missing"


class Switch:
    """vde_switch at a directory, which is removed when it ends."""

    def __init__(self, path, *args):
        self.path = path
        self.manage = path + ".mgmt"
        self.proc = subprocess.Popen(
            [SWITCH, "-s", path, "-M", self.manage, "-hub", *args],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(os.path.join(path, "ctl")), 10,
              "the switch")

    def ask(self, command):
        """The answer to a line on the management socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(self.manage)
            said = b""
            while b"vde$ " not in said:
                said += s.recv(65536)
            s.sendall(command.encode() + b"\n")
            said = b""
            while b"\n1000 " not in said:
                said += s.recv(65536)
            return said.decode(errors="replace")

    def names(self):
        """Names in its directory that are not its own."""
        return [n for n in os.listdir(self.path) if n.startswith(".")]

    def close(self, how=signal.SIGTERM):
        if self.proc.poll() is None:
            self.proc.send_signal(how)
        self.proc.stdin.close()
        self.proc.wait()
        shutil.rmtree(self.path, ignore_errors=True)
        if os.path.exists(self.manage):
            os.unlink(self.manage)


class Plug:
    """A port of a switch, by its protocol: one datagram is one frame."""

    def __init__(self, path):
        self.dir = tempfile.mkdtemp(prefix="bhv-", dir="/tmp")
        own = os.path.join(self.dir, "data")
        self.data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.data.bind(own)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(5)
        self.control.connect(os.path.join(path, "ctl"))
        self.control.sendall(REQUEST.pack(0xfeedface, 3, 0, socket.AF_UNIX,
                                          own.encode()) + b"plug")
        _, name = NAME.unpack(self.control.recv(NAME.size))
        self.data.connect(name.rstrip(b"\0"))
        self.data.settimeout(5)

    def send(self, *frames):
        for f in frames:
            self.data.send(f)

    def numbers(self, count, seconds=10):
        self.data.settimeout(seconds)
        return [number(self.data.recv(65536)) for _ in range(count)]

    def close(self):
        self.data.close()
        self.control.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Liar:
    """A directory with a "ctl": who joins is accepted, and no more, until the
    test says what to answer."""

    def __init__(self, path):
        self.path = path
        os.mkdir(path)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(os.path.join(path, "ctl"))
        self.listening.listen(8)
        self.listening.settimeout(15)

    def accept(self):
        """The next who joins: his stream, and where his frames come in."""
        stream, _ = self.listening.accept()
        stream.settimeout(5)
        said = stream.recv(4096)
        magic, version, kind, family, name = REQUEST.unpack_from(said)
        assert (magic, version, family) == (0xfeedface, 3, socket.AF_UNIX)
        return stream, kind, name.rstrip(b"\0").decode()

    def answer(self, stream, name, family=socket.AF_UNIX):
        stream.sendall(NAME.pack(family, name.encode()))

    def join(self, stream, theirs, name="001.9"):
        """Be a switch, so far: the datagram socket of the new port."""
        data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.path, name)
        data.bind(path)
        data.connect(theirs)
        self.answer(stream, path)
        return data

    def close(self):
        self.listening.close()
        shutil.rmtree(self.path, ignore_errors=True)
