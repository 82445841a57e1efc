"""QEMU without a machine: its netdevs and hubs alone, as a peer."""

import os
import shutil
import subprocess
import tempfile

from .deadline import until
from .qmp import Qmp

QEMU = "qemu-system-x86_64"


def why_not():
    """The reason for which it cannot run, or None."""
    return None if shutil.which(QEMU) else f"{QEMU} is missing"


class Qemu:
    """`qemu -M none` with the given arguments and a QMP session. `before` is
    an argv prefix."""

    def __init__(self, *args, before=()):
        self.dir = tempfile.mkdtemp(prefix="bhq-", dir="/tmp")
        path = os.path.join(self.dir, "qmp")
        self.log = tempfile.TemporaryFile()
        self.qmp = None
        self.proc = subprocess.Popen(
            [*before, QEMU, "-M", "none", "-nodefaults", "-display", "none",
             "-monitor", "none", "-serial", "none",
             "-qmp", f"unix:{path},server=on,wait=off", *args],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

        def monitor():
            assert self.proc.poll() is None, self.said()
            try:
                return Qmp(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            except AssertionError:
                # QEMU, met while it starts, now and then greets twice and
                # forgets the negotiation in between: connect again.
                return None
        try:
            self.qmp = until(monitor, 20, "QEMU's monitor")
        except BaseException:
            self.close()
            raise

    def said(self):
        return os.pread(self.log.fileno(), 65536, 0).decode(errors="replace")

    def info(self):
        """The text of `info network`."""
        return self.qmp.cmd("human-monitor-command",
                            command_line="info network")

    def close(self):
        if self.qmp:
            self.qmp.close()
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
