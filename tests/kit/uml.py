"""User-mode Linux on a vhost-user socket: the front-end that hands its control
queue on (tests/vm/uml-init is the other end of its console)."""

import os
import shutil
import signal
import subprocess
import tempfile

from .guest import Machine

PROGRAM = "linux.uml"
VM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm")


def why_not():
    """The reason for which it cannot run, or None."""
    if not shutil.which(PROGRAM):
        return f"{PROGRAM} is missing (package user-mode-linux)"
    if not os.path.isdir("/usr/lib/uml/modules"):
        return "user-mode Linux has no modules (package user-mode-linux)"
    return None


def shim(build):
    """The library without which UML does not run on processors with AMX."""
    source = os.path.join(VM, "uml_fpregs.c")
    made = os.path.join(build, "vm", "uml_fpregs.so")
    if not os.path.exists(made) or \
            os.path.getmtime(made) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(made), exist_ok=True)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o",
                        made, source], check=True)
    return made


class Uml(Machine):
    """One user-mode Linux whose eth0 is on the nic behind `path`, or whose vec0
    has these options of its own vector transports."""

    lease = f"busybox udhcpc -f -q -n -t 8 -T 2 -i eth0 -s {os.path.abspath(VM)}/lease"

    def __init__(self, build, path=None, memory=96, vec=None):
        self.dir = tempfile.mkdtemp(prefix="bhu-", dir="/tmp")
        self.proc = subprocess.Popen(
            [PROGRAM, f"mem={memory}M", "root=/dev/root", "rootfstype=hostfs",
             "rootflags=/", "ro", f"init={os.path.abspath(VM)}/uml-init",
             f"vec0:{vec}" if vec else f"virtio_uml.device={path}:1",
             "con=null", "con0=fd:0,fd:1", "quiet", f"uml_dir={self.dir}/", "umid=g"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0, start_new_session=True,
            env=dict(os.environ, LD_PRELOAD=shim(build), HOME=self.dir))

    def close(self):
        """Its processes are a group of their own, and deaf to SIGTERM."""
        try:
            os.killpg(self.proc.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)
