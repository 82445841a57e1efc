"""user and tap on one hub: a namespace behind user-mode networking, and large
segments both ways."""

import hashlib
import random
import subprocess
import sys

import pytest

from kit import netns
from kit.netns import Netns

pytestmark = pytest.mark.skipif(netns.why_not() is not None,
                                reason=str(netns.why_not()))

SERVER = "192.0.2.10"
SIZE = 30_000_000
# Bytes that differ everywhere, and what came the other way.
SPEAKER = f"""
import hashlib, random, socket, sys
def say(s, seed):
    s.sendall(random.Random(seed).randbytes({SIZE}))
    s.shutdown(socket.SHUT_WR)
def hear(s):
    h = hashlib.sha256()
    while piece := s.recv(1 << 20):
        h.update(piece)
    print(h.hexdigest(), flush=True)
if sys.argv[1] == "serve":
    with socket.create_server(("{SERVER}", 5000)) as l:
        print("listening", flush=True)
        s, _ = l.accept()
    hear(s)
    say(s, 2)
else:
    s = socket.create_connection(("{SERVER}", 5000), 10)
    say(s, 1)
    hear(s)
s.close()
"""


@pytest.fixture
def guest(bulkhead, closing):
    """(host's namespace, guest's, session): the host has one address."""
    daemon = bulkhead("-nodefaults", before=("unshare", "-n"))
    host, space, qmp = Netns(daemon.proc.pid), closing(Netns()), daemon.qmp()
    host.ip("link", "set", "lo", "up")
    host.ip("address", "add", f"{SERVER}/32", "dev", "lo")
    for name, options in (("u", {"type": "user"}),
                          ("t", {"type": "tap", "ifname": "bhut0",
                                 "script": "no", "downscript": "no"})):
        qmp.cmd("netdev_add", id=name, **options)
        qmp.cmd("netdev_add", type="hubport", id="p-" + name, hubid=0,
                netdev=name)
    host.give("bhut0", space, "10.0.2.15/24")
    space.ip("route", "add", "default", "via", "10.0.2.2")
    return host, space, qmp


def digest(seed):
    return hashlib.sha256(random.Random(seed).randbytes(SIZE)).hexdigest()


@pytest.mark.parametrize("mtu", [1500, 9000, 576])
def test_bytes_cross_in_large_segments(guest, mtu):
    host, space, qmp = guest
    space.ip("link", "set", "bhut0", "mtu", str(mtu))
    server = host.popen(sys.executable, "-c", SPEAKER, "serve",
                        stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "listening\n"
        done = space.run(sys.executable, "-c", SPEAKER, "call")
        assert server.stdout.readline().strip() == digest(1)
        assert done.stdout.strip() == digest(2)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    counters = qmp.counters("u")
    # All frames, with those that only acknowledge.
    for way in ("in", "out"):
        assert SIZE < counters[f"{way}-bytes"] < SIZE * 1.1, counters
        assert counters[f"{way}-bytes"] / counters[f"{way}-frames"] > 2000, \
            counters
