"""bulkheadd under test: started in a run directory of its own, waited for by
its own readiness message, and watched to its end."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from .coverage import recorder
from .deadline import until
from .qmp import Qmp

READY_S = 20
END_S = 20


def status(pid):
    """/proc/PID/status as a dictionary; {} when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return dict(line.rstrip("\n").split(":\t", 1)
                        for line in f if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return {}


def alive(pid):
    """Is it there, and not only waiting to be reaped?"""
    return status(pid).get("State", "Z")[0] not in "ZX"


def children(pid):
    """Process ids of all descendants."""
    parent = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent[int(name)] = int(status(name).get("PPid", 0))
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        mine = [c for c, of in parent.items() if of == p]
        found += mine
        todo += mine
    return found


def need_reachable(build, uid):
    """Skip what runs as another user when that one cannot reach the programs,
    as in a tree below /root."""
    who = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    program = os.path.join(build, "bin", "bulkheadd")
    if subprocess.run([*who, "test", "-x", program], check=False).returncode:
        import pytest  # benches do without

        pytest.skip(f"user {uid} cannot reach the build directory")


class Daemon:
    """One bulkheadd. `before` is an argv prefix such as setpriv's."""

    def __init__(self, build, *args, before=(), qmp=True, sandbox=None,
                 env=None, uid=None, pass_fds=(), ready=True):
        if uid is not None:
            need_reachable(build, uid)
        self.build = build
        self.run_dir = tempfile.mkdtemp(prefix="bh-", dir="/tmp")
        if uid is not None:
            os.chown(self.run_dir, uid, -1)
        self.errors = tempfile.TemporaryFile()
        self.qmp_path = os.path.join(self.run_dir, "qmp.sock")
        self.sessions, self.seen, self.was_up = [], set(), False
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A path: an abstract name is known in one network namespace only.
        self.notify_path = self.run_dir + ".notify"
        self.notify.bind(self.notify_path)
        os.chmod(self.notify_path, 0o777)
        argv = [*before, os.path.join(build, "bin", "bulkheadd"),
                "--run-dir", self.run_dir]
        if sandbox:
            argv += [f"--sandbox={sandbox}"]
        if qmp:
            argv += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        argv += list(args)
        self.argv = argv
        self.proc = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self.errors,
            stderr=self.errors, pass_fds=pass_fds, start_new_session=True,
            env=dict(os.environ, NOTIFY_SOCKET=self.notify_path, **(env or {})))
        if ready:
            self.wait_ready()

    def path(self, name):
        """A path in the run directory."""
        return os.path.join(self.run_dir, name)

    def log(self):
        """What it wrote to stdout and stderr so far."""
        self.errors.flush()
        size = os.fstat(self.errors.fileno()).st_size
        return os.pread(self.errors.fileno(), size, 0).decode(errors="replace")

    def notified(self):
        """The next sd_notify text, or None."""
        try:
            return self.notify.recv(4096, socket.MSG_DONTWAIT).decode()
        except BlockingIOError:
            return None

    def wait_ready(self):
        def ready():
            assert self.proc.poll() is None, \
                f"ended with {self.proc.returncode}: {self.log()}"
            return "READY=1" in (self.notified() or "")
        try:
            until(ready, READY_S, "READY=1")
        except AssertionError as e:
            self.kill()
            raise AssertionError(f"{e}\n{self.log()}") from None
        self.was_up = True
        recorder().argv(self.argv, True)

    def qmp(self, path=None, **how):
        """A new session, closed at the end."""
        session = Qmp(path or self.qmp_path, recorder=recorder(), **how)
        self.sessions.append(session)
        return session

    def processes(self):
        """Pids of everything it started, now; remembered for the end."""
        now = children(self.proc.pid)
        self.seen.update(now)
        return now

    def kill(self):
        """The hard way; its children must follow it."""
        self.processes()
        for s in self.sessions:
            s.close()
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self._all_gone()
        self._tidy_up()

    def stop(self, code=0):
        """The orderly way; checks that nothing stays behind."""
        self.processes()
        for s in self.sessions:
            s.close()
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end on SIGTERM\n{self.log()}") from None
        text = self.log()
        left = [] if not os.path.isdir(self.run_dir) else \
            [n for n in os.listdir(self.run_dir) if n.endswith((".sock", ".pid"))]
        self._all_gone()
        self._tidy_up()
        assert self.proc.returncode == code, \
            f"ended with {self.proc.returncode}: {text}"
        assert not left, f"left behind: {left}"
        for bad in ("AddressSanitizer", "runtime error:", "BUG_ON", "bug at"):
            assert bad not in text, text

    def _all_gone(self):
        until(lambda: not any(alive(p) for p in self.seen), 5,
              "end of all children")

    def _tidy_up(self):
        if not self.was_up and self.proc.returncode in (0, 1):
            recorder().argv(self.argv, self.proc.returncode == 0)
        self.notify.close()
        os.unlink(self.notify_path)
        shutil.rmtree(self.run_dir, ignore_errors=True)
