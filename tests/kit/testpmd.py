"""dpdk-testpmd as a peer: vhost-user front-end (net_virtio_user) or back-end
(net_vhost), without huge pages."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile

from .deadline import until

PROGRAM = "dpdk-testpmd"
serial = itertools.count()


def why_not():
    """The reason for which it cannot run, or None."""
    if not shutil.which(PROGRAM):
        return f"{PROGRAM} is missing (package dpdk-dev)"
    return None


class Testpmd:
    """One dpdk-testpmd with the given --vdev arguments and options."""

    __test__ = False  # its name is not one of a test

    def __init__(self, vdevs, *options, lcores="0@0,1@0", memory=128):
        self.prefix = f"bh{os.getpid()}x{next(serial)}"
        self.log = tempfile.TemporaryFile()
        argv = [PROGRAM, "--no-pci", "--no-huge", "-m", str(memory),
                "--file-prefix", self.prefix, "--no-telemetry",
                "--lcores", lcores]
        for v in vdevs:
            argv += ["--vdev", v]
        argv += ["--", "--total-num-mbufs=4096", "--stats-period", "1", *options]
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log)

    def said(self):
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def wait_started(self, seconds=20):
        """Forwarding has begun."""
        def started():
            assert self.proc.poll() is None, self.said()
            return "Press enter to exit" in self.said() or \
                "start packet forwarding" in self.said() or \
                "forwarding" in self.said() and "Port statistics" in self.said()
        until(started, seconds, "testpmd's start")
        return self

    def finish(self, seconds=20):
        """Ask it to end; {"RX-packets": n, "TX-packets": n, ...} in total."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
        self.proc.wait(seconds)
        text = self.said().split("Accumulated forward statistics", 1)[-1]
        return {k: int(v) for k, v in
                re.findall(r"([RT]X-(?:packets|dropped|total)): *(\d+)", text)}

    def close(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.log.close()
        shutil.rmtree(f"/var/run/dpdk/{self.prefix}", ignore_errors=True)
