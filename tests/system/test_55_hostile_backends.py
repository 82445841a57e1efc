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
    "filter-count": CHANNEL,
    "filter-huge": CHANNEL,
    "filter-wide": CHANNEL,
    "filter-vlans": CHANNEL,
    "filter-flood": CHANNEL,
    "state-pairs": CHANNEL,
    "state-flood": CHANNEL,
    "connect-flood": CHANNEL,
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
            "control-unasked", "control-fds", "control-flood",
            "filter-churn", "filter-nothing", "answer-unasked", "view-others"]
# at a crossover with an honest one: what becomes of the liar's process
CROSSED = {
    "cross-prod": None,
    "cross-record": None,
    "cross-cons": None,
    "cross-bells": None,
    "cross-shut": None,
    "cross-idle": None,
    "cross-stays": "deadline:uncross",
    "cross-blames": None,
    "cross-others": None,
    "cross-early": CHANNEL,
}
# asked to view the arena of a large hub: what becomes of the liar's process
VIEWED = {"view-twice": CHANNEL, "view-never": None}
ASKED = {"answer-often": None, "answer-never": None, "answer-garbage": CHANNEL}
NEVER_UP = ["hello-hash", "hello-role", "hello-exit", "ready-exit",
            "ready-garbage", "filter-early"]
SLOW = ["hello-never", "ready-never"]
HUNG = ["silent", "busy"]


def type_of(lie):
    """Some lies are a network card's."""
    card = lie.split("-")[0] in ("filter", "state", "connect", "answer")
    return "nic" if card else "dump"


@pytest.fixture(scope="module")
def programs(build):
    """A libexec folder in which the liar stands for `dump` and `nic`."""
    liar = os.path.join(build, "tests", "hostile", "hostile_backend")
    if not os.path.exists(liar):
        pytest.skip("hostile_backend is not built")
    folder = tempfile.mkdtemp(prefix="bh-libexec-", dir="/tmp")
    os.chmod(folder, 0o755)
    for name in os.listdir(os.path.join(build, "libexec")):
        source = liar if name in ("bulkhead-dump", "bulkhead-nic") else \
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

    def add(self, lie, type_=None):
        type_ = type_ or type_of(lie)
        where = {"file": self.daemon.path("capture")} if type_ == "dump" else {}
        self.qmp.cmd("netdev_add", type=type_, id=lie, **where)
        self.qmp.cmd("netdev_add", type="hubport", id="p-x", hubid=0, netdev=lie)

    @contextlib.contextmanager
    def liar(self, lie, type_=None):
        """One liar on the hub; gone afterwards, so the next test stands alone."""
        self.add(lie, type_)
        try:
            yield
        finally:
            self.remove(lie)

    def remove(self, lie):
        self.qmp.cmd("netdev_del", id="p-x")
        self.qmp.cmd("netdev_del", id=lie)
        until(lambda: self.roles() == self.usual, 10, f"end of {lie}")

    @contextlib.contextmanager
    def crowd(self, names):
        """So many more honest ones on the hub, for a while."""
        more = [self.plug(n) for n in names]
        try:
            yield more
        finally:
            for name, end in zip(names, more):
                self.qmp.cmd("netdev_del", id="p-" + name)
                self.qmp.cmd("netdev_del", id=name)
                end.close()
            until(lambda: self.roles() == self.usual, 10, "calm")

    def crossed(self, one, other):
        return self.qmp.netdev(one).get("crossover") == other

    def restarts(self, name):
        return next(b["restarts"] for b in self.qmp.cmd("query-backends")
                    if b["id"] == name)

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
    assert sorted([*ENDS, *REFUSED, *HARMLESS, *CROSSED, *VIEWED, *ASKED,
                   *NEVER_UP, *SLOW, *HUNG]) == sorted(programs[1])


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


@pytest.mark.parametrize("lie", CROSSED)
def test_liar_at_a_crossover(arena, lie):
    """Its honest neighbour keeps its process, sends on, and hears who comes
    after the liar; two others hear nothing of it."""
    qmp, path = arena.qmp, arena.daemon.path("honest.sock")
    qmp.cmd("netdev_add", type="socket", id="honest", listen=path)
    qmp.cmd("netdev_add", type="hubport", id="p-honest", hubid=9,
            netdev="honest")
    end = Stream.connect(path)
    qmp.cmd("netdev_add", type="dump", id=lie, file=arena.daemon.path("capture"))
    qmp.cmd("netdev_add", type="hubport", id="p-x", hubid=9, netdev=lie)
    until(lambda: arena.crossed("honest", lie), 10, "a crossover")
    for i in range(30):
        end.send(*(frame(i * 200 + k, 1000) for k in range(200)))
        arena.well()
    if CROSSED[lie]:
        qmp.cmd("set_link", name=lie, up=False)
        exited = qmp.event("BACKEND_EXITED", id=lie)
        assert exited["cause"].endswith(CROSSED[lie])
    qmp.cmd("netdev_del", id="p-x")
    qmp.cmd("netdev_del", id=lie)
    until(lambda: qmp.netdev("honest").get("crossover") is None, 5, "its end")
    assert qmp.netdev("honest")["state"] == "running"
    assert arena.restarts("honest") == 0
    third = arena.daemon.path("third.sock")
    qmp.cmd("netdev_add", type="socket", id="third", listen=third)
    qmp.cmd("netdev_add", type="hubport", id="p-third", hubid=9, netdev="third")
    other = Stream.connect(third)
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="third")
    end.rest()
    for source, target in ((end, other), (other, end)):
        source.send(*(frame(k, 500) for k in range(400)))
        assert target.numbers(400, 20) == list(range(400))
    for name in ("honest", "third"):
        qmp.cmd("netdev_del", id="p-" + name)
        qmp.cmd("netdev_del", id=name)
    for each in (end, other):
        each.close()
    until(lambda: arena.roles() == arena.usual, 10, "calm")


@pytest.mark.parametrize("lie", [*VIEWED, "honest"])
def test_liar_at_an_arena(arena, lie):
    """It is no viewer; who is honest views, and loses nothing."""
    with arena.crowd("cde") as more:
        arena.add(lie, "dump")
        if VIEWED.get(lie):
            exited = arena.qmp.event("BACKEND_EXITED", id=lie)
            assert exited["cause"] == VIEWED[lie]
        until(lambda: all(arena.qmp.netdev(n)["arena"] for n in "abcde"), 10,
              "an arena for the honest")
        for _ in range(3):
            arena.well()
            for end in more:
                assert end.numbers(600, 20)[-1] == arena.serial + 299
        assert not arena.qmp.netdev(lie)["arena"]
        for name in ("p-x", lie):
            arena.qmp.cmd("netdev_del", id=name)
    assert arena.restarts("a") == 0


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


@pytest.mark.parametrize("lie", ["filter-nothing", "answer-unasked"])
def test_only_cards_tell_of_filters(arena, lie):
    """An answer to no question is heard of nobody; a report is one's end."""
    with arena.liar(lie, "dump"):
        if lie == "filter-nothing":
            exited = arena.qmp.event("BACKEND_EXITED", id=lie)
            assert exited["cause"] == CHANNEL
        arena.well()


def test_a_card_that_changes_without_end_is_one_event(arena):
    arena.qmp.drop_events("NIC_RX_FILTER_CHANGED")  # of others before
    with arena.liar("filter-churn"):
        for _ in range(2):
            arena.qmp.event("NIC_RX_FILTER_CHANGED", name="filter-churn")
            for _ in range(5):
                arena.well()
            assert arena.qmp.drop_events("NIC_RX_FILTER_CHANGED") == 0
            # The question arms it, and is answered among the reports.
            told, = arena.qmp.cmd("query-rx-filter", name="filter-churn")
            assert not told["promiscuous"]


@pytest.mark.parametrize("lie", ASKED)
def test_a_card_that_is_asked_for_its_filter_holds_nobody(arena, lie):
    with arena.liar(lie):
        asked = time.monotonic()
        told, = arena.qmp.cmd("query-rx-filter", name=lie)
        assert time.monotonic() - asked < 10
        assert told["name"] == lie
        assert told["promiscuous"] == (lie != "answer-often")
        arena.well()
        if ASKED[lie]:
            exited = arena.qmp.event("BACKEND_EXITED", id=lie)
            assert exited["cause"] == ASKED[lie]
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
          and len(arena.daemon.processes()) <= len(running) + 2, 10)
    arena.well()
