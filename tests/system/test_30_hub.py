"""Hubs: flooding, links between hubs, cycles, link state, islands."""

import threading

import pytest

from kit.deadline import until
from kit.wire import Stream, frame, number, relay


class Net:
    """Netdevs of type socket on unix paths, with our end of each."""

    def __init__(self, session):
        self.qmp, self.ends = session, {}

    def plug(self, name, hub, **options):
        """Netdev NAME on hub HUB by port p-NAME; returns our end."""
        path = self.qmp.daemon.path(name + ".sock")
        self.qmp.cmd("netdev_add", type="socket", id=name, listen=path)
        self.qmp.cmd("netdev_add", type="hubport", id="p-" + name, hubid=hub,
                     netdev=name, **options)
        self.ends[name] = Stream.connect(path)
        self.qmp.event("NETDEV_STREAM_CONNECTED", netdev_id=name)
        return self.ends[name]


@pytest.fixture
def net(qmp, request):
    n = Net(qmp)
    yield n
    for end in n.ends.values():
        end.close()


def test_flooding_to_all_but_the_source(net):
    names = ["a", "b", "c", "d"]
    ends = [net.plug(n, 0) for n in names]
    for source in range(4):
        ends[source].send(*(frame(100 * source + i) for i in range(50)))
        for other in range(4):
            if other != source:
                assert ends[other].numbers(50) == \
                    [100 * source + i for i in range(50)]
    for end in ends:
        assert end.silent(0.1)


def test_frames_are_not_changed(net):
    a, b = net.plug("a", 0), net.plug("b", 0)
    for size in (14, 15, 59, 60, 61, 1514, 1518, 9000, 65535, 65550):
        sent = bytes(range(256)) * 257
        a.send(sent[:size])
        assert b.recv() == sent[:size]


def test_hubs_do_not_hear_each_other(net):
    a, b = net.plug("a", 0), net.plug("b", 0)
    c, d = net.plug("c", 1), net.plug("d", 1)
    a.send(frame(1))
    c.send(frame(2))
    assert b.numbers(1) == [1] and d.numbers(1) == [2]
    for end in (a, b, c, d):
        assert end.silent(0.1)


def test_linked_hubs_are_one(net):
    a, b = net.plug("a", 0), net.plug("b", 1)
    net.qmp.cmd("netdev_add", type="hubport", id="x", hubid=0)
    net.qmp.cmd("netdev_add", type="hubport", id="y", hubid=1, netdev="x")
    a.send(frame(1))
    assert b.numbers(1) == [1]
    b.send(frame(2))
    assert a.numbers(1) == [2]
    net.qmp.cmd("netdev_del", id="y")
    a.send(frame(3))
    assert b.silent(0.1)


def test_a_cycle_is_refused(net):
    """QEMU dies of the first frame in it."""
    session = net.qmp
    session.cmd("netdev_add", type="hubport", id="x", hubid=0)
    error = session.refused("netdev_add", type="hubport", id="y", hubid=0,
                            netdev="x")
    assert "x" in error.desc
    for i, hub in enumerate((0, 1, 2)):
        session.cmd("netdev_add", type="hubport", id=f"from{i}", hubid=hub)
    session.cmd("netdev_add", type="hubport", id="to1", hubid=1, netdev="from0")
    session.cmd("netdev_add", type="hubport", id="to2", hubid=2, netdev="from1")
    error = session.refused("netdev_add", type="hubport", id="to0", hubid=0,
                            netdev="from2")
    assert "from2" in error.desc
    assert "to0" not in {n["id"] for n in session.cmd("query-netdevs")}
    a, b = net.plug("a", 0), net.plug("b", 2)
    a.send(frame(1))
    assert b.numbers(1) == [1] and b.silent(0.1)


def test_a_peered_netdev_is_refused(net):
    net.plug("a", 0)
    error = net.qmp.refused("netdev_add", type="hubport", id="q", hubid=1,
                            netdev="a")
    assert "a" in error.desc and "p-a" in error.desc
    net.qmp.cmd("netdev_del", id="p-a")
    net.qmp.cmd("netdev_add", type="hubport", id="q", hubid=1, netdev="a")


def test_port_outlives_its_netdev_and_back(net):
    a, b = net.plug("a", 0), net.plug("b", 0)
    net.qmp.cmd("netdev_del", id="p-b")
    a.send(frame(1))
    assert b.silent(0.1)
    net.qmp.cmd("netdev_add", type="hubport", id="again", hubid=0, netdev="b")
    a.send(frame(2))
    assert b.numbers(1) == [2]
    net.qmp.cmd("netdev_del", id="b")
    assert b.closed()
    assert "again" in {n["id"] for n in net.qmp.cmd("query-netdevs")}


@pytest.mark.parametrize("what", ["b", "p-b"])
def test_set_link(net, what):
    """Down: neither sends nor receives, others are not disturbed; nothing is
    replayed when it comes up."""
    a, b, c = (net.plug(n, 0) for n in "abc")
    net.qmp.cmd("set_link", name=what, up=False)
    a.send(frame(1))
    b.send(frame(2))
    assert c.numbers(1) == [1]
    assert b.silent(0.1) and c.silent(0.1) and a.silent(0.05)
    net.qmp.cmd("set_link", name=what, up=True)
    a.send(frame(3))
    assert b.numbers(1) == [3]
    b.send(frame(4))
    assert a.numbers(1) == [4]


def test_admin_down_survives_a_reconnect(net):
    a, b = net.plug("a", 0), net.plug("b", 0)
    net.qmp.cmd("set_link", name="b", up=False)
    b.close()
    net.qmp.event("NETDEV_STREAM_DISCONNECTED", netdev_id="b")
    b = net.ends["b"] = Stream.connect(net.qmp.daemon.path("b.sock"))
    net.qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="b")
    a.send(frame(1))
    assert b.silent(0.2)
    net.qmp.cmd("set_link", name="b", up=True)
    a.send(frame(2))
    assert b.numbers(1) == [2]


def test_single_port_does_not_wedge(net):
    """A source alone on its hub goes on when company arrives."""
    a = net.plug("a", 0)
    a.send(*(frame(i) for i in range(500)))
    b = net.plug("b", 0)
    a.send(frame(1000))
    got = b.numbers(1)[0]
    while got != 1000:
        got = b.numbers(1)[0]


def test_changing_the_graph_loses_no_frame(net):
    """Ports move between lanes while frames are in their rings."""
    a, b = net.plug("a", 0), net.plug("b", 0)
    steps = iter([("netdev_add", {"type": "hubport", "id": "x", "hubid": 0}),
                  ("netdev_add", {"type": "hubport", "id": "y", "hubid": 1,
                                  "netdev": "x"}),
                  ("netdev_del", {"id": "y"}),
                  ("netdev_del", {"id": "x"})] * 10)

    def change(_heard):
        step = next(steps, None)
        if step:
            net.qmp.cmd(step[0], **step[1])
    assert relay(a, b, 20000, 600, between=change) == list(range(20000))
    assert next(steps, None) is None


def test_joining_two_busy_islands_loses_nothing(net):
    """While both hubs are busy they become one, and two again, many times."""
    a, b, c, d = (net.plug(n, h) for n, h in (("a", 0), ("b", 0), ("c", 1), ("d", 1)))
    net.qmp.cmd("netdev_add", type="hubport", id="x", hubid=0)
    results = {}

    def busy(name, source, target, base):
        results[name] = [n for n in relay(source, target, 100000, 300, first=base)
                         if base <= n < base + 100000]
    threads = [threading.Thread(target=busy, args=("ab", a, b, 0)),
               threading.Thread(target=busy, args=("cd", c, d, 200000))]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        net.qmp.cmd("netdev_add", type="hubport", id="y", hubid=1, netdev="x")
        net.qmp.cmd("netdev_del", id="y")
    assert results["ab"] == list(range(100000))
    assert results["cd"] == list(range(200000, 300000))


def test_slow_receiver_does_not_hold_the_others(net):
    """One that never reads costs the hub its patience once, and is counted."""
    a, b, _stalled = net.plug("a", 0), net.plug("b", 0), net.plug("c", 0)
    assert relay(a, b, 20000, 1000) == list(range(20000))
    assert net.qmp.counters("c")["rx-drop-full"] > 0
    assert net.qmp.counters("b")["rx-drop-full"] == 0


def test_stalled_alone_then_drains_in_order(net):
    """QEMU reorders here, and aborts with mixed sizes."""
    a, b = net.plug("a", 0), net.plug("b", 0)
    sizes = [60, 1514, 64, 9000, 22, 4000]
    count = 30000
    for i in range(count):
        a.send(frame(i, sizes[i % 6]))
    seen = []

    def all_told():
        """Take what is there; every frame is heard or counted."""
        try:
            while True:
                data = b.recv(0.3)
                assert len(data) == sizes[number(data) % 6]
                seen.append(number(data))
        except TimeoutError:
            return len(seen) + net.qmp.counters("b")["rx-drop-full"] == count
    until(all_told, 30, "every frame, heard or counted")
    assert seen == sorted(set(seen)) and len(seen) > 100
    assert relay(a, b, 100, first=count) == list(range(count, count + 100))
