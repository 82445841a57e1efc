"""User-mode Linux on a nic: the front-end that hands its control queue on, so
what its guest wants to hear is known."""

import os

import pytest

from kit import uml
from kit.deadline import until

MAC = "52:54:00:75:6d:01"
EVENT = "NIC_RX_FILTER_CHANGED"


class Lab:
    def __init__(self, build, bulkhead, closing, options=""):
        reason = uml.why_not()
        if reason:
            pytest.skip(reason)
        # user-mode Linux takes no colon in the path, and not a long one.
        self.path = f"/tmp/bhu{os.getpid()}.sock"
        self.daemon = bulkhead(
            "-netdev", "user,id=user0",
            "-netdev", "hubport,id=p-user0,hubid=0,netdev=user0",
            "-net", f"nic,id=n0,macaddr={MAC},path={self.path}{options}")
        self.qmp = self.daemon.qmp()
        nic, = self.qmp.cmd("query-nics")
        assert nic["arguments"]["uml"] == [f"virtio_uml.device={self.path}:1"]
        self.guest = closing(uml.Uml(build, self.path)).wait_ready()

    def filter(self):
        found, = self.qmp.cmd("query-rx-filter", name="n0")
        return found

    def changed(self, command, expected):
        """The command makes one event, and the filter then is as expected."""
        self.filter()  # arms the event
        self.qmp.drop_events(EVENT)
        self.guest.run(command)
        self.qmp.event(EVENT, name="n0")
        until(lambda: expected(self.filter()), 5, command)


@pytest.fixture
def lab(build, bulkhead, closing):
    return Lab(build, bulkhead, closing)


@pytest.mark.seconds(180)
def test_the_filter_is_what_the_guest_set(lab):
    g = lab.guest
    assert MAC in g.run("cat /sys/class/net/eth0/address")
    g.run("ip link set eth0 up")
    g.dhcp()
    g.run("busybox ping -c 2 10.0.2.2")

    f = lab.filter()
    assert f["promiscuous"] is False and f["main-mac"] == MAC
    assert f["broadcast-allowed"] is True
    assert (f["unicast"], f["multicast"]) == ("normal", "normal")
    assert "01:00:5e:00:00:01" in f["multicast-table"]
    assert f["unicast-table"] == []

    lab.changed("ip link set eth0 promisc on", lambda f: f["promiscuous"])
    lab.changed("ip link set eth0 promisc off", lambda f: not f["promiscuous"])
    lab.changed("ip link set eth0 allmulticast on",
                lambda f: f["multicast"] == "all")
    lab.changed("ip link set eth0 allmulticast off",
                lambda f: f["multicast"] == "normal")
    lab.changed("ip maddr add 01:00:5e:01:02:03 dev eth0",
                lambda f: "01:00:5e:01:02:03" in f["multicast-table"])
    lab.changed("bridge fdb add 02:11:22:33:44:55 dev eth0 self",
                lambda f: f["unicast-table"] == ["02:11:22:33:44:55"])
    lab.changed("ip link add link eth0 name v100 type vlan id 100",
                lambda f: 100 in f["vlan-table"])
    assert lab.filter()["vlan"] == "normal"
    lab.changed("ip link del v100", lambda f: 100 not in f["vlan-table"])
    lab.changed("ip link set eth0 address 52:54:00:75:6d:99",
                lambda f: f["main-mac"] == "52:54:00:75:6d:99")
    lab.changed(
        "for i in $(busybox seq 10 79); do "
        "bridge fdb add 02:00:00:00:00:$i dev eth0 self; done",
        lambda f: f["unicast-overflow"] and f["unicast-table"] == [])


@pytest.mark.seconds(120)
def test_a_card_with_several_pairs(build, bulkhead, closing):
    """Its control queue is behind all of them; one processor uses one pair."""
    lab = Lab(build, bulkhead, closing, ",queues=4")
    lab.guest.run("ip link set eth0 up")
    lab.guest.dhcp()
    nic, = lab.qmp.cmd("query-nics")
    assert (nic["queues"], nic["pairs"]) == (4, 1)
    assert nic["features"] >> 22 & 1  # MQ
    assert not lab.filter()["promiscuous"]


@pytest.mark.seconds(120)
def test_one_event_until_it_was_queried(lab):
    g = lab.guest
    g.run("ip link set eth0 up")
    lab.filter()
    lab.qmp.drop_events(EVENT)
    for _ in range(5):
        g.run("ip link set eth0 promisc on && ip link set eth0 promisc off")
    lab.qmp.event(EVENT, name="n0")
    lab.qmp.cmd("query-netdevs")  # what was under way has come
    assert lab.qmp.drop_events(EVENT) == 0


@pytest.mark.seconds(120)
def test_the_guest_sees_its_link(lab):
    g = lab.guest
    g.run("ip link set eth0 up")
    until(lambda: g.run("cat /sys/class/net/eth0/carrier").strip() == "1", 10)
    lab.qmp.cmd("set_link", name="n0", up=False)
    until(lambda: g.run("cat /sys/class/net/eth0/carrier").strip() == "0", 10,
          "the carrier's loss")
    lab.qmp.cmd("set_link", name="n0", up=True)
    until(lambda: g.run("cat /sys/class/net/eth0/carrier").strip() == "1", 10,
          "the carrier")
    g.dhcp()


@pytest.mark.seconds(120)
def test_the_lane_leaves_out_what_the_guest_does_not_hear(lab, closing):
    """Unicast for somebody else does not reach the nic's process."""
    from kit.wire import Stream
    g = lab.guest
    g.run("ip link set eth0 up")
    lab.qmp.cmd("netdev_add", type="socket", id="s0", listen=lab.daemon.path("s0"))
    lab.qmp.cmd("netdev_add", type="hubport", id="p-s0", hubid=0, netdev="s0")
    wire = closing(Stream.connect(lab.daemon.path("s0")))
    lab.filter()
    before = lab.qmp.counters("n0")
    other = bytes.fromhex("020000000077") + bytes.fromhex("020000000001") + \
        b"\x88\xb5" + bytes(46)
    wire.send(*[other] * 100)
    until(lambda: lab.qmp.counters("n0")["rx-filtered"] -
          before["rx-filtered"] >= 100, 10, "100 frames left out")
