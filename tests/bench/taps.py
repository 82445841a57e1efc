"""Speed of taps, and of `user` behind one.

Part `taps`: two taps of ours on a hub, against a Linux bridge.
- Packets: framegen speaks AF_PACKET on the kernel's side of each of our taps. The
  bridge has two taps as well; framegen holds those, since the kernel's side of
  a bridge's tap is in the bridge. So a frame passes two taps either way.
- Bulk TCP: iperf3 between two namespaces, joined by tap, hub, tap. A bridge's taps end
  at processes, as ours do: a relay is in the place of each VM's process, and copies
  frames between the bridge's tap and one in the namespace (tap_relay.c). A second
  comparison is with veth pairs instead: all in the kernel, nothing is ever copied.
  It promises nothing, and says what leaving the kernel costs.

Part `usernet`: iperf3 from the namespace of a tap through `user` to a server in the
host's namespace, both ways, against QEMU's user and tap on one hub.

All namespaces are made here, and no frame leaves them. CPU per byte is that of the
whole machine, which should do nothing else.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess

from host import measure
from kit import netns, qemu
from kit.daemon import Daemon
from kit.deadline import until
from kit.netns import Netns
from kit.qemu import Qemu

# Least ratios, in one run.
PACKETS, BULK, USER = 0.5, 1.0, 0.9
QUEUE = "4096"  # of a tap, in frames
SECONDS = 2  # of iperf3
SERVER = "192.0.2.10"


def cpu_s():
    """Seconds of processor that this machine has used."""
    with open("/proc/stat", encoding="ascii") as f:
        words = [int(n) for n in f.readline().split()[1:]]
    # user, nice, system, (idle, iowait,) irq, softirq
    return (sum(words[:3]) + sum(words[5:7])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def spaces(count):
    """Network namespaces without IPv6 and its own traffic."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(stack.enter_context(contextlib.closing(Netns())))
            made[-1].run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                         "net.ipv6.conf.default.disable_ipv6=1")
            made[-1].ip("link", "set", "lo", "up")
        yield made


@contextlib.contextmanager
def daemon(build, space):
    """A daemon in a namespace, and its session."""
    d = Daemon(build, "-nodefaults", before=space.argv())
    try:
        yield d, d.qmp()
    finally:
        d.kill()


def add(q, name, **options):
    q.cmd("netdev_add", id=name, **options)
    q.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=0, netdev=name)


def add_tap(q, name):
    add(q, name, type="tap", ifname=name, script="no", downscript="no")


# --- frames --------------------------------------------------------------------

def our_frames(build, program, size):
    with spaces(3) as (host, *sides), daemon(build, host) as (d, q):
        ends = []
        for i, side in enumerate(sides):
            add_tap(q, f"t{i}")
            host.ip("link", "set", f"t{i}", "txqueuelen", QUEUE)
            host.give(f"t{i}", side, f"10.9.0.{i + 1}/24", 9000)
            ends.append(f"packet:t{i},netns=/proc/{side.pid}/ns/net")
        return measure(program, ends, size, d.processes())


def bridge_in(space):
    space.ip("link", "add", "br0", "mtu", "9000", "type", "bridge")
    space.ip("link", "set", "br0", "up")


def their_frames(_build, program, size):
    with spaces(1) as (host,):
        bridge_in(host)
        ends = []
        for i in range(2):
            host.ip("tuntap", "add", f"t{i}", "mode", "tap")
            host.ip("link", "set", f"t{i}", "mtu", "9000", "txqueuelen", QUEUE,
                    "master", "br0", "up")
            ends.append(f"tap:t{i},netns=/proc/{host.pid}/ns/net")
        return measure(program, ends, size, [])


# --- bulk TCP -------------------------------------------------------------------

@contextlib.contextmanager
def server(space):
    s = space.popen("iperf3", "-s", "--forceflush", stdout=subprocess.PIPE,
                    text=True)
    try:
        while "listening" not in s.stdout.readline():
            assert s.poll() is None
        yield
    finally:
        s.kill()
        s.wait()
        s.stdout.close()


def iperf(space, address, *words):
    """{gbps, ns: processor per byte, again: retransmitted} of one TCP stream."""
    before = cpu_s()
    end = json.loads(space.run(
        "iperf3", "-J", "-c", address, "-t", str(SECONDS), *words).stdout)["end"]
    used = cpu_s() - before
    got = end["sum_received"]
    return {"gbps": got["bits_per_second"] / 1e9,
            "ns": used * 1e9 / got["bytes"],
            "again": end["sum_sent"]["retransmits"]}


def our_bulk(build):
    with spaces(3) as (host, *sides), daemon(build, host) as (_, q):
        for i, side in enumerate(sides):
            add_tap(q, f"t{i}")
            host.give(f"t{i}", side, f"10.9.0.{i + 1}/24")
        with server(sides[1]):
            return iperf(sides[0], "10.9.0.2")


@contextlib.contextmanager
def relay(build, space, *taps):
    """A process that holds two taps and copies frames between them."""
    r = space.popen(os.path.join(build, "bench", "tap_relay"), *taps,
                    stdout=subprocess.PIPE, text=True)
    try:
        assert r.stdout.readline() == "ready\n"
        yield
    finally:
        r.kill()
        r.wait()
        r.stdout.close()


def their_bulk(build):
    with contextlib.ExitStack() as stack:
        host, *sides = stack.enter_context(spaces(3))
        bridge_in(host)
        for i, side in enumerate(sides):
            stack.enter_context(relay(build, host, f"t{i}", f"a{i}"))
            host.ip("link", "set", f"t{i}", "master", "br0", "up")
            host.give(f"a{i}", side, f"10.9.0.{i + 1}/24")
        with server(sides[1]):
            return iperf(sides[0], "10.9.0.2")


def kernels_bulk(_build):
    with spaces(3) as (host, *sides):
        bridge_in(host)
        for i, side in enumerate(sides):
            host.ip("link", "add", f"v{i}", "type", "veth", "peer", "name",
                    f"w{i}")
            host.ip("link", "set", f"v{i}", "master", "br0", "up")
            host.give(f"w{i}", side, f"10.9.0.{i + 1}/24")
        with server(sides[1]):
            return iperf(sides[0], "10.9.0.2")


def compare(table, spread, what, least, runs, form):
    """Rows for [(ours, theirs)] of numbers."""
    ratios = [a / b for a, b in runs]
    kept = None if least is None else statistics.median(ratios) >= least
    table.row(what, spread(ratios), f">= {least}" if least else "", kept)
    for name, values in zip(("ours", "theirs"), zip(*runs)):
        table.row(f"  {name}", spread(values, form), "")


def alternate(repeat, ours, theirs, *args):
    """[(ours, theirs)] of calls in turn."""
    return [(ours(*args), theirs(*args)) for _ in range(repeat)]


def column(runs, key):
    return [(a[key], b[key]) for a, b in runs]


def medians(runs, key, form):
    return ", ".join(form.format(statistics.median(side))
                     for side in zip(*column(runs, key)))


def bulk_rows(table, spread, what, least, runs):
    compare(table, spread, what, least, column(runs, "gbps"), "{:.2f} Gbit/s")
    table.row("  processor, ns per byte: ours, theirs",
              medians(runs, "ns", "{:.2f}"), "")
    table.row("  sent again: ours, theirs", medians(runs, "again", "{:.0f}"), "")


def bench_taps(table, args, spread, framegen):
    program = framegen(args)
    reason = netns.why_not()
    if reason:
        table.row("tap to tap", "skipped", reason)
        return
    if not program:
        table.row("tap to tap, frames", "skipped", f"no framegen in {args.peers}")
    for size in (64, 1514) if program else ():
        runs = alternate(args.repeat, our_frames, their_frames, args.build,
                         program, size)
        compare(table, spread, f"tap to tap, {size} B, of a bridge's",
                PACKETS if size == 64 else None, column(runs, "rx_pps_min"),
                "{:.0f}")
        table.row("  lost of all sent: ours, theirs",
                  medians(runs, "loss_max", "{:.4f}"), "")
        table.row("  processor, ns per frame: ours, theirs",
                  medians(runs, "cpu_ns_per_delivery", "{:.0f}"), "")
    if shutil.which("iperf3") is None:
        table.row("tap to tap, TCP", "skipped", "no iperf3")
        return
    for what, least, theirs in (
            ("tap to tap, TCP, of a bridge's with taps", BULK, their_bulk),
            ("tap to tap, TCP, of a bridge's in the kernel", None, kernels_bulk)):
        bulk_rows(table, spread, what, least,
                  alternate(args.repeat, our_bulk, theirs, args.build))


# --- user -------------------------------------------------------------------------

@contextlib.contextmanager
def world():
    """(host, guest): the host's namespace has a server and a way out."""
    with spaces(2) as (host, guest):
        host.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        host.ip("link", "set", "d1", "up")
        host.ip("address", "add", f"{SERVER}/24", "dev", "d0")
        host.ip("link", "set", "d0", "up")
        host.ip("route", "add", "default", "via", "192.0.2.1")
        with server(host):
            yield host, guest


def to_guest(host, guest, name):
    host.give(name, guest, "10.0.2.15/24")
    guest.ip("route", "add", "default", "via", "10.0.2.2")


def both_ways(guest):
    return {"up": iperf(guest, SERVER), "down": iperf(guest, SERVER, "-R")}


def our_user(build):
    with world() as (host, guest), daemon(build, host) as (_, q):
        add(q, "u", type="user")
        add_tap(q, "t0")
        to_guest(host, guest, "t0")
        return both_ways(guest)


def their_user(_build):
    with world() as (host, guest):
        q = Qemu("-netdev", "user,id=u",
                 "-netdev", "hubport,id=h0,hubid=0,netdev=u",
                 "-netdev", "tap,id=t,ifname=t0,script=no,downscript=no",
                 "-netdev", "hubport,id=h1,hubid=0,netdev=t",
                 before=host.argv())
        try:
            until(lambda: host.link("t0"), 10, "QEMU's tap")
            to_guest(host, guest, "t0")
            return both_ways(guest)
        finally:
            q.close()


def bench_usernet(table, args, spread, framegen):
    _ = framegen
    reason = netns.why_not() or qemu.why_not()
    if not reason and shutil.which("iperf3") is None:
        reason = "no iperf3"
    if reason:
        table.row("user and tap", "skipped", reason)
        return
    runs = alternate(args.repeat, our_user, their_user, args.build)
    for way in ("up", "down"):
        bulk_rows(table, spread, f"user and tap, TCP {way}, of QEMU's", USER,
                  column(runs, way))


PARTS = {"taps": bench_taps, "usernet": bench_usernet}
