"""Network namespaces to put taps into, programs and sockets in them."""

import contextlib
import ctypes
import os
import shutil
import subprocess


def why_not():
    """Why tests with taps cannot run here, or None."""
    if os.geteuid() != 0:
        return "taps need root"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    if shutil.which("ip") is None:
        return "no ip(8)"
    if subprocess.run(["unshare", "-n", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        return "no network namespaces"
    return None


CLONE_NEWNET = 0x40000000


def _enter(fd):
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Netns:
    """A network namespace, which lives as long as a process in it. With `pid`
    it is that process's."""

    def __init__(self, pid=None):
        self.proc = None
        if pid is None:
            # It says that it is there, and so in its namespace.
            self.proc = subprocess.Popen(
                ["unshare", "-n", "sh", "-c", "echo; exec sleep 1000"],
                stdout=subprocess.PIPE)
            self.proc.stdout.readline()
            pid = self.proc.pid
        self.pid = pid

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.pid), "-n", *argv]

    def run(self, *argv, check=True, **how):
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True,
                              timeout=60, check=False, **how)
        assert not check or done.returncode == 0, (argv, done)
        return done

    def popen(self, *argv, **how):
        return subprocess.Popen(self.argv(*argv), **how)

    @contextlib.contextmanager
    def inside(self):
        """What this thread opens is there, also afterwards."""
        with open("/proc/thread-self/ns/net", "rb") as here, \
                open(f"/proc/{self.pid}/ns/net", "rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def ip(self, *words):
        return self.run("ip", *words).stdout

    def link(self, name):
        """What `ip link` says of an interface; "" when it is not there."""
        return self.run("ip", "-d", "link", "show", name, check=False).stdout

    def give(self, name, other, address, mtu=1500):
        """Move an interface of ours to another namespace, up, with an address."""
        self.ip("link", "set", name, "netns", str(other.pid))
        other.ip("link", "set", name, "up", "mtu", str(mtu))
        other.ip("address", "add", address, "dev", name)

    def close(self):
        if self.proc is not None:
            self.proc.kill()
            self.proc.wait()
            self.proc.stdout.close()
