"""Speed of datagram netdevs, against QEMU with the same ones: `udp` is framegen,
two udp netdevs on a hub, framegen; `l2tpv3` is framegen, a stream on a hub, a
pseudo-wire over UDP to a second hub, a stream, framegen."""

import json
import os
import socket
import statistics
import subprocess
import tempfile

from kit.daemon import Daemon
from kit.deadline import until
from kit.qemu import Qemu, why_not

LEAST = 1.0  # of QEMU's
WINDOW = 256  # frames under way: what a socket of usual size holds


def ports(count):
    """Free UDP ports of the loopback."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
               for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


def udp(_folder):
    """(our netdevs, QEMU's, framegen's ends, files to wait for). A netdev is
    (hub, options)."""
    p = ports(4)
    ways = [(0, {"type": "socket", "udp": f"127.0.0.1:{p[far]}",
                 "localaddr": f"127.0.0.1:{p[near]}"})
            for near, far in ((0, 1), (2, 3))]
    ends = [f"dgram:local=127.0.0.1:{p[far]},remote=127.0.0.1:{p[near]}"
            for near, far in ((0, 1), (2, 3))]
    return ways, ways, ends, []


def l2tpv3(folder):
    a, b = map(str, ports(2))
    paths = [os.path.join(folder, f"s{i}") for i in range(2)]
    wires = [(hub, {"type": "l2tpv3", "src": "127.0.0.1", "dst": "127.0.0.1",
                    "udp": True, "srcport": near, "dstport": far,
                    "txsession": 1, "txcookie": 2, "rxcookie": 2})
             for hub, (near, far) in enumerate(((a, b), (b, a)))]
    ours = wires + [(hub, {"type": "socket", "listen": path})
                    for hub, path in enumerate(paths)]
    theirs = wires + [(hub, {"type": "stream", "server": True,
                             "addr.type": "unix", "addr.path": path})
                      for hub, path in enumerate(paths)]
    return ours, theirs, [f"stream:connect={p}" for p in paths], paths


def measure(program, ends, size, pids):
    """One closed-loop second from the first end to the other."""
    argv = [program, "--size", str(size), "--seconds", "1", "--window",
            str(WINDOW), "--tx", ends[0], "--rx", ends[1]]
    for p in pids:
        argv += ["--watch", str(p)]
    r = json.loads(subprocess.run(argv, check=False, text=True, timeout=60,
                                  capture_output=True).stdout)
    assert r["ok"] and not r["corrupt"] and not r["dup"], r
    return r


def our_rate(build, program, way, size):
    d = Daemon(build, "-nodefaults")
    try:
        q = d.qmp()
        netdevs, _, ends, _ = way(d.run_dir)
        for i, (hub, options) in enumerate(netdevs):
            q.cmd("netdev_add", id=f"n{i}", **options)
            q.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=hub,
                  netdev=f"n{i}")
        return measure(program, ends, size, d.processes())
    finally:
        d.kill()


def their_rate(_build, program, way, size):
    with tempfile.TemporaryDirectory(prefix="bhb-", dir="/tmp") as folder:
        _, netdevs, ends, files = way(folder)
        argv = []
        for i, (hub, options) in enumerate(netdevs):
            more = "".join(f",{k}={'on' if v is True else v}"
                           for k, v in options.items() if k != "type")
            argv += ["-netdev", f"{options['type']},id=n{i}{more}",
                     "-netdev", f"hubport,id=p{i},hubid={hub},netdev=n{i}"]
        q = Qemu(*argv)
        try:
            until(lambda: all(map(os.path.exists, files)), 10, "sockets")
            return measure(program, ends, size, [q.proc.pid])
        finally:
            q.close()


def bench_datagrams(table, args, spread, framegen):
    program, reason = framegen(args), why_not()
    if not program or reason:
        table.row("udp, l2tpv3", "skipped", reason or f"no framegen in {args.peers}")
        return
    for way in (udp, l2tpv3):
        for size in (64, 1514):
            rates = {our_rate: [], their_rate: []}
            for _ in range(args.repeat):
                for side, values in rates.items():
                    values.append(side(args.build, program, way, size))
            ours, theirs = ([r["rx_pps_min"] for r in rates[s]]
                            for s in (our_rate, their_rate))
            ratios = [a / b for a, b in zip(ours, theirs)]
            table.row(f"{way.__name__}, {size} B, of QEMU's", spread(ratios),
                      f">= {LEAST}", statistics.median(ratios) >= LEAST)
            table.row("  frames per second", f"{statistics.median(ours):.0f}", "")
            table.row("  lost of all sent, and QEMU's", " ".join(
                f"{statistics.median(r['loss_max'] for r in rates[s]):.4f}"
                for s in (our_rate, their_rate)), "")


PARTS = {"datagrams": bench_datagrams}
