"""Backends that lie: in shared memory, about bells, on their channels. Each
loses its process or gets an error; the hub's other ports lose nothing, and the
daemon that meets all of them in turn keeps no descriptor and no process."""

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
import time

import pytest

from kit.daemon import Daemon, alive
from kit.deadline import until
from kit.qmp import QmpError
from kit.wire import Stream, frame

CHANNEL = "fault:broke the rules of its channel"
BELL = "fault:closed its bell, or broke its rules"
ENDS = {
    "prod-ahead": "fault:tx-ring",
    "prod-misaligned": "fault:tx-ring",
    "prod-wild": "fault:tx-ring",
    "prod-back": "fault:tx-ring",
    "len-zero": "fault:tx-ring",
    "len-short": "fault:tx-ring",
    "len-huge": "fault:tx-ring",
    "len-beyond": "fault:tx-ring",
    "flags-unknown": "fault:tx-ring",
    "pad-misplaced": "fault:tx-ring",
    "cons-ahead": "fault:rx-ring",
    "cons-misaligned": "fault:rx-ring",
    "cons-back": "fault:rx-ring",
    "bell-shut": BELL,
    "bell-close": BELL,
    "bell-long": BELL,
    "bell-empty": BELL,
    "control-garbage": CHANNEL,
    "control-bomb": CHANNEL,
    "control-deep": CHANNEL,
    "control-oversize": CHANNEL,
    "control-direction": CHANNEL,
    "control-order": CHANNEL,
    "control-twice": CHANNEL,
    "control-reconnect": CHANNEL,
    "control-shut": "fault:closed its channel",
    "launcher-garbage": "signal:9",
    "launcher-spawn": "signal:9",
    "abort": "signal:6",
}
# the kernel says no; what the attempt got
REFUSED = {
    "truncate-own": "EPERM",
    "truncate-peer": "EINVAL",
    "write-peer": "EACCES",
    "protect-peer": "EACCES",
}
# it goes on, and harms itself only
HARMLESS = ["punch-own", "changing", "bell-flood", "bell-fds", "bell-block",
            "control-unasked", "control-fds", "control-flood"]
NEVER_UP = ["hello-hash", "hello-role", "hello-exit", "ready-exit",
            "ready-garbage"]
SLOW = ["hello-never", "ready-never"]
HUNG = ["silent", "busy"]


@pytest.fixture(scope="module")
def programs(build):
    """A libexec folder in which the liar stands for `dump`."""
    liar = os.path.join(build, "tests", "hostile", "hostile_backend")
    if not os.path.exists(liar):
        pytest.skip("hostile_backend is not built")
    folder = tempfile.mkdtemp(prefix="bh-libexec-", dir="/tmp")
    os.chmod(folder, 0o755)
    for name in os.listdir(os.path.join(build, "libexec")):
        source = liar if name == "bulkhead-dump" else \
            os.path.join(build, "libexec", name)
        shutil.copy(source, os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), stat.S_IRWXU | 0o055)
    yield folder, subprocess.run([liar, "--list"], check=True, text=True,
                                 capture_output=True).stdout.split()
    shutil.rmtree(folder)


class Arena:
    """One daemon; two honest ports of a hub, and room for one liar."""

    def __init__(self, build, libexec):
        self.daemon = Daemon(build, "--libexec", libexec, "-nodefaults")
        self.qmp = self.daemon.qmp()
        self.ends = [self.plug(n) for n in "ab"]
        self.serial = 0
        # the second lane is the spare; others are on their way out
        self.usual = ["broker", "lane", "lane", "socket", "socket"]
        until(lambda: self.roles() == self.usual, 10, "calm")

    def plug(self, name):
        path = self.daemon.path(name + ".sock")
        self.qmp.cmd("netdev_add", type="socket", id=name, listen=path)
        self.qmp.cmd("netdev_add", type="hubport", id="p-" + name, hubid=0,
                     netdev=name)
        end = Stream.connect(path)
        self.qmp.event("NETDEV_STREAM_CONNECTED", netdev_id=name)
        return end

    def add(self, lie):
        self.qmp.cmd("netdev_add", type="dump", id=lie,
                     file=self.daemon.path("capture"))
        self.qmp.cmd("netdev_add", type="hubport", id="p-x", hubid=0, netdev=lie)

    @contextlib.contextmanager
    def liar(self, lie):
        """One liar on the hub; gone afterwards, so the next test stands alone."""
        self.add(lie)
        try:
            yield
        finally:
            self.remove(lie)

    def remove(self, lie):
        self.qmp.cmd("netdev_del", id="p-x")
        self.qmp.cmd("netdev_del", id=lie)
        until(lambda: self.roles() == self.usual, 10, f"end of {lie}")

    def roles(self):
        return sorted(b["role"] for b in self.qmp.cmd("query-backends"))

    def well(self, count=300, size=600):
        """Both honest ends hear each other: every frame, once, in order."""
        a, b = self.ends
        for source, target in ((a, b), (b, a)):
            first = self.serial = self.serial + count
            source.send(*(frame(first + i, size) for i in range(count)))
            assert target.numbers(count, 20) == \
                list(range(first, first + count))

    def all_started(self):
        backends = self.qmp.cmd("query-backends")
        return backends if all("pid" in b for b in backends) else None

    def descriptors(self):
        """How many the launcher, and each process that stays, has open."""
        found = [("launcher", len(os.listdir(
            f"/proc/{self.daemon.proc.pid}/fd")))]
        for b in until(self.all_started, 10, "every process has started"):
            found.append((b["role"], len(os.listdir(f"/proc/{b['pid']}/fd"))))
        return sorted(found)


@pytest.fixture(scope="module")
def arena(build, programs):
    a = Arena(build, programs[0])
    a.well()
    yield a
    a.daemon.stop()


def test_each_lie_is_in_this_file(programs):
    assert sorted([*ENDS, *REFUSED, *HARMLESS, *NEVER_UP, *SLOW, *HUNG]) == \
        sorted(programs[1])


@pytest.mark.parametrize("lie", ENDS)
def test_liar_loses_its_process_and_others_lose_nothing(arena, lie):
    with arena.liar(lie):
        for _ in range(3):
            arena.well()
        exited = arena.qmp.event("BACKEND_EXITED", id=lie)
        assert exited["cause"] == ENDS[lie]
        arena.well()
        again = arena.qmp.event("BACKEND_RESTARTED", id=lie)
        assert again["epoch"] == exited["epoch"] + 1
        arena.well()


@pytest.mark.parametrize("lie", REFUSED)
def test_kernel_refuses(arena, lie):
    with arena.liar(lie):
        notice = arena.qmp.event("BACKEND_NOTICE", id=lie)
        assert notice["text"] == f"{lie}: {REFUSED[lie]}"
        arena.well()


@pytest.mark.parametrize("lie", HARMLESS)
def test_liar_harms_only_itself(arena, lie):
    with arena.liar(lie):
        for _ in range(10):
            arena.well()


@pytest.mark.parametrize("lie", NEVER_UP)
def test_netdev_add_fails_and_leaves_nothing(arena, lie):
    with pytest.raises(QmpError, match=f"'{lie}'.*before it was ready"):
        arena.add(lie)
    assert [n["id"] for n in arena.qmp.cmd("query-netdevs")
            if n["id"] == lie] == []
    arena.well()


@pytest.mark.parametrize("lie", HUNG)
def test_hung_backend_is_found_when_its_ring_is_full(arena, lie):
    with arena.liar(lie):
        # it hangs soon; then its ring fills up, and the others still get all
        end = time.monotonic() + 15
        while time.monotonic() < end and not any(
                e["event"] == "BACKEND_EXITED" and e["data"]["id"] == lie
                for e in arena.qmp.events):
            arena.well(count=1000, size=1500)
            arena.qmp.cmd("query-name")
        exited = arena.qmp.event("BACKEND_EXITED", seconds=1, id=lie)
        assert exited["cause"] == "deadline:ping"
        arena.well()


def test_silent_starters_time_out(arena):
    """Both at once: the sessions do not wait for each other."""
    sessions = [(arena.daemon.qmp(), lie) for lie in SLOW]
    for session, lie in sessions:
        session.pending = session.start(
            "netdev_add", type="dump", id=lie, file=arena.daemon.path(lie))
    arena.well()
    for session, lie in sessions:
        with pytest.raises(QmpError, match="deadline"):
            session.finish(session.pending, 15)
    arena.well()


def test_nothing_is_left_behind(arena):
    before = arena.descriptors()
    for lie in ("prod-ahead", "bell-close", "control-fds", "hello-exit"):
        for _ in range(5):
            try:
                arena.add(lie)
            except QmpError:
                continue
            if lie in ENDS:
                arena.qmp.event("BACKEND_EXITED", id=lie)
            arena.remove(lie)
    until(lambda: arena.descriptors() == before, 10)
    running = {b["pid"] for b in arena.qmp.cmd("query-backends")}
    until(lambda: {p for p in arena.daemon.processes() if alive(p)} >= running
          and len(arena.daemon.processes()) <= len(running) + 1, 10)
    arena.well()
