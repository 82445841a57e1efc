"""Netdev types tap and bridge: namespaces joined through a hub, scripts,
helpers, passed taps, and interfaces that go."""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from kit import netns
from kit.deadline import until
from kit.netns import Netns
from kit.taps import (  # noqa: F401
    IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_TUN, IFF_VNET_HDR, TUNSETIFF, add,
    bridged, host, join, ping, plug, policy, qmp, script, spaces, taps)

pytestmark = pytest.mark.skipif(netns.why_not() is not None,
                                reason=str(netns.why_not()))

STOCK_HELPER = "/usr/lib/qemu/qemu-bridge-helper"


# --- frames ----------------------------------------------------------------------

@pytest.mark.parametrize("options", [
    {}, {"vnet_hdr": False}, {"vnet_hdr": True}, {"queues": 8},
    {"sndbuf": 1048576}, {"poll-us": 200}], ids=json.dumps)
def test_two_namespaces(qmp, spaces, options):
    join(qmp, spaces, mtu=9000, **options)
    ping(spaces[0], "10.9.0.2")
    ping(spaces[1], "10.9.0.1", "-M", "do", "-s", "8972")
    info = qmp.netdev("t0")["info"]
    assert info == "ifname=bht0,script=no,downscript=no"
    assert ("vnet_hdr on" in spaces[0].link("bht0")) != \
        (options.get("vnet_hdr") is False)


def test_jumbo_larger_than_the_mtu_of_the_other(qmp, spaces):
    """The hub has no MTU; the kernel takes what comes."""
    join(qmp, spaces, mtu=9000)
    ping(spaces[0], "10.9.0.2", "-s", "20000")
    assert qmp.counters("t0")["in-frames"] > 0


def test_runts_are_filled_up(qmp, spaces):
    """As QEMU fills up what a tap gave."""
    join(qmp, spaces)
    code = ("import socket,sys; s=socket.socket(socket.AF_PACKET,"
            "socket.SOCK_RAW); s.bind(('bht0',0));"
            "s.send(b'\\xff'*6+b'\\x02'*6+b'\\x88\\xb5'+b'hello')")
    dump = spaces[1].popen("tcpdump", "-n", "-i", "bht1", "-c", "1", "-xx",
                           "-l", "ether", "proto", "0x88b5",
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
    try:
        while "listening on" not in dump.stderr.readline():
            assert dump.poll() is None
        spaces[0].run("python3", "-c", code)
        text, _ = dump.communicate(timeout=20)
    finally:
        dump.kill()
        dump.wait()
    words = "".join("".join(line.split()[1:]) for line in text.splitlines()
                    if re.match(r"\s+0x", line))
    assert words == ("ff" * 6 + "02" * 6 + "88b5" + b"hello".hex()).ljust(120, "0")


def iperf(spaces, *words, seconds=2):
    server = spaces[1].popen("iperf3", "-s", "-1", "--forceflush",
                             stdout=subprocess.PIPE, text=True)
    try:
        while "listening" not in server.stdout.readline():
            assert server.poll() is None
        yield
        done = spaces[0].run("iperf3", "-J", "-c", "10.9.0.2", "-t",
                             str(seconds), *words)
        yield json.loads(done.stdout)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.skipif(shutil.which("iperf3") is None, reason="no iperf3")
@pytest.mark.parametrize("queues", [1, 4])
def test_bulk_tcp_in_large_segments(qmp, spaces, queues):
    """Offloads cross the hub: fewer frames than an MTU's worth each."""
    join(qmp, spaces, queues=queues)
    run = iperf(spaces, "-P", "2", seconds=1)
    next(run)
    sent = next(run)["end"]["sum_received"]["bytes"]
    run.close()
    frames = qmp.counters("t0")["in-frames"]
    assert sent > 10_000_000
    assert sent / frames > 4000, (sent, frames)


@pytest.mark.skipif(shutil.which("iperf3") is None, reason="no iperf3")
def test_a_connection_survives_the_backend(qmp, spaces):
    join(qmp, spaces)
    index = spaces[0].link("bht0").split(":")[0]
    server = spaces[1].popen("iperf3", "-s", "-1", "--forceflush",
                             stdout=subprocess.PIPE, text=True)
    client = None
    try:
        while "listening" not in server.stdout.readline():
            assert server.poll() is None
        client = spaces[0].popen("iperf3", "-J", "-c", "10.9.0.2", "-t", "4",
                                 stdout=subprocess.PIPE, text=True)
        until(lambda: qmp.counters("t0").get("in-frames", 0) > 1000, 10,
              "traffic")
        pid = next(b["pid"] for b in qmp.cmd("query-backends")
                   if b["id"] == "t0")
        os.kill(pid, signal.SIGKILL)
        link = spaces[0].link("bht0")
        assert "LOWER_UP" in link and link.split(":")[0] == index
        until(lambda: any(b["id"] == "t0" and b.get("pid", pid) != pid
                          for b in qmp.cmd("query-backends")), 10, "restart")
        text, _ = client.communicate(timeout=30)
        result = json.loads(text)
        assert "error" not in result, result["error"]
        last = result["intervals"][-1]["sum"]["bytes"]
        assert last > 1_000_000, result["intervals"]
    finally:
        for proc in (server, client):
            if proc is not None:
                proc.kill()
                proc.wait()
                proc.stdout.close()
    assert "LOWER_UP" in spaces[0].link("bht0")


# --- what is refused ------------------------------------------------------------------

@pytest.mark.parametrize("options, text", [
    ({"fd": "x", "ifname": "a"}, "are invalid with fd="),
    ({"fds": "x:y", "queues": 2}, "are invalid with fds="),
    ({"helper": "/x", "ifname": "a"}, "are invalid with helper="),
    ({"fd": "x", "vhostfds": "a"}, "are invalid with fd="),
    ({"ifname": "a", "vhostfds": "b"},
     "vhostfds= is invalid if fds= wasn't specified"),
    ({"fds": "a:b", "vhostfds": "c"},
     "The number of fds passed does not match the number of vhostfds passed"),
    ({"vhost": False, "vhostfd": "a"},
     "vhostfd(s)= is not valid without vhost"),
    ({"vhost": True}, "vhost is not available"),
    ({"vhostforce": True}, "vhost is not available"),
    ({"vhostfd": "a"}, "vhost is not available"),
    ({"fds": "a", "vhostfds": "b"}, "vhost is not available"),
    ({"queues": 0}, "Parameter 'queues' expects a number from 1 to 8"),
    ({"queues": 9}, "Parameter 'queues' expects a number from 1 to 8"),
    ({"queues": 300}, "Parameter 'queues' expects a number from 1 to 8"),
    ({"fds": ""}, "Parameter 'fds' expects 1 to 8 descriptors"),
    ({"fds": "a:b:c:d:e:f:g:h:i"}, "Parameter 'fds' expects 1 to 8"),
    ({"fd": "nobody"}, "File descriptor named 'nobody' has not been found"),
    ({"fd": "7x"}, "Invalid file descriptor number '7x'"),
    ({"fds": "88:89"}, "descriptor number 88 means nothing now"),
    ({"ifname": "sixteen-bytes-xx"}, "Parameter 'ifname' expects a name of 1 to"),
    ({"ifname": "a/b"}, "Parameter 'ifname' expects a name without"),
    ({"ifname": "lo"}, "could not configure /dev/net/tun (lo): "),
    ({"poll-us": 2000000}, "Parameter 'poll-us' expects a number up to"),
    ({"helper": "/bin/true", "br": "b" * 16},
     "Parameter 'br' expects a name of 1 to 15 bytes"),
    ({"script": "/bin/true"}, 'policy refuses to run /bin/true: add "allow '
     'script /bin/true" to the policy file'),
    ({"downscript": "/bin/true"}, "policy refuses to run /bin/true"),
    ({"helper": "/bin/true", "br": "br0"}, "policy refuses to join bridge br0"),
], ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_refused(qmp, options, text):
    error = qmp.refused("netdev_add", type="tap", id="t", **options)
    assert text in error.desc, error.desc
    assert qmp.cmd("query-netdevs") == []
    add(qmp, "t", vhost=False, vhostforce=False)


def test_policy_names_interfaces(host, tmp_path):
    qmp = host(*policy(tmp_path, "allow interface bh*")).qmp()
    add(qmp, "a", ifname="bh%d")
    assert "ifname=bh0," in qmp.netdev("a")["info"]
    error = qmp.refused("netdev_add", type="tap", id="b", ifname="eth7",
                        script="no")
    assert error.desc == "policy refuses to open interface eth7: " \
        'add "allow interface eth7" to the policy file'
    error = qmp.refused("netdev_add", type="tap", id="b", script="no")
    assert 'add "allow interface tap*"' in error.desc


# --- scripts ----------------------------------------------------------------------------

def test_scripts(host, tmp_path):
    log = tmp_path / "log"
    up = script(tmp_path, "up", f'echo "up $# $1 $PATH [$HOME]" >>{log}',
                f"ls /proc/self/fd | tr '\\n' ' ' >>{log}; echo >>{log}",
                'ip link set "$1" up')
    down = script(tmp_path, "down",
                  f'echo "down $# $1 $(ip -o link show "$1")" >>{log}')
    daemon = host(*policy(tmp_path, "allow interface *",
                          f"allow script {tmp_path}"))
    qmp = daemon.qmp()
    add(qmp, "t", ifname="bhs0", script=up, downscript=down)
    assert "UP" in daemon.net.link("bhs0")
    qmp.cmd("netdev_del", id="t")
    lines = log.read_text().splitlines()
    assert lines[0].startswith("up 1 bhs0 /usr/local/sbin:")
    assert lines[0].endswith(" []")
    assert lines[1].split() == ["0", "1", "2", "3"]  # 3: the directory
    assert lines[2].startswith("down 1 bhs0 ") and "UP" in lines[2]
    assert daemon.net.link("bhs0") == ""
    # And at the end of the daemon.
    add(qmp, "t", ifname="bhs1", script="no", downscript=down)
    daemon.stop()
    assert log.read_text().splitlines()[-1].startswith("down 1 bhs1 ")


@pytest.mark.parametrize("lines, text", [
    (["echo all is lost >&2", "exit 3"], "exit status 3: all is lost"),
    (["kill -9 $$"], "signal 9"),
    (["exec yes"], "it wrote more than 1048576 bytes: "),
    (["sleep 1000"], "it did not end in time"),
], ids=["fails", "killed", "floods", "hangs"])
def test_a_script_that_fails(host, tmp_path, lines, text):
    down = script(tmp_path, "down", f"touch {tmp_path}/down-ran")
    up = script(tmp_path, "up", *lines)
    daemon = host(*policy(tmp_path, "allow interface *",
                          f"allow script {up}", f"allow script {down}"))
    qmp, other = daemon.qmp(), daemon.qmp()
    job = qmp.start("netdev_add", type="tap", id="t", ifname="bhs0", script=up,
                    downscript=down)
    # Nobody waits for it but who asked.
    add(other, "u", ifname="bhs1")
    with pytest.raises(Exception) as error:
        qmp.finish(job)
    assert f"network script {up} failed: {text}" in str(error.value)
    assert daemon.net.link("bhs0") == ""
    assert not (tmp_path / "down-ran").exists()
    for pid in daemon.processes():
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            assert f.read().strip() not in ("yes", "sleep", "up")
    # As if it had never been.
    add(qmp, "t", ifname="bhs0")


def test_a_downscript_that_hangs_holds_nobody(host, tmp_path):
    down = script(tmp_path, "down", "sleep 1000")
    qmp = host(*policy(tmp_path, "allow interface *",
                       f"allow script {down}")).qmp()
    add(qmp, "t", ifname="bhs0", downscript=down)
    add(qmp, "u", ifname="bhs1")
    qmp.cmd("netdev_del", id="u")
    qmp.cmd("netdev_del", id="t")
    until(lambda: "did not end in time" in qmp.daemon.log(), 15, "its end")
    add(qmp, "t", ifname="bhs0")


def test_start_configuration_runs_scripts(host, tmp_path):
    up = script(tmp_path, "up", 'ip link set "$1" up')
    daemon = host("-netdev", f"tap,id=t,ifname=bhs0,script={up},downscript=no")
    assert "UP" in daemon.net.link("bhs0")


def test_without_policy_the_usual_script_is_left_out(qmp):
    """And the log says so: nothing is executed for a client unasked."""
    qmp.cmd("netdev_add", type="tap", id="t", ifname="bhs0")
    assert "script.skip program=/etc/qemu-ifup" in qmp.daemon.log()


# --- bridges ------------------------------------------------------------------------------

@pytest.mark.parametrize("which", ["stock", "ours"])
@pytest.mark.parametrize("kind", ["bridge", "tap"])
def test_bridge(bridged, which, kind):
    if which == "stock" and not os.access(STOCK_HELPER, os.X_OK):
        pytest.skip("no qemu-bridge-helper")
    qmp = bridged.qmp()
    helper = {"helper": bridged.ours}
    if which == "stock":
        helper = {} if kind == "bridge" else {"helper": STOCK_HELPER}
    if kind == "tap" and which == "stock":
        error = qmp.refused("netdev_add", type="tap", id="b", br="bhbr0",
                            **helper)
        assert f"policy refuses to run {STOCK_HELPER}" in error.desc
        return
    qmp.cmd("netdev_add", type=kind, id="b", br="bhbr0", **helper)
    plug(qmp, "b")
    name = re.search(r"ifname=(tap\d+)", qmp.netdev("b")["info"]).group(1)
    link = bridged.net.link(name)
    assert "master bhbr0" in link and "mtu 1400" in link and "UP" in link
    assert "link/ether fe:" in link
    qmp.cmd("netdev_del", id="b")
    until(lambda: bridged.net.link(name) == "", 5, "the interface is gone")


def test_frames_cross_a_bridge(bridged, spaces):
    qmp = bridged.qmp()
    qmp.cmd("netdev_add", type="bridge", id="b", br="bhbr0",
            helper=bridged.ours)
    plug(qmp, "b")
    # The policy has no interface: a tap of ours, passed in.
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack(
            "16sH22x", b"bhfd%d", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        qmp.cmd("getfd", fd_=fd, fdname="far")
        qmp.cmd("netdev_add", type="tap", id="far", fd="far")
    finally:
        os.close(fd)
    plug(qmp, "far")
    name = re.search(r"ifname=(bhfd\d+)", qmp.netdev("far")["info"]).group(1)
    Netns(os.getpid()).give(name, spaces[0], "10.9.0.2/24", 1400)
    ping(spaces[0], "10.9.0.1")


@pytest.mark.parametrize("lines, text", [
    (["exit 0"], "failed to recv file descriptor: {} ended without sending one"),
    (["echo no such luck; exit 1"], "bridge helper failed: {}: exit status 1: "
     "no such luck"),
    (["sleep 1000"], "bridge helper failed: {}: it did not end in time"),
    (["exec yes"], "bridge helper failed: {}: it wrote more than 1048576"),
    (["printf x >&3"], "failed to recv file descriptor: {} ended"),
    ([r"""exec python3 -c 'import socket
s = socket.socket(fileno=3)
socket.send_fds(s, [b"x"], [s.fileno()])'"""],
     "what the bridge helper sent is not a tap"),
    ([r"""exec python3 -c 'import socket
s = socket.socket(fileno=3)
socket.send_fds(s, [b"x"], [0, 1, 2])'"""], "failed to recv file descriptor"),
], ids=["nothing", "fails", "hangs", "floods", "no fd", "no tap", "three"])
def test_a_helper_that_lies(bridged, tmp_path, lines, text):
    qmp = bridged.qmp()
    helper = script(tmp_path, "helper", *lines)
    error = qmp.refused("netdev_add", type="bridge", id="b", br="bhbr0",
                        helper=helper)
    assert text.format(helper) in error.desc, error.desc
    qmp.cmd("netdev_add", type="bridge", id="b", br="bhbr0",
            helper=bridged.ours)


def test_the_acl_decides(bridged):
    qmp = bridged.qmp()
    error = qmp.refused("netdev_add", type="bridge", id="b", br="other",
                        helper=bridged.ours)
    assert "access denied by acl file" in error.desc
    # No shell looks at the name.
    error = qmp.refused("netdev_add", type="bridge", id="b", br="xx;id",
                        helper=bridged.ours)
    assert "policy refuses to join bridge xx;id" in error.desc


# --- passed descriptors ------------------------------------------------------------------------

def test_fds(qmp, taps, spaces):
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
    for i in range(2):
        qmp.cmd("getfd", fd_=taps("bhfdq0", flags), fdname=f"q{i}")
    qmp.cmd("netdev_add", type="tap", id="t0", fds="q0:q1")
    plug(qmp, "t0")
    Netns(os.getpid()).give("bhfdq0", spaces[0], "10.9.0.1/24")
    add(qmp, "t1", ifname="bht1")
    plug(qmp, "t1")
    qmp.daemon.net.give("bht1", spaces[1], "10.9.0.2/24")
    ping(spaces[0], "10.9.0.2")


@pytest.mark.parametrize("what, text", [
    ("socket", "the passed descriptor is not a tap: Unable to query TUNGETIFF: "
     "Inappropriate ioctl for device"),
    ("file", "is not a tap"),
    ("unset", "is not a tap: Unable to query TUNGETIFF"),
    ("tun", "is a tun interface, not a tap"),
])
def test_fd_of_the_wrong_kind(qmp, taps, what, text, closing):
    if what == "socket":
        fd = closing(socket.socket(socket.AF_UNIX)).fileno()
    elif what == "file":
        fd = closing(open("/dev/null", "rb")).fileno()  # noqa: SIM115
    elif what == "unset":
        fd = closing(open("/dev/net/tun", "rb+", buffering=0)).fileno()
    else:
        fd = taps("bhwrong0", IFF_TUN | IFF_NO_PI)
    qmp.cmd("getfd", fd_=fd, fdname="f")
    error = qmp.refused("netdev_add", type="tap", id="t", fd="f")
    assert text in error.desc, error.desc
    # Consumed, whether or not the rest succeeds.
    error = qmp.refused("netdev_add", type="tap", id="t", fd="f")
    assert "File descriptor named 'f' has not been found" in error.desc


def test_fds_of_two_kinds(qmp, taps):
    flags = IFF_TAP | IFF_NO_PI
    qmp.cmd("getfd", fd_=taps("bhtwo0", flags), fdname="a")
    qmp.cmd("getfd", fd_=taps("bhtwo1", flags | IFF_VNET_HDR), fdname="b")
    error = qmp.refused("netdev_add", type="tap", id="t", fds="a:b")
    assert "vnet_hdr not consistent across given tap fds" in error.desc


def test_inherited_fd(host, taps, spaces):
    fd = taps("bhin0")
    daemon = host("-netdev", f"tap,id=t,fd={fd}", pass_fds=(fd,))
    qmp = daemon.qmp()
    assert qmp.netdev("t")["info"] == f"fd={fd},ifname=bhin0"
