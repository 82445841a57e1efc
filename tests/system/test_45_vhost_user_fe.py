"""Netdev type vhost-user: dpdk-testpmd as the back-end that comes, goes and is
killed, and back-ends that never were any."""

import os
import signal
import socket
import struct

import pytest

from kit import testpmd
from kit.deadline import until
from kit.daemon import alive
from kit.qmp import QmpError
from kit.wire import SOURCE, Stream, frame, number

with_testpmd = pytest.mark.skipif(testpmd.why_not() is not None,
                                  reason=str(testpmd.why_not()))

COME_S = 30  # testpmd's start, its slow first answers, our pause


def chardev(session, path, **more):
    session.cmd("chardev-add", id="c0", backend={
        "type": "socket",
        "data": {"addr": {"type": "unix", "data": {"path": path}}, **more}})


@pytest.fixture
def end(qmp):
    """The hub's other port."""
    path = qmp.daemon.path("a.sock")
    qmp.cmd("netdev_add", type="socket", id="a", listen=path)
    qmp.cmd("netdev_add", type="hubport", id="p-a", hubid=0, netdev="a")
    s = Stream.connect(path)
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="a")
    yield s
    s.close()


def vhost_user(session, **options):
    session.cmd("netdev_add", type="vhost-user", id="v", chardev="c0", **options)
    session.cmd("netdev_add", type="hubport", id="p-v", hubid=0, netdev="v")


def arp(host):
    """Who has 10.0.0.host?"""
    return b"\xff" * 6 + SOURCE + struct.pack(
        "!HHHBBH6s4s6s4s", 0x0806, 1, 0x0800, 6, 4, 1, SOURCE,
        bytes([10, 0, 0, 1]), bytes(6), bytes([10, 0, 0, host])) + bytes(18)


def ask(end, host):
    """Is the ARP request answered for that host?"""
    end.send(arp(host))
    data = end.recv(10)
    assert data[:6] == SOURCE and data[12:14] == b"\x08\x06", data
    assert data[20:22] == b"\x00\x02" and data[28:32] == bytes([10, 0, 0, host])


def backend(closing, path, mode, *options, queues=1, client=0):
    """Frames that come before it forwards shall wait, not be thrown away."""
    return closing(testpmd.Testpmd(
        [f"net_vhost0,iface={path},queues={queues},client={client}"],
        f"--forward-mode={mode}", "--no-flush-rx", *options))


def test_netdev_add_does_not_wait_for_anybody(qmp, end):
    path = qmp.daemon.path("v.sock")
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(path)
    silent.listen(1)
    try:
        chardev(qmp, path, server=False)
        vhost_user(qmp)  # it connects, and nobody says a word
        end.send(*(frame(i) for i in range(100)))
        until(lambda: qmp.counters("v")["out-drop-disconnected"] == 100, 10,
              "frames dropped and counted")
        notice = qmp.event("BACKEND_NOTICE", seconds=20, id="v")
        assert "did not answer GET_FEATURES" in notice["text"]
    finally:
        silent.close()
        os.unlink(path)


@with_testpmd
def test_a_back_end_answers_and_is_killed_and_comes_back(qmp, end, closing):
    path = qmp.daemon.path("v.sock")
    chardev(qmp, path, server=False, reconnect=1)
    vhost_user(qmp)
    for life in range(2):
        peer = backend(closing, path, "icmpecho")
        up = qmp.event("NETDEV_VHOST_USER_CONNECTED", seconds=COME_S)
        assert up == {"netdev-id": "v", "chardev-id": "c0"}
        for host in range(2, 12):
            ask(end, host)
        counters = qmp.counters("v")
        assert counters["out-frames"] == counters["in-frames"] == 10 * (life + 1)
        assert counters["in-errors"] == 0
        peer.proc.send_signal(signal.SIGKILL)
        down = qmp.event("NETDEV_VHOST_USER_DISCONNECTED")
        assert down == {"netdev-id": "v"}
        peer.proc.wait()
        os.unlink(path)


@with_testpmd
def test_frames_of_every_size_come_back_from_a_back_end(qmp, end, closing):
    path = qmp.daemon.path("v.sock")
    chardev(qmp, path, server=False, reconnect=1)
    vhost_user(qmp)
    backend(closing, path, "macswap").wait_started()
    qmp.event("NETDEV_VHOST_USER_CONNECTED", seconds=COME_S)
    sizes = list(range(60, 1515, 13))
    for start in range(0, len(sizes), 16):
        batch = sizes[start:start + 16]
        end.send(*(frame(n, n) for n in batch))
        for n in batch:
            data = end.recv(10)
            assert number(data) == n
            assert data == SOURCE + b"\xff" * 6 + frame(n, n)[12:]


@with_testpmd
def test_a_back_end_may_be_the_one_that_connects(qmp, end, closing):
    path = qmp.daemon.path("v.sock")
    chardev(qmp, path, server=True, wait=False)
    vhost_user(qmp)
    for _ in range(2):
        peer = backend(closing, path, "icmpecho", client=1)
        qmp.event("NETDEV_VHOST_USER_CONNECTED", seconds=COME_S, netdev_id="v")
        ask(end, 7)
        peer.proc.kill()
        peer.proc.wait()
        qmp.event("NETDEV_VHOST_USER_DISCONNECTED", netdev_id="v")


@with_testpmd
def test_our_own_process_killed_comes_back_by_itself(qmp, end, closing):
    path = qmp.daemon.path("v.sock")
    chardev(qmp, path, server=False, reconnect=1)
    vhost_user(qmp)
    backend(closing, path, "icmpecho")
    qmp.event("NETDEV_VHOST_USER_CONNECTED", seconds=COME_S)
    ask(end, 2)
    pid = next(b["pid"] for b in qmp.cmd("query-backends") if b["id"] == "v")
    os.kill(pid, signal.SIGKILL)
    qmp.event("BACKEND_RESTARTED", seconds=20, id="v")
    qmp.event("NETDEV_VHOST_USER_CONNECTED", seconds=COME_S)
    assert not alive(pid)
    ask(end, 3)


@with_testpmd
def test_queues_are_checked_and_all_are_served(qmp, end, closing):
    path = qmp.daemon.path("v.sock")
    chardev(qmp, path, server=False, reconnect=1)
    with pytest.raises(QmpError, match="in range"):
        qmp.cmd("netdev_add", type="vhost-user", id="v", chardev="c0", queues=0)
    with pytest.raises(QmpError, match="at most 16 pairs"):
        qmp.cmd("netdev_add", type="vhost-user", id="v", chardev="c0", queues=17)
    vhost_user(qmp, queues=4)
    backend(closing, path, "icmpecho", "--rxq=4", "--txq=4", queues=4)
    qmp.event("NETDEV_VHOST_USER_CONNECTED", seconds=COME_S)
    for host in range(2, 34):
        ask(end, host)


def test_our_own_nic_in_another_bulkhead_is_a_back_end(qmp, end, bulkhead,
                                                       closing, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text(f"allow unix {qmp.daemon.run_dir}\n")
    daemon = bulkhead("-nodefaults", "--policy", str(policy))
    other = daemon.qmp()
    path, far_path = qmp.daemon.path("n0.sock"), daemon.path("b.sock")
    other.cmd("netdev_add", type="nic", id="n0", queues=2, path=path)
    other.cmd("netdev_add", type="socket", id="b", listen=far_path)
    for name in ("n0", "b"):
        other.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=0, netdev=name)
    far = closing(Stream.connect(far_path))
    other.event("NETDEV_STREAM_CONNECTED", netdev_id="b")
    chardev(qmp, path, server=False, **{"reconnect-ms": 100})
    vhost_user(qmp, queues=2)
    qmp.event("NETDEV_VHOST_USER_CONNECTED", netdev_id="v")
    until(lambda: other.netdev("n0")["operational"], 10, "the nic's driver")
    sizes = [60, 61, 1513, 1514, 2031, 2032, 2033, 9000, 40000, 65535]
    for n in sizes:
        end.send(frame(n, n))
        assert far.recv(10) == frame(n, n)
        far.send(frame(n, n))
        assert end.recv(10) == frame(n, n)
    counters = qmp.counters("v")
    assert counters["in-errors"] == counters["out-drop-size"] == 0
    other.cmd("netdev_del", id="n0")
    qmp.event("NETDEV_VHOST_USER_DISCONNECTED", netdev_id="v")
