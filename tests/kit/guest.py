"""Machines that are told what to do over their console: a Debian kernel with
busybox under QEMU's emulation (tests/vm/init is the other end), and user-mode
Linux (tests/kit/uml.py)."""

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


class Machine:
    """What talks over `self.proc`'s standard input and output."""

    said = b""
    lease = "udhcpc -f -q -n -t 8 -T 2 -i eth0 -s /lease"

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
        output = self.run(self.lease, 40)
        return output.split("address ", 1)[1].split()[0]


class Guest(Machine):
    """One virtual machine with one virtio NIC on `netdev` (id n0). With
    `chardev` (its options, id c0) the netdev is vhost-user on it, `queues`
    pairs; the machine's memory is shared then. `words` are all of that, as
    query-nics says it. `reboots`: `reboot -f` in it starts it anew instead of
    ending it."""

    def __init__(self, build, netdev, mac, extra=(), memory=192, chardev=None,
                 queues=1, device="", reboots=False, words=()):
        kernel, initrd = image(build)
        nic = f"virtio-net-pci,netdev=n0,mac={mac}{device}"
        shared = ()
        if chardev:
            # Without MSI-X: under emulation this QEMU ends with a fault.
            nic += ",vectors=0" + (",mq=on" if queues > 1 else "")
            shared = ("-object", f"memory-backend-memfd,id=mem0,size={memory}M,"
                      "share=on", "-machine", "memory-backend=mem0",
                      "-chardev", f"socket,id=c0,{chardev}")
            netdev = f"vhost-user,id=n0,chardev=c0,queues={queues}"
        self.proc = subprocess.Popen(
            [QEMU, "-M", "q35", "-accel", "tcg", "-smp", str(queues),
             "-display", "none", "-nodefaults", "-serial", "stdio",
             *(words or ("-m", str(memory), *shared, "-netdev", netdev,
                         "-device", nic)),
             "-kernel", kernel, "-initrd", initrd,
             "-append", "console=ttyS0 quiet loglevel=1 panic=-1",
             *(() if reboots else ("-no-reboot",)), *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0)

    def close(self):
        """Switch it off."""
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()
