"""What dies is reported and replaced; streams resume; others lose nothing."""

import os
import signal
import threading

import pytest

from kit.daemon import alive
from kit.deadline import until
from kit.wire import Listener, Stream, frame, plug, relay


def process(session, name):
    """query-backends' entry of one process."""
    return [b for b in session.cmd("query-backends") if b["id"] == name][0]


def lane_of(session, hub):
    return [h for h in session.cmd("query-hubs") if h["hubid"] == hub][0]["lane"]


def kill_and_wait(session, name, signo=signal.SIGKILL):
    """Kill a process; returns the two events."""
    before = process(session, name)
    os.kill(before["pid"], signo)
    exited = session.event("BACKEND_EXITED", id=name)
    again = session.event("BACKEND_RESTARTED", id=name)
    assert exited["epoch"] == before["epoch"]
    assert exited["cause"] == f"signal:{int(signo)}"
    # a lane's successor is the spare one, with an epoch of its own
    assert before["role"] == "lane" or again["epoch"] == before["epoch"] + 1
    assert 0 < again["outage-us"] < 5_000_000
    now = process(session, name)
    assert now["pid"] != before["pid"] and not alive(before["pid"])
    assert now["restarts"] == before["restarts"] + 1
    assert now["layers"] == before["layers"]
    return exited, again


class Traffic:
    """A steady stream of numbered frames from one end to another."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.heard, self.sent = [], 0
        self.stop_asked = threading.Event()
        self.threads = [threading.Thread(target=self.send),
                        threading.Thread(target=self.hear)]
        for t in self.threads:
            t.start()

    def send(self):
        while not self.stop_asked.is_set():
            self.source.send(*(frame(self.sent + i, 600) for i in range(32)))
            self.sent += 32
            self.stop_asked.wait(0.001)  # the rate, not a synchronisation
        self.source.send(frame(1 << 40))

    def hear(self):
        while True:
            n = self.target.numbers(1, 30)[0]
            if n == 1 << 40:
                return
            self.heard.append(n)

    def end(self):
        """Stop; returns the numbers that never came."""
        self.stop_asked.set()
        for t in self.threads:
            t.join(40)
        assert self.heard == sorted(set(self.heard))
        return sorted(set(range(self.sent)) - set(self.heard))


def test_backend_death_is_reported_and_mended(qmp):
    a, b = plug(qmp, 0, "a", "b")
    kill_and_wait(qmp, "a")
    assert a.closed()
    # the listening socket was kept: the same path answers
    a = Stream.connect(qmp.daemon.path("a.sock"))
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="a")
    a.send(frame(1))
    assert b.numbers(1) == [1]
    b.send(frame(2))
    assert a.numbers(1) == [2]
    assert "signal:9" in process(qmp, "a")["last-exit"]


def test_others_lose_nothing_when_a_backend_dies(qmp):
    a, b, c = plug(qmp, 0, "a", "b", "c")
    other = plug(qmp, 1, "x", "y")
    here, there = Traffic(a, b), Traffic(*other)
    for _ in range(3):
        until(lambda start=here.sent: here.sent > start + 1000, 10)
        kill_and_wait(qmp, "c")
    until(lambda start=here.sent: here.sent > start + 1000, 10)
    assert here.end() == [] and there.end() == []
    assert c.closed()


@pytest.fixture
def lanes(bulkhead):
    """A session with a daemon in which two netdevs need a lane, too."""
    daemon = bulkhead("-nodefaults", "--crossover=off")
    session = daemon.qmp()
    session.daemon = daemon
    return session


def test_lane_death_loses_nothing(lanes):
    """The new lane continues at the published positions; it may repeat the
    last batch."""
    a, b = plug(lanes, 0, "a", "b")
    other = plug(lanes, 1, "x", "y")
    there = Traffic(*other)
    count, kills = 60000, []

    def kill(heard):
        if heard > count // 4 * (len(kills) + 1):
            kills.append(kill_and_wait(lanes, lane_of(lanes, 0)))
    heard = relay(a, b, count, 600, between=kill)
    assert len(kills) == 3
    assert sorted(set(heard)) == list(range(count))
    assert len(heard) - count < 3 * 1024
    assert there.end() == []


def test_a_lane_is_mended_when_idle_too(lanes):
    a, b = plug(lanes, 0, "a", "b")
    for turn in range(5):
        kill_and_wait(lanes, lane_of(lanes, 0))
        a.send(frame(turn))
        # the last batch may come twice
        until(lambda n=turn: b.numbers(1) == [n], 10, f"frame {turn}")


def test_reconnecting_backend_comes_back_by_itself(qmp, closing):
    path = qmp.daemon.path("far")
    far = closing(Listener(path))
    qmp.cmd("netdev_add", type="socket", id="s", connect=path)
    qmp.cmd("netdev_add", type="hubport", id="p-s", hubid=0, netdev="s")
    (post,) = plug(qmp, 0, "post")
    end = far.accept()
    kill_and_wait(qmp, "s")
    end.close()
    end = closing(far.accept())
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="s")
    post.send(frame(1))
    assert end.numbers(1) == [1]


def test_dump_does_not_lose_its_file(qmp):
    """The next process goes on in the same capture."""
    (a,) = plug(qmp, 0, "a")
    path = qmp.daemon.path("d.pcap")
    qmp.cmd("netdev_add", type="dump", id="d", file=path)
    qmp.cmd("netdev_add", type="hubport", id="p-d", hubid=0, netdev="d")
    a.send(*(frame(i) for i in range(100)))
    until(lambda: os.path.getsize(path) == 24 + 100 * 76, 5, "100 records")
    kill_and_wait(qmp, "d")
    a.send(*(frame(i) for i in range(50)))
    until(lambda: os.path.getsize(path) == 24 + 150 * 76, 5, "150 records")


def test_death_by_abort(qmp):
    """As a failed assertion dies. (As first process of its pid namespace it
    does not hear the usual signals from outside.)"""
    plug(qmp, 0, "a")
    kill_and_wait(qmp, "a", signal.SIGABRT)


def test_a_stopped_process_is_found_and_replaced(qmp):
    """It hangs: suspicion, ping, deadline, SIGABRT, SIGKILL."""
    a, b, c = plug(qmp, 0, "a", "b", "c")
    os.kill(process(qmp, "c")["pid"], signal.SIGSTOP)
    heard = Traffic(a, b)
    qmp.event("BACKEND_EXITED", id="c", seconds=30)
    qmp.event("BACKEND_RESTARTED", id="c", seconds=30)
    assert heard.end() == []
    assert c.closed()


@pytest.mark.seconds(120)
def test_quarantine_and_resume(qmp):
    """Ten quick deaths in a row, then no more until an operator says so."""
    plug(qmp, 0, "a")
    deaths = 0
    while True:
        os.kill(process(qmp, "a")["pid"], signal.SIGKILL)
        exited = qmp.event("BACKEND_EXITED", id="a")
        deaths += 1
        if "restart-ms" not in exited:
            break
        assert deaths < 10
        qmp.event("BACKEND_RESTARTED", id="a", seconds=40)
    assert qmp.event("BACKEND_QUARANTINED", id="a")["deaths"] == deaths == 10
    assert qmp.netdev("a")["state"] == "quarantined"
    qmp.cmd("backend-resume", id="a")
    assert qmp.event("BACKEND_RESTARTED", id="a")
    assert "pid" in process(qmp, "a")


def test_resume_of_what_is_well_is_refused(qmp):
    plug(qmp, 0, "a")
    assert "a" in qmp.refused("backend-resume", id="a").desc
    assert qmp.refused("backend-resume", id="zz").cls == "DeviceNotFound"


def test_death_in_the_middle_of_commands(qmp):
    """Killed at random moments of add and del: never a half-made netdev."""
    stop = threading.Event()

    def murder():
        while not stop.is_set():
            for pid in qmp.daemon.processes():
                try:
                    comm = open(f"/proc/{pid}/comm", encoding="ascii").read()
                    if comm.startswith("bulkhead-socket"):
                        os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            stop.wait(0.002)
    thread = threading.Thread(target=murder)
    thread.start()
    try:
        for i in range(40):
            try:
                qmp.cmd("netdev_add", type="socket", id="s",
                        listen=qmp.daemon.path("s.sock"))
            except Exception:
                assert qmp.cmd("query-netdevs") == []
                continue
            qmp.cmd("netdev_del", id="s")
    finally:
        stop.set()
        thread.join()
    assert qmp.cmd("query-netdevs") == []
    qmp.cmd("netdev_add", type="socket", id="s", listen=qmp.daemon.path("s.sock"))


def test_conservation(qmp):
    """Every frame received is delivered or counted with a reason."""
    a, b, c = plug(qmp, 0, "a", "b", "c")
    count = 30000
    assert relay(a, b, count, 300) == list(range(count))
    qmp.cmd("set_link", name="b", up=False)
    a.send(*(frame(i) for i in range(100)))
    until(lambda: qmp.counters("a")["tx-frames"] == count + 100, 10)
    qmp.cmd("set_link", name="a", up=False)
    a.send(*(frame(i) for i in range(50)))

    def balance():
        of_a, of_b, of_c = (qmp.counters(n) for n in "abc")
        return (of_a["in-frames"] == of_a["tx-frames"] == count + 150
                and of_a["tx-drop-link-down"] == 50
                and of_b["rx-frames"] == of_b["out-frames"] == count
                and of_c["rx-frames"] + of_c["rx-drop-full"] == count + 100)
    until(balance, 10, "the sums")
    assert c.sock
