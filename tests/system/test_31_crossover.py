"""Crossovers: two netdevs that are alone on a hub, without a lane between them.
Frames keep their order and none is lost, whatever begins and ends one."""

import os
import signal
import threading
import time

import pytest

from kit.deadline import until
from kit.wire import Stream, frame, plug, relay

COUNT = 20000


def other(session, name):
    return session.netdev(name).get("crossover")


def crossed(session, one="a", two="b"):
    until(lambda: other(session, one) == two, 10, "a crossover")
    assert other(session, two) == one


def pid(session, name):
    return next(b["pid"] for b in session.cmd("query-backends")
                if b["id"] == name)


def everything_arrives(source, target, between):
    """Both ways at once; `between` is called every now and then."""
    heard = {}

    def run(one, two, what):
        heard[what] = relay(one, two, COUNT, 300, between=what)
    back = threading.Thread(target=run, args=(target, source, None))
    back.start()
    run(source, target, between)
    back.join()
    for numbers in heard.values():
        assert numbers == list(range(COUNT))


def test_two_alone_are_connected_and_counted(qmp):
    a, b = plug(qmp, 0, "a", "b")
    relay(a, b, 100)
    crossed(qmp)
    relay(a, b, 1000)
    relay(b, a, 500)
    one, two = qmp.counters("a"), qmp.counters("b")
    assert (one["tx-frames"], one["rx-frames"]) == (1100, 500)
    assert (two["tx-frames"], two["rx-frames"]) == (500, 1100)
    assert one["tx-bytes"] == two["rx-bytes"] == 1100 * 60
    qmp.cmd("set_link", name="a", up=False)
    assert other(qmp, "a") is None
    one, two = qmp.counters("a"), qmp.counters("b")
    assert (one["tx-frames"], one["rx-frames"]) == (1100, 500)
    assert (two["tx-frames"], two["rx-frames"]) == (500, 1100)


def test_a_link_that_is_down_is_down(qmp):
    """From the answer on, also when frames went past the lane before."""
    a, b = plug(qmp, 0, "a", "b")
    for name in ("a", "b", "p-a"):
        crossed(qmp)
        qmp.cmd("set_link", name=name, up=False)
        a.send(frame(1))
        b.send(frame(2))
        assert a.silent(0.1) and b.silent(0.1)
        qmp.cmd("set_link", name=name, up=True)
        a.send(frame(3))
        assert b.numbers(1) == [3]


def test_a_third_one_hears_all_from_the_answer_on(qmp):
    a, b = plug(qmp, 0, "a", "b")
    for turn in range(3):
        crossed(qmp)
        (c,) = plug(qmp, 0, f"c{turn}")
        a.send(frame(turn))
        b.send(frame(turn + 10))
        assert sorted(c.numbers(2)) == [turn, turn + 10]
        assert b.numbers(1) == [turn] and a.numbers(1) == [turn + 10]
        qmp.cmd("netdev_del", id=f"c{turn}")
        c.close()
    crossed(qmp)


def test_nothing_is_lost_when_it_comes_and_goes(qmp):
    """A third port, with nobody behind it, ends it again and again."""
    a, b = plug(qmp, 0, "a", "b")
    state, changes = {"third": False}, []

    def change(heard):
        if heard < COUNT * (len(changes) + 1) // 12:
            return
        if not state["third"]:
            crossed(qmp)
            qmp.cmd("netdev_add", type="socket", id="c",
                    listen=qmp.daemon.path("c.sock"))
            qmp.cmd("netdev_add", type="hubport", id="p-c", hubid=0,
                    netdev="c")
        else:
            qmp.cmd("netdev_del", id="p-c")
            qmp.cmd("netdev_del", id="c")
        state["third"] = not state["third"]
        changes.append(other(qmp, "a"))
    everything_arrives(a, b, change)
    assert len(changes) >= 10 and set(changes) == {None}
    one, two = qmp.counters("a"), qmp.counters("b")
    for counters in (one, two):
        assert counters["tx-frames"] == counters["rx-frames"] == COUNT
        assert counters["rx-bytes"] == COUNT * 300


def test_the_lane_does_not_matter_to_it(qmp):
    a, b = plug(qmp, 0, "a", "b")
    crossed(qmp)
    kills = []

    def kill(heard):
        if heard < COUNT * (len(kills) + 1) // 4:
            return
        lane = qmp.cmd("query-hubs")[0]["lane"]
        os.kill(pid(qmp, lane), signal.SIGKILL)
        kills.append(qmp.event("BACKEND_RESTARTED", id=lane))
    everything_arrives(a, b, kill)
    assert len(kills) >= 3 and other(qmp, "a") == "b"


def test_frames_of_the_dead_are_counted(qmp):
    """What lies unread in a process that dies is told, by the one that lives."""
    a, b = plug(qmp, 0, "a", "b")
    crossed(qmp)
    relay(a, b, 100)
    os.kill(pid(qmp, "b"), signal.SIGSTOP)
    a.send(*(frame(n) for n in range(50)))
    until(lambda: qmp.counters("a")["tx-frames"] == 150, 10, "all frames")
    os.kill(pid(qmp, "b"), signal.SIGKILL)
    assert qmp.event("BACKEND_RESTARTED", id="b")["dropped-frames"] == 50
    two = qmp.counters("b")
    assert (two["rx-frames"], two["rx-drop-dead"]) == (100, 50)
    assert two["rx-bytes"] == 100 * 60
    assert qmp.counters("a")["tx-frames"] == 150


def test_one_that_hangs_delays_no_command(qmp):
    """It is not waited for, and does not live on without an answer."""
    a, b = plug(qmp, 0, "a", "b")
    crossed(qmp)
    os.kill(pid(qmp, "b"), signal.SIGSTOP)
    begin = time.monotonic()
    qmp.cmd("set_link", name="a", up=False)
    assert time.monotonic() - begin < 0.5
    assert qmp.event("BACKEND_EXITED", id="b")["cause"] == "deadline:uncross"
    qmp.event("BACKEND_RESTARTED", id="b")
    qmp.cmd("set_link", name="a", up=True)
    b = Stream.connect(qmp.daemon.path("b.sock"))
    relay(a, b, 100)


@pytest.mark.parametrize("dies", ("a", "b"))
def test_who_dies_comes_back_to_it(qmp, dies):
    a, b = plug(qmp, 0, "a", "b")
    for turn in range(3):
        crossed(qmp)
        os.kill(pid(qmp, dies), signal.SIGKILL)
        qmp.event("BACKEND_RESTARTED", id=dies)
        end = Stream.connect(qmp.daemon.path(dies + ".sock"))
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id=dies)
        a, b = (end, b) if dies == "a" else (a, end)
        relay(a, b, 100, first=1000 * turn)
        relay(b, a, 100, first=1000 * turn)


def test_deletion_goes_on_with_the_other(qmp):
    a, _ = plug(qmp, 0, "a", "b")
    for turn in range(3):
        crossed(qmp)
        qmp.cmd("netdev_del", id="b")
        qmp.cmd("netdev_del", id="p-b")
        (b,) = plug(qmp, 0, "b")
        relay(a, b, 100, first=1000 * turn)


def test_the_switch(bulkhead):
    daemon = bulkhead("-nodefaults", "--crossover=off")
    session = daemon.qmp()
    session.daemon = daemon
    a, b = plug(session, 0, "a", "b")
    for turn in range(5):
        relay(a, b, 1000, first=10000 * turn)
        assert a.silent(0.1)
        assert other(session, "a") is None
    assert session.counters("b")["rx-frames"] == 5000
