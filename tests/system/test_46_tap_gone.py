"""Taps and bridges that are taken away from outside: deleted, down, without
carrier, without their bridge."""

import os
import re

import pytest

from kit import netns
from kit.daemon import status
from kit.deadline import until
from kit.netns import Netns
from kit.taps import (  # noqa: F401
    IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, add, bridged, host,
    join, ping, plug, policy, qmp, script, spaces, taps)

pytestmark = pytest.mark.skipif(netns.why_not() is not None,
                                reason=str(netns.why_not()))


def backend(session, name):
    return next(b for b in session.cmd("query-backends") if b["id"] == name)


def ticks(pid):
    """Processor time that it took, in hundredths of a second."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return sum(int(n) for n in f.read().rsplit(")", 1)[1].split()[11:13])


def ends_with(session, name, words):
    """Wait for an end of its process with these last words."""
    until(lambda: words in session.event("BACKEND_EXITED",
                                         id=name).get("words", ""),
          20, words)


def is_back(session, name):
    until(lambda: session.netdev(name)["operational"], 10, f"{name} is back")


# --- deleted --------------------------------------------------------------------

@pytest.mark.parametrize("queues", [1, 4])
def test_a_deleted_tap_is_made_again(qmp, spaces, queues):
    """Who deletes an interface has not deleted the netdev."""
    join(qmp, spaces, queues=queues)
    ping(spaces[0], "10.9.0.2")
    for _ in range(2):
        spaces[0].ip("link", "delete", "bht0")
        notice = qmp.event("BACKEND_NOTICE", id="t0", kind="tap-gone")
        assert notice["text"] == "the interface was deleted; it is made again"
        gone = qmp.event("BACKEND_EXITED", id="t0")
        assert "the interface was deleted" in gone["words"], gone
        qmp.event("BACKEND_RESTARTED", id="t0")
        # In the daemon's own namespace, as at first.
        qmp.daemon.net.give("bht0", spaces[0], "10.9.0.1/24")
        ping(spaces[0], "10.9.0.2")
        ping(spaces[1], "10.9.0.1")
    assert backend(qmp, "t0")["restarts"] == 2
    qmp.cmd("netdev_del", id="t0")
    assert spaces[0].link("bht0") == "" and qmp.daemon.net.link("bht0") == ""


def test_a_tap_deleted_while_nobody_has_it(qmp, spaces):
    """Its process dies at the same time: the next one finds the tap dead."""
    join(qmp, spaces)
    pid = backend(qmp, "t0")["pid"]
    os.kill(pid, 19)  # SIGSTOP: it sees nothing of it
    spaces[0].ip("link", "delete", "bht0")
    os.kill(pid, 9)
    qmp.event("BACKEND_RESTARTED", id="t0")
    qmp.daemon.net.give("bht0", spaces[0], "10.9.0.1/24")
    ping(spaces[0], "10.9.0.2")


def test_its_script_is_run_again(host, tmp_path):
    log, fail = tmp_path / "log", tmp_path / "fail"
    up = script(tmp_path, "up", f"[ ! -e {fail} ] || {{ echo no; exit 3; }}",
                f'echo "up $1" >>{log}', 'ip link set "$1" up')
    down = script(tmp_path, "down", f'echo "down $1" >>{log}')
    daemon = host(*policy(tmp_path, "allow interface bhs*",
                          f"allow script {tmp_path}"))
    qmp = daemon.qmp()
    add(qmp, "t", ifname="bhs0", script=up, downscript=down)
    # A process that dies with the tap alive: nothing is run.
    os.kill(backend(qmp, "t")["pid"], 9)
    qmp.event("BACKEND_RESTARTED", id="t")
    assert log.read_text().splitlines() == ["up bhs0"]
    daemon.net.ip("link", "delete", "bhs0")
    qmp.event("BACKEND_RESTARTED", id="t")
    assert log.read_text().splitlines() == ["up bhs0"] * 2
    assert "UP" in daemon.net.link("bhs0")
    # One that fails is tried again: the netdev was granted, and is wanted.
    fail.touch()
    daemon.net.ip("link", "delete", "bhs0")
    ends_with(qmp, "t", f"network script {up} failed: exit status 3: no")
    fail.unlink()
    qmp.event("BACKEND_RESTARTED", id="t")
    assert log.read_text().splitlines() == ["up bhs0"] * 3
    qmp.cmd("netdev_del", id="t")
    assert log.read_text().splitlines()[3:] == ["down bhs0"]
    assert daemon.net.link("bhs0") == ""


def test_start_configuration_makes_it_again(host, tmp_path):
    """Without a rule of policy: it was the operator's at the start."""
    up = script(tmp_path, "up", 'ip link set "$1" up')
    daemon = host("-netdev", f"tap,id=t,ifname=bhs0,script={up},downscript=no")
    qmp = daemon.qmp()
    daemon.net.ip("link", "delete", "bhs0")
    qmp.event("BACKEND_RESTARTED", id="t")
    assert "UP" in daemon.net.link("bhs0")


def test_what_cannot_be_made_again_is_said(host, tmp_path):
    """Its name is somebody else's now."""
    qmp = host(*policy(tmp_path, "allow interface bhs0")).qmp()
    add(qmp, "t", ifname="bhs0")
    pid = backend(qmp, "t")["pid"]
    os.kill(pid, 19)
    qmp.daemon.net.ip("link", "delete", "bhs0")
    qmp.daemon.net.ip("link", "add", "bhs0", "type", "bridge")
    os.kill(pid, 18)
    ends_with(qmp, "t", "could not configure /dev/net/tun (bhs0): ")
    assert qmp.netdev("t")["state"] == "restarting"
    qmp.daemon.net.ip("link", "delete", "bhs0")
    is_back(qmp, "t")


def test_a_deleted_bridge_port_is_made_again(bridged):
    qmp = bridged.qmp()
    qmp.cmd("netdev_add", type="bridge", id="b", br="bhbr0",
            helper=bridged.ours)
    name = re.search(r"ifname=(\S+)", qmp.netdev("b")["info"]).group(1)
    bridged.net.ip("link", "delete", name)
    qmp.event("BACKEND_RESTARTED", id="b")
    name = re.search(r"ifname=(\S+)", qmp.netdev("b")["info"]).group(1)
    assert "master bhbr0" in bridged.net.link(name)
    # The bridge away as well: the helper fails until it is there again.
    bridged.net.ip("link", "delete", "bhbr0")
    bridged.net.ip("link", "delete", name)
    ends_with(qmp, "b", "bridge helper failed")
    bridged.net.ip("link", "add", "bhbr0", "type", "bridge")
    is_back(qmp, "b")
    name = re.search(r"ifname=(\S+)", qmp.netdev("b")["info"]).group(1)
    assert "master bhbr0" in bridged.net.link(name)


def test_a_deleted_tap_that_was_passed(qmp, taps, spaces):
    """Nobody here can make another of it: it is told, and costs nothing."""
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
    for i in range(2):
        qmp.cmd("getfd", fd_=taps("bhgone0", flags), fdname=f"q{i}")
    qmp.cmd("netdev_add", type="tap", id="t0", fds="q0:q1")
    plug(qmp, "t0")
    Netns(os.getpid()).give("bhgone0", spaces[0], "10.9.0.1/24")
    add(qmp, "t1", ifname="bht1")
    plug(qmp, "t1")
    qmp.daemon.net.give("bht1", spaces[1], "10.9.0.2/24")
    ping(spaces[0], "10.9.0.2")
    pid = backend(qmp, "t0")["pid"]
    spaces[0].ip("link", "delete", "bhgone0")
    notice = qmp.event("BACKEND_NOTICE", id="t0", kind="tap-gone")
    assert notice["text"] == "the interface was deleted; delete the netdev " \
        "and add it again"
    until(lambda: not qmp.netdev("t0")["operational"], 5, "not operational")
    # No turning in circles: QEMU takes a whole processor here.
    before = ticks(pid)
    spaces[1].run("ping", "-n", "-c", "5", "-i", "0.2", "-W", "1", "-b",
                  "10.9.0.255", check=False)
    assert ticks(pid) - before < 20
    until(lambda: qmp.counters("t0")["out-drop-disconnected"] > 0, 5, "drops")
    assert backend(qmp, "t0")["pid"] == pid
    qmp.cmd("netdev_del", id="t0")


# --- down, without carrier, without bridge ------------------------------------------

def test_an_interface_that_is_down_takes_nothing_and_says_so(qmp, spaces):
    join(qmp, spaces)
    ping(spaces[0], "10.9.0.2")
    spaces[0].ip("link", "set", "bht0", "down")
    spaces[1].run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-b",
                  "10.9.0.255", check=False)
    until(lambda: not qmp.netdev("t0")["operational"], 5, "not operational")
    spaces[0].ip("link", "set", "bht0", "up")
    ping(spaces[0], "10.9.0.2")
    is_back(qmp, "t0")


def test_carrier_lost_and_found(qmp, spaces):
    """The kernel sends nothing to a tap without carrier, and takes what comes
    from it; nothing here ends of it."""
    join(qmp, spaces)
    ping(spaces[0], "10.9.0.2")
    pid = backend(qmp, "t0")["pid"]
    spaces[0].ip("link", "set", "bht0", "carrier", "off")
    assert "NO-CARRIER" in spaces[0].link("bht0")
    lost = spaces[1].run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1",
                         "10.9.0.1", check=False)
    assert "100% packet loss" in lost.stdout
    spaces[0].ip("link", "set", "bht0", "carrier", "on")
    ping(spaces[0], "10.9.0.2")
    assert backend(qmp, "t0")["pid"] == pid and qmp.netdev("t0")["operational"]


def test_its_bridge_is_removed(bridged):
    """The port stays, alone; what is sent goes nowhere, and nothing ends."""
    qmp = bridged.qmp()
    qmp.cmd("netdev_add", type="bridge", id="b", br="bhbr0",
            helper=bridged.ours)
    name = re.search(r"ifname=(\S+)", qmp.netdev("b")["info"]).group(1)
    pid = backend(qmp, "b")["pid"]
    bridged.net.ip("link", "delete", "bhbr0")
    link = bridged.net.link(name)
    assert "UP" in link and "master" not in link
    # A bridge of that name takes it again, by whoever made the bridge.
    bridged.net.ip("link", "add", "bhbr0", "type", "bridge")
    bridged.net.ip("link", "set", name, "master", "bhbr0")
    assert backend(qmp, "b")["pid"] == pid and qmp.netdev("b")["operational"]
    qmp.cmd("netdev_del", id="b")
    until(lambda: bridged.net.link(name) == "", 5, "the interface is gone")


# --- who runs scripts -------------------------------------------------------------------

def runners(daemon, name="bulkhead-run"):
    """Its process, or that which keeps one alive."""
    found = []
    for pid in daemon.processes():
        if status(pid).get("Name") == name:
            found.append(pid)
    return found


def test_scripts_run_when_the_runner_was_killed(host, tmp_path):
    """What it ran is killed with it, to the last process, and said to be."""
    log, fifo = tmp_path / "log", tmp_path / "fifo"
    os.mkfifo(fifo)
    up = script(tmp_path, "up", f'[ "$1" != bhslow ] || {{ echo $$ >{fifo}; '
                'sleep 1000 & wait; }', f'echo "up $1" >>{log}')
    daemon = host(*policy(tmp_path, "allow interface bh*",
                          f"allow script {tmp_path}"))
    qmp = daemon.qmp()
    for n in range(3):
        job = qmp.start("netdev_add", type="tap", id="slow", ifname="bhslow",
                        script=up, downscript="no")
        with open(fifo, encoding="ascii") as f:
            session = int(f.readline())
        [pid] = runners(daemon)
        os.kill(pid, 9)
        with pytest.raises(Exception) as error:
            qmp.finish(job)
        assert f"network script {up} failed: the process that runs scripts " \
            "was killed, and it with it" in str(error.value)
        until(lambda: pid not in runners(daemon) and runners(daemon), 5,
              "another runner")
        until(lambda: not os.path.exists(f"/proc/{session}"), 5, "its end")
        with pytest.raises(ProcessLookupError):
            os.killpg(session, 0)
        add(qmp, f"t{n}", ifname=f"bhs{n}", script=up)
        assert log.read_text().splitlines()[-1] == f"up bhs{n}"
    assert daemon.log().count("there is another") == 3


def test_nobody_runs_scripts_any_more(host, tmp_path):
    """With its keeper gone as well, the way out is named; all else goes on."""
    up = script(tmp_path, "up", "exit 0")
    daemon = host(*policy(tmp_path, "allow interface bh*",
                          f"allow script {tmp_path}"))
    qmp = daemon.qmp()
    add(qmp, "a", ifname="bhs0", script=up)
    for pid in runners(daemon, "bulkhead-keep") + runners(daemon):
        os.kill(pid, 9)
    until(lambda: "script.fail" in daemon.log(), 5, "it is noticed")
    error = qmp.refused("netdev_add", type="tap", id="b", ifname="bhs1",
                        script=up)
    assert error.desc == f"cannot run {up}: the process that runs scripts " \
        "has ended; restart bulkheadd"
    add(qmp, "b", ifname="bhs1")
    qmp.cmd("netdev_del", id="a")
    assert daemon.net.link("bhs0") == ""
