"""Speed of nics: against dpdk-testpmd's own forwarder, between two guests
against QEMU's hub, and what many nics cost."""

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time

from kit import guest, testpmd
from kit.daemon import Daemon
from kit.deadline import until
from kit.qemu import Qemu

# Least ratios, in one run.
DPDK, GUESTS = 0.7, 3.0
# Adding the last 16 of 64 nics may take this often what the first 16 took.
LINEAR = 2.0
HUGE_PAGES = 160  # of 2 MiB: 48 for each testpmd, and a reserve
HUGE = "/proc/sys/vm/nr_hugepages"
MEGABYTES = 384  # from guest to guest, by each of
STREAMS = 3      # ... one after the other
# Before them: an emulator translates a guest's code when it first runs, and that
# second is in no figure.
WARM_MEGABYTES = 128
MACS = ("52:54:00:76:75:01", "52:54:00:76:75:02")


@contextlib.contextmanager
def huge_pages(count):
    """At least so many, for a while."""
    with open(HUGE, encoding="ascii") as f:
        before = f.read().strip()
    try:
        with open(HUGE, "w", encoding="ascii") as f:
            f.write(str(max(int(before), count)))
        with open(HUGE, encoding="ascii") as f:
            yield int(f.read()) >= count
    finally:
        with open(HUGE, "w", encoding="ascii") as f:
            f.write(before)


def pmd_rate(script, size, env=None):
    """Frames per second of both directions, by testpmd's generator."""
    out = subprocess.run(
        [script, str(size)], check=False, text=True, capture_output=True,
        timeout=120, env={**os.environ, "FG_SECONDS": "4", **(env or {})})
    r = json.loads(out.stdout.splitlines()[-1])
    return r["rx_pps_min"]


def our_rate(build, script, size):
    # All of ours where testpmd has its forwarder: the generator polls the
    # other processor, and a scheduler that knows no better shares that too.
    d = Daemon(build, "-nodefaults", before=("taskset", "-c", "0"))
    try:
        q = d.qmp()
        for i in range(2):
            q.cmd("netdev_add", type="nic", id=f"n{i}")
            q.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=0,
                  netdev=f"n{i}")
        return pmd_rate(script, size, {"VHOST0": d.path("n0.sock"),
                                       "VHOST1": d.path("n1.sock"),
                                       "LABEL": "bulkhead"})
    finally:
        d.kill()


def bench_dpdk(table, args, spread):
    script = os.path.join(args.peers, "peers", "testpmd.sh")
    reason = testpmd.why_not()
    if not reason and not os.path.exists(script):
        reason = f"no {script}"
    if not reason and os.geteuid() != 0:
        reason = "huge pages need root"
    if reason:
        table.row("nic to nic, testpmd", "skipped", reason)
        return
    with huge_pages(HUGE_PAGES) as enough:
        if not enough:
            table.row("nic to nic, testpmd", "skipped", "no huge pages")
            return
        for size in (64, 1514):
            ours, theirs = [], []
            for _ in range(args.repeat):
                ours.append(our_rate(args.build, script, size))
                theirs.append(pmd_rate(script, size))
            ratios = [a / b for a, b in zip(ours, theirs)]
            table.row(f"nic to nic, {size} B, of testpmd's vhost",
                      spread(ratios), f">= {DPDK}",
                      statistics.median(ratios) >= DPDK)
            table.row("  frames per second, both ways",
                      f"{statistics.median(ours):.0f}", "")


# --- guests -------------------------------------------------------------------

def cpu_s(pids):
    """Seconds of processor that these processes have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rsplit(") ", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def pour(one, two, port, megabytes):
    """One TCP stream from the first machine to the second; (bytes, seconds)."""
    one.start(f"pour send {port} {megabytes << 20}")
    start = time.monotonic()
    size = int(two.run(f"pour take 10.9.0.1 {port}", 240).split()[-1])
    assert size == megabytes << 20, size
    return size, time.monotonic() - start


def transfer(machines, between):
    """(MB/s, CPU ns per byte of all, and of what is between) of TCP from the
    first machine to the second: the stream of middle speed of STREAMS."""
    for i, m in enumerate(machines):
        m.run(f"ip addr add 10.9.0.{i + 1}/24 dev eth0")
    one, two = machines
    two.run("ping -c 1 -W 10 10.9.0.1", 30)
    pour(one, two, 9000, WARM_MEGABYTES)
    pids = [m.proc.pid for m in machines]
    found = []
    for i in range(STREAMS):
        begun, mine = cpu_s(pids + between), cpu_s(between)
        size, took = pour(one, two, 9001 + i, MEGABYTES)
        found.append((size / took / 1e6,
                      (cpu_s(pids + between) - begun) * 1e9 / size,
                      (cpu_s(between) - mine) * 1e9 / size))
    return sorted(found)[STREAMS // 2]


def boot(build, netdevs, **how):
    return [guest.Guest(build, n, mac, **{k: v[i] for k, v in how.items()})
            for i, (n, mac) in enumerate(zip(netdevs, MACS))]


def over_nics(build):
    d = Daemon(build, "-nodefaults")
    machines = []
    try:
        q = d.qmp()
        for i in range(2):
            q.cmd("netdev_add", type="nic", id=f"n{i}")
            q.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=0,
                  netdev=f"n{i}")
        machines = boot(build, (None, None),
                        chardev=[f"path={d.path(f'n{i}.sock')}" for i in range(2)])
        for m in machines:
            m.wait_ready()
        return transfer(machines, d.processes())
    finally:
        for m in machines:
            m.close()
        d.kill()


def over_qemu(build):
    machines = []
    with tempfile.TemporaryDirectory(prefix="bhb-", dir="/tmp") as folder:
        paths = [os.path.join(folder, f"s{i}") for i in range(2)]
        argv = []
        for i, p in enumerate(paths):
            argv += ["-netdev", f"stream,id=s{i},server=on,addr.type=unix,"
                     f"addr.path={p}",
                     "-netdev", f"hubport,id=p{i},hubid=0,netdev=s{i}"]
        q = Qemu(*argv)
        try:
            until(lambda: all(os.path.exists(p) for p in paths), 10, "sockets")
            machines = boot(build, [f"stream,id=n0,server=off,addr.type=unix,"
                                    f"addr.path={p}" for p in paths])
            for m in machines:
                m.wait_ready()
            return transfer(machines, [q.proc.pid])
        finally:
            for m in machines:
                m.close()
            q.close()


def bench_guests(table, args, spread):
    reason = guest.why_not()
    if reason:
        table.row("TCP between guests", "skipped", reason)
        return
    ours, theirs = [], []
    for _ in range(min(args.repeat, 3)):
        ours.append(over_nics(args.build))
        theirs.append(over_qemu(args.build))
    ratios = [a[0] / b[0] for a, b in zip(ours, theirs)]
    table.row("TCP between two guests, of QEMU's hub", spread(ratios),
              f">= {GUESTS}", statistics.median(ratios) >= GUESTS)
    for name, runs in (("nic-hub-nic", ours), ("QEMU's hub", theirs)):
        table.row(f"  {name}: MB/s", spread([r[0] for r in runs], "{:.0f}"), "")
        table.row("    processor, ns per byte: all", spread(
            [r[1] for r in runs]), "")
        table.row("    processor, ns per byte: between them", spread(
            [r[2] for r in runs]), "")


# --- many ---------------------------------------------------------------------

def bench_nics(table, args, spread):
    d = Daemon(args.build, "-nodefaults")
    try:
        q = d.qmp()
        took = []
        for i in range(64):
            start = time.monotonic()
            q.cmd("netdev_add", type="nic", id=f"n{i}")
            q.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=0,
                  netdev=f"n{i}")
            took.append((time.monotonic() - start) * 1000)
        first, last = (statistics.median(t) for t in (took[:16], took[-16:]))
        table.row("64 nics on a hub: the last 16 of the first 16",
                  f"{last / first:.2f} ({first:.1f} to {last:.1f} ms)",
                  f"<= {LINEAR}", last / first <= LINEAR)
        pids = [d.proc.pid, *d.processes()]
        time.sleep(0.5)
        before = cpu_s(pids)
        time.sleep(5)
        used = cpu_s(pids) - before
        table.row("64 nics that wait, seconds of processor in 5 s",
                  f"{used:.2f}", "<= 0", used <= 0)
    finally:
        d.kill()


PARTS = {"dpdk": bench_dpdk, "guests": bench_guests, "nics": bench_nics}
