"""The long test: random deaths and changes under load, for SOAK seconds."""

import os
import random
import signal
import time

import pytest

from kit.deadline import until
from kit.qmp import QmpError
from kit.wire import Stream, frame

SECONDS = int(os.environ.get("SOAK", "300"))
PAIRS = 4


def pair(session, hub):
    """Two connecting netdevs on a hub; our ends of them."""
    ends = []
    for side in "ab":
        name = f"{side}{hub}"
        path = session.daemon.path(name)
        session.cmd("netdev_add", type="socket", id=name, listen=path)
        session.cmd("netdev_add", type="hubport", id="p" + name, hubid=hub,
                    netdev=name)
        ends.append(path)
    return ends


@pytest.mark.seconds(SECONDS + 120)
def test_chaos(qmp):
    """Everything but launcher and broker is killed at random while hubs are
    linked and unlinked; at the end every hub carries frames again."""
    seed = int(os.environ.get("SEED", time.time()))
    print(f"SEED={seed}")
    dice = random.Random(seed)
    paths = [pair(qmp, hub) for hub in range(PAIRS)]
    end = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < end:
        act = dice.randrange(4)
        if act < 2:
            alive = [b for b in qmp.cmd("query-backends")
                     if b["role"] != "broker" and "pid" in b]
            try:
                os.kill(dice.choice(alive)["pid"], signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
        elif act == 2:
            one, two = dice.sample(range(PAIRS), 2)
            for command, options in (
                    ("netdev_add", {"type": "hubport", "id": "x", "hubid": one}),
                    ("netdev_add", {"type": "hubport", "id": "y", "hubid": two,
                                    "netdev": "x"})):
                try:
                    qmp.cmd(command, **options)
                except QmpError:
                    pass
        else:
            for name in "yx":
                try:
                    qmp.cmd("netdev_del", id=name)
                except QmpError:
                    pass
        time.sleep(dice.random() * 0.3)  # the pace of the chaos
    for name in "yx":
        if name in {n["id"] for n in qmp.cmd("query-netdevs")}:
            qmp.cmd("netdev_del", id=name)
    for b in qmp.cmd("query-backends"):
        if b["state"] == "quarantined":
            qmp.cmd("backend-resume", id=b["id"])
    until(lambda: all(b["state"] == "running" for b in qmp.cmd("query-backends")),
          60, "all of them back")
    for hub, (a, b) in enumerate(paths):
        one, two = Stream.connect(a), Stream.connect(b)

        def through():
            one.send(frame(hub))
            try:
                return two.numbers(1, 1)
            except TimeoutError:
                return None
        assert until(through, 10, f"a frame on hub {hub}")
    assert kills > SECONDS / 10
