"""dpdk-testpmd as the front-end of nics, and as the back-end of vhost-user."""

import pytest

from kit import testpmd
from kit.deadline import until
from kit.testpmd import Testpmd
from kit.wire import Stream, frame

MACS = ("02:00:00:00:00:11", "02:00:00:00:00:12")


@pytest.fixture
def dpdk(closing):
    """dpdk(vdevs, *options) starts one that forwards."""
    reason = testpmd.why_not()
    if reason:
        pytest.skip(reason)
    return lambda *args, **how: closing(Testpmd(*args, **how))


def hub_of(qmp, *netdevs):
    for name in netdevs:
        qmp.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=0,
                netdev=name)


@pytest.mark.seconds(120)
@pytest.mark.parametrize("ring", ["", ",packed_vq=1", ",mrg_rxbuf=0",
                                  ",in_order=0", ",queue_size=512"])
def test_frames_between_two_nics(qmp, dpdk, ring):
    """A source on one nic, a sink on the other: what arrives is counted alike
    by both sides."""
    for i, mac in enumerate(MACS):
        qmp.cmd("netdev_add", type="nic", id=f"n{i}", macaddr=mac)
    hub_of(qmp, "n0", "n1")

    def on(i, *options):
        path = qmp.daemon.path(f"n{i}.sock")
        return dpdk([f"net_virtio_user0,path={path},queues=1,mac={MACS[i]}{ring}"],
                    *options)
    sink = on(1, "--forward-mode=rxonly")
    until(lambda: qmp.netdev("n1")["operational"], 30, "the sink")
    source = on(0, "--forward-mode=txonly", "--txpkts=64")
    until(lambda: qmp.counters("n1")["out-frames"] > 20000, 60, "20000 frames")
    sent = source.finish()
    until(lambda: not qmp.netdev("n0")["operational"], 10, "the source's end")
    until(lambda: qmp.counters("n0")["in-frames"] == qmp.counters("n0")["tx-frames"],
          10, "the lane has all")
    n0, n1 = qmp.counters("n0"), qmp.counters("n1")
    assert n0["tx-frames"] == n1["rx-frames"] + n1["rx-drop-full"] + \
        n1["rx-drop-dead"] + n1["rx-filtered"]
    assert sent["TX-packets"] >= n0["in-frames"] > 20000
    received = sink.finish()
    assert received["RX-packets"] >= 20000


@pytest.mark.seconds(120)
def test_the_nic_connects_to_testpmd(qmp, dpdk):
    """virtio_user in server mode: a nic on a connecting chardev."""
    path = qmp.daemon.path("v")
    qmp.cmd("chardev-add", id="c0", backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, "server": False,
        "reconnect-ms": 100}})
    qmp.cmd("netdev_add", type="nic", id="n0", chardev="c0")
    qmp.cmd("netdev_add", type="socket", id="s0", listen=qmp.daemon.path("s0"))
    hub_of(qmp, "n0", "s0")
    dpdk([f"net_virtio_user0,path={path},server=1,queues=1,mac={MACS[0]}"],
         "--forward-mode=txonly", "--txpkts=64")
    until(lambda: qmp.netdev("n0")["operational"], 30, "testpmd")
    until(lambda: qmp.counters("n0")["in-frames"] > 1000, 30, "frames")


@pytest.mark.seconds(60)
def test_our_vhost_user_drives_our_nic(bulkhead, closing):
    """Two daemons: one has the device, the other the driver."""
    device = bulkhead()
    driver = bulkhead("-chardev", f"socket,id=c0,path={device.path('n0.sock')},"
                      "reconnect-ms=50")
    q, r = device.qmp(), driver.qmp()
    q.cmd("netdev_add", type="nic", id="n0")
    r.cmd("netdev_add", type="vhost-user", id="v0", chardev="c0")
    ends = []
    for session, daemon, name in ((q, device, "n0"), (r, driver, "v0")):
        session.cmd("netdev_add", type="socket", id="s0",
                    listen=daemon.path("s0"))
        hub_of(session, name, "s0")
        ends.append(closing(Stream.connect(daemon.path("s0"))))
        until(lambda s=session, n=name: s.netdev(n)["operational"], 10, name)
    for source, target in (ends, ends[::-1]):
        sent = [frame(i, 60 + i % 1400) for i in range(3000)] + \
            [frame(9000 + i, 9000) for i in range(100)]
        for at in range(0, len(sent), 100):
            source.send(*sent[at:at + 100])
            assert [target.recv() for _ in sent[at:at + 100]] == sent[at:at + 100]
