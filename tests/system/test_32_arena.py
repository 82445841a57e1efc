"""The arena of a hub of many: a frame is written once, and those who view the
arena find it there. Nobody sees what is not for it, and nothing is lost,
doubled or damaged, whatever becomes of ports, lanes and peers."""

import os
import random
import signal
import socket
import threading
import time

import pytest

from kit.deadline import until
from kit.wire import Stream, frame, number, plug

NAMES = ("a", "b", "c", "d", "e", "f")
SIZE = 1514


def views(session, name):
    return session.netdev(name)["arena"]


def shared(session, *names):
    until(lambda: all(views(session, n) for n in names or NAMES), 10,
          "an arena for all")


def pid(session, name):
    return next(b["pid"] for b in session.cmd("query-backends")
                if b["id"] == name)


def lane_of(session):
    return session.cmd("query-hubs")[0]["lane"]


def flood(source, targets, count, first=0, size=SIZE, between=None, window=200):
    """Numbered frames from one to all others, each checked byte for byte."""
    heard = [0] * len(targets)
    sent = 0
    while min(heard) < count:
        more = min(window - (sent - min(heard)), count - sent)
        if more > 0:
            source.send(*(frame(first + sent + i, size) for i in range(more)))
            sent += more
        for i, target in enumerate(targets):
            while heard[i] < sent:
                data = target.recv(20)
                if data[12:14] != b"\x88\xb5":
                    continue
                assert data == frame(first + heard[i], size)
                heard[i] += 1
        if between:
            between(sent)
    return sent


def test_frames_are_shared_and_whole(qmp):
    ends = plug(qmp, 0, *NAMES)
    flood(ends[0], ends[1:], 500)
    shared(qmp)
    before = qmp.counters("b")["rx-shared"]
    for size in (60, 200, SIZE, 9000):
        flood(ends[1], ends[:1] + ends[2:], 2000, size=size,
              window=min(200, 200000 // size))
    for name in "acdef":
        counters = qmp.counters(name)
        assert counters["rx-shared"] > 2000
        assert counters["rx-drop-full"] == counters["rx-drop-dead"] == 0
    assert qmp.counters("b")["rx-shared"] == before
    assert qmp.counters("b")["tx-frames"] == 8000
    assert qmp.counters("c")["rx-frames"] == 8500


def test_it_takes_five(qmp):
    ends = plug(qmp, 0, *NAMES[:4])
    flood(ends[0], ends[1:], 500)
    (fifth,) = plug(qmp, 0, "e")
    shared(qmp, *NAMES[:5])
    flood(ends[0], ends[1:] + [fifth], 500)
    assert qmp.counters("b")["rx-shared"] > 0
    qmp.cmd("netdev_del", id="e")
    assert not views(qmp, "a")
    flood(ends[0], ends[1:], 500)


def test_a_link_that_is_down_sees_nothing_more(qmp):
    """From the answer on, and all others hear everything, in order."""
    ends = plug(qmp, 0, *NAMES)
    for turn in range(3):
        shared(qmp)
        flood(ends[0], ends[1:], 300, first=10000 * turn)
        qmp.cmd("set_link", name="f", up=False)
        assert not views(qmp, "f")
        flood(ends[0], ends[1:5], 300, first=10000 * turn + 5000)
        assert ends[5].silent(0.05)
        # Five are left: an arena of theirs, which f has no part in.
        shared(qmp, *NAMES[:5])
        assert not views(qmp, "f")
        flood(ends[0], ends[1:5], 300, first=10000 * turn + 7000)
        assert ends[5].silent(0.05)
        qmp.cmd("set_link", name="f", up=True)


def test_other_netdevs_view_it_too(qmp, bulkhead):
    """A capture reads it; what it wrote is what was sent."""
    path = qmp.daemon.path("all.pcap")
    ends = plug(qmp, 0, *NAMES[:4])
    qmp.cmd("netdev_add", type="dump", id="cap", file=path)
    qmp.cmd("netdev_add", type="hubport", id="p-cap", hubid=0, netdev="cap")
    shared(qmp, "a", "b", "c", "d", "cap")
    flood(ends[0], ends[1:], 1000)
    assert qmp.counters("cap")["rx-shared"] > 0
    until(lambda: os.path.getsize(path) >= 24 + 1000 * (16 + SIZE), 10,
          "the whole capture")
    with open(path, "rb") as file:
        data = file.read()
    at = 24
    for i in range(1000):
        assert data[at + 16:at + 16 + SIZE] == frame(i, SIZE)
        at += 16 + SIZE


@pytest.mark.parametrize("family", ("unix", "tcp", "given"))
def test_every_kind_of_stream(qmp, family):
    ends = plug(qmp, 0, *NAMES[:4])
    if family == "unix":
        (last,) = plug(qmp, 0, "e")
    elif family == "tcp":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        qmp.cmd("netdev_add", type="socket", id="e", listen=f"127.0.0.1:{port}")
        qmp.cmd("netdev_add", type="hubport", id="p-e", hubid=0, netdev="e")
        last = Stream.connect(("127.0.0.1", port))
    else:
        ours, theirs = socket.socketpair()
        qmp.cmd("getfd", fd_=theirs.fileno(), fdname="pair")
        theirs.close()
        qmp.cmd("netdev_add", type="socket", id="e", fd="pair")
        qmp.cmd("netdev_add", type="hubport", id="p-e", hubid=0, netdev="e")
        last = Stream(ours)
    shared(qmp, *NAMES[:5])
    flood(ends[0], ends[1:] + [last], 3000)
    assert qmp.counters("e")["rx-shared"] > 1000


def test_who_reads_nothing_takes_nothing_from_others(qmp):
    """It gets copies when it is behind, then loses; the others lose nothing,
    and go on by reference. What it had is right when it reads at last."""
    ends = plug(qmp, 0, *NAMES)
    shared(qmp)
    flood(ends[0], ends[1:5], 8000)
    slow = qmp.counters("f")
    assert slow["rx-drop-full"] > 0
    for name in "bcde":
        counters = qmp.counters(name)
        assert counters["rx-frames"] == 8000 and not counters["rx-drop-full"]
        assert counters["rx-shared"] > 7000
    assert slow["rx-shared"] < 2500
    last = -1
    for _ in range(slow["rx-frames"]):
        data = ends[5].recv()
        n = number(data)
        assert n > last and data == frame(n, SIZE)
        last = n
    assert ends[5].silent(0.1)
    flood(ends[0], ends[1:], 1000, first=20000)
    assert qmp.counters("f")["rx-shared"] > slow["rx-shared"]


def test_a_lane_that_dies_loses_nobody_a_whole_frame(qmp):
    """Those in its hands may come twice; none is lost, none is torn."""
    ends = plug(qmp, 0, *NAMES)
    for turn in range(3):
        shared(qmp)
        stop = threading.Event()
        got = {name: [] for name in NAMES[1:]}

        def listen(numbers, end):
            while not stop.is_set() or numbers[-1:] != [4999]:
                data = end.recv(20)
                n = number(data)
                assert data == frame(n, SIZE)
                numbers.append(n)
                if n == 4999:
                    return
        threads = [threading.Thread(target=listen, args=pair)
                   for pair in zip(got.values(), ends[1:])]
        for thread in threads:
            thread.start()
        for first in range(0, 5000, 50):
            # No more under way than a ring holds: nobody is too slow.
            until(lambda at=first: min(map(len, got.values())) > at - 400, 20,
                  "everybody to keep up")
            ends[0].send(*(frame(n, SIZE) for n in range(first, first + 50)))
            if first == 2500:
                os.kill(pid(qmp, lane_of(qmp)), signal.SIGKILL)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        for numbers in got.values():
            assert sorted(set(numbers)) == list(range(5000))
        qmp.event("BACKEND_RESTARTED", id=lane_of(qmp))


def test_a_backend_that_dies_comes_back_to_it(qmp):
    ends = plug(qmp, 0, *NAMES)
    for turn in range(3):
        shared(qmp)
        state = {"killed": False}

        def kill(sent):
            if sent >= 1000 and not state["killed"]:
                state["killed"] = True
                os.kill(pid(qmp, "f"), signal.SIGKILL)
        flood(ends[0], ends[1:5], 2000, first=10000 * turn, between=kill)
        for name in "bcde":
            counters = qmp.counters(name)
            assert counters["rx-drop-full"] == counters["rx-drop-dead"] == 0
        qmp.event("BACKEND_RESTARTED", id="f")
        ends[5].close()
        ends[5] = Stream.connect(qmp.daemon.path("f.sock"))
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="f")


def test_what_a_socket_holds_stays_as_it_was_sent(qmp):
    """Frames that a peer has not read for long are what they were, although
    much has gone through the arena since."""
    ends = plug(qmp, 0, *NAMES)
    shared(qmp)
    flood(ends[0], ends[1:5], 20, window=20)
    late = [0]

    def drip(sent):
        # Now and then one frame: it is always behind, and never much.
        while late[0] < sent - 60:
            data = ends[5].recv()
            assert data == frame(late[0], SIZE)
            late[0] += 1
    for n in range(20):
        assert ends[5].recv() == frame(n, SIZE)
    flood(ends[0], ends[1:5], 6000, between=drip, window=50)
    while late[0] < 6000:
        assert ends[5].recv() == frame(late[0], SIZE)
        late[0] += 1
    assert qmp.counters("f")["rx-shared"] > 4000


def test_ports_come_and_go_under_load(qmp):
    """Whoever stays hears everything, once and in order."""
    ends = plug(qmp, 0, *NAMES)
    choice = random.Random(7)
    state = {"extra": None, "next": 0, "turn": 0}

    def change(sent):
        if sent < state["next"]:
            return
        state["next"] = sent + choice.randrange(200, 1200)
        if state["extra"]:
            qmp.cmd("netdev_del", id=f"p-{state['extra']}")
            qmp.cmd("netdev_del", id=state["extra"])
            state["extra"] = None
        else:
            state["turn"] += 1
            state["extra"] = f"x{state['turn']}"
            qmp.cmd("netdev_add", type="socket", id=state["extra"],
                    listen=qmp.daemon.path(state["extra"] + ".sock"))
            qmp.cmd("netdev_add", type="hubport", id=f"p-{state['extra']}",
                    hubid=0, netdev=state["extra"])
        if choice.random() < 0.5:
            shared(qmp)
    flood(ends[0], ends[1:], 15000, between=change)
    assert state["turn"] >= 5
    for name in "bcdef":
        counters = qmp.counters(name)
        assert counters["rx-frames"] == 15000
        assert counters["rx-shared"] > 0


def test_a_stopped_viewer_delays_no_command(qmp):
    ends = plug(qmp, 0, *NAMES)
    shared(qmp)
    stopped = pid(qmp, "f")
    os.kill(stopped, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        qmp.cmd("set_link", name="e", up=False)
        qmp.cmd("set_link", name="e", up=True)
        assert time.monotonic() - begin < 1.5
        flood(ends[0], ends[1:5], 1000)
    finally:
        os.kill(stopped, signal.SIGCONT)
    shared(qmp)
    flood(ends[0], ends[1:5], 1000, first=5000)


def test_descriptors_and_memory_do_not_grow(qmp):
    ends = plug(qmp, 0, *NAMES)
    lane = pid(qmp, lane_of(qmp))
    backend = pid(qmp, "b")

    def fds(process):
        return len(os.listdir(f"/proc/{process}/fd"))
    shared(qmp)
    before = fds(lane), fds(backend)
    for turn in range(8):
        qmp.cmd("set_link", name="f", up=turn % 2 == 1)
        shared(qmp, *NAMES[:5])
        flood(ends[0], ends[1:5], 300, first=1000 * turn)
    until(lambda: (fds(lane), fds(backend)) <= before, 5,
          "old arenas to be closed")


def test_the_switch(bulkhead):
    daemon = bulkhead("-nodefaults", "--arena=off")
    session = daemon.qmp()
    session.daemon = daemon
    ends = plug(session, 0, *NAMES)
    for turn in range(3):
        flood(ends[0], ends[1:], 500, first=1000 * turn)
        assert ends[0].silent(0.1)
    assert not any(views(session, n) for n in NAMES)
    assert session.counters("b")["rx-shared"] == 0
