"""Processes held in places where no test would meet them by chance, by means
of a debugger."""

import ctypes
import os
import signal

DETACH, GETEVENTMSG, SEIZE = 17, 0x4201, 0x4206
OPTION_FORK, OPTION_CLONE, OPTION_EXIT = 2, 8, 0x40
WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, data=0):
    if _libc.ptrace(request, pid, 0, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def die_in_fork(pid, then):
    """Kill `pid` when it has forked, before it does anything else; `then` is
    what makes it fork. Returns its child, which runs."""
    _ptrace(SEIZE, pid, OPTION_FORK | OPTION_CLONE)
    then()
    _, status = os.waitpid(pid, WALL)
    assert status >> 16 in (1, 3), hex(status)  # PTRACE_EVENT_FORK, _CLONE
    message = ctypes.c_ulong()
    _ptrace(GETEVENTMSG, pid, ctypes.addressof(message))
    os.waitpid(message.value, WALL)  # it is held, too
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, WALL)
    _ptrace(DETACH, message.value)
    return message.value


class Stuck:
    """A process that sleeps in the kernel, stopped on its way out: SIGKILL does
    not end it until close()."""

    def __init__(self, pid):
        self.pid = pid
        _ptrace(SEIZE, pid, OPTION_EXIT)

    def hang(self):
        """Send it away: it goes as far as its end, and no further."""
        os.kill(self.pid, signal.SIGKILL)
        got, status = os.waitpid(self.pid, WALL)
        assert got == self.pid and status >> 8 == \
            signal.SIGTRAP | 6 << 8, hex(status)  # PTRACE_EVENT_EXIT

    def close(self):
        if self.pid is not None:
            try:
                _ptrace(DETACH, self.pid)
            except OSError:
                pass
            self.pid = None
