"""A Debian kernel with busybox under QEMU's emulation, told what to do over
its serial console (tests/vm/init is the other end)."""

import os
import select
import shutil
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILDER = os.path.join(HERE, "..", "vm", "initramfs")
QEMU = "qemu-system-x86_64"
MARK = b"\x1e"  # what init puts before "ready" and before each exit status


def why_not():
    """The reason for which no guest can run here, or None."""
    for tool, package in ((QEMU, "qemu-system-x86"), ("cpio", "cpio"),
                          ("busybox", "busybox-static")):
        if not shutil.which(tool):
            return f"{tool} is missing (package {package})"
    return None


def image(build):
    """(kernel, initrd), made when missing or older than its sources."""
    initrd = os.path.join(build, "vm", "initrd.gz")
    kernel = subprocess.run([BUILDER, initrd], check=True, text=True,
                            stdout=subprocess.PIPE).stdout.strip()
    return kernel, initrd


class Guest:
    """One virtual machine with one virtio NIC on `netdev` (id n0)."""

    def __init__(self, build, netdev, mac, extra=()):
        kernel, initrd = image(build)
        self.said = b""
        self.proc = subprocess.Popen(
            [QEMU, "-M", "q35", "-accel", "tcg", "-smp", "1", "-m", "192",
             "-display", "none", "-nodefaults", "-no-reboot",
             "-serial", "stdio", "-netdev", netdev,
             "-device", f"virtio-net-pci,netdev=n0,mac={mac}",
             "-kernel", kernel, "-initrd", initrd,
             "-append", "console=ttyS0 quiet loglevel=1 panic=-1", *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0)

    def _line_after_mark(self, seconds):
        """(what was said before it, the line after the next MARK)"""
        end = time.monotonic() + seconds
        while True:
            before, mark, after = self.said.partition(MARK)
            if mark and b"\n" in after:
                line, _, self.said = after.partition(b"\n")
                return before.decode(errors="replace"), line.strip().decode()
            left = end - time.monotonic()
            ready = left > 0 and select.select([self.proc.stdout], [], [], left)
            more = os.read(self.proc.stdout.fileno(), 65536) \
                if ready and ready[0] else b""
            if not more:
                raise AssertionError("the guest fell silent after: "
                                     + self.said[-2000:].decode(errors="replace"))
            self.said += more

    def wait_ready(self, seconds=60):
        """Return when init takes commands."""
        while self._line_after_mark(seconds)[1] != "ready":
            pass
        return self

    def start(self, command):
        """Send a command; finish() waits for it."""
        self.proc.stdin.write(command.encode() + b"\n")

    def finish(self, seconds=30):
        """(exit status, output) of the command that start() sent."""
        output, status = self._line_after_mark(seconds)
        return int(status), output

    def run(self, command, seconds=30):
        """Run a command that must succeed; return what it printed."""
        self.start(command)
        status, output = self.finish(seconds)
        assert status == 0, f"guest: {command!r} gave {status}: {output}"
        return output

    def dhcp(self):
        """Get a lease; return the address."""
        output = self.run("udhcpc -f -q -n -t 8 -T 2 -i eth0 -s /lease", 40)
        return output.split("address ", 1)[1].split()[0]

    def close(self):
        """Switch it off."""
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()
