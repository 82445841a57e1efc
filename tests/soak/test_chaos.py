"""The long tests: random deaths and changes under load. Together they take
SOAK seconds, each its share, and a little at the end."""

import itertools
import os
import random
import select
import signal
import threading
import time

import pytest

from kit.deadline import until
from kit.qmp import QmpError
from kit.vhost import FrontEnd, GPA, HEADER
from kit.wire import Stream, frame, number

SECONDS = max(10, int(os.environ.get("SOAK", "300")) // 5)  # of each test
PAIRS = 4
BACK_S = 60  # the longest pause between two lives is 30 s
RESTED_MS = 10000  # who has lived so long is started again at once


@pytest.fixture
def dice():
    seed = int(os.environ.get("SEED", time.time()))
    print(f"SEED={seed}")
    return random.Random(seed)


def pair(session, hub):
    """Two listening netdevs on a hub; the paths of their sockets."""
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
def test_chaos(qmp, dice):
    """Everything but launcher and broker is killed at random while hubs are
    linked and unlinked; at the end every hub carries frames again."""
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


# --- what the tests of network cards are made of ------------------------------

MARKS = itertools.count(1 << 50)  # frames that are looked for, one by one


class Bystanders:
    """Two netdevs of a hub that nobody kills: a steady stream of frames from
    one to the other, and what else the other hears. Each frame of the stream
    has to arrive, whatever happens to the rest of the hub."""

    BATCH = 4

    def __init__(self, session, hub, pace):
        self.hub, self.pace, self.first = hub, pace, (hub + 1) << 40
        self.source, self.target = map(Stream.connect, pair(session, hub))
        for side in "ab":
            until(lambda n=f"{side}{hub}": session.netdev(n)["operational"], 10,
                  "a bystander")
        self.heard, self.marks, self.sent = [], set(), 0
        self.asked = []  # marks to send on the way
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._send),
                        threading.Thread(target=self._hear)]
        for t in self.threads:
            t.start()

    def _send(self):
        while not self.over.is_set():
            batch = range(self.first + self.sent,
                          self.first + self.sent + self.BATCH)
            also, self.asked = self.asked, []
            self.source.send(*(frame(n, 200) for n in (*batch, *also)))
            self.sent += self.BATCH
            self.over.wait(self.pace)  # the rate of the stream
        self.last = next(MARKS)
        self.source.send(frame(self.last))

    def _hear(self):
        while not (self.over.is_set() and getattr(self, "last", 0) in self.marks):
            n = self.target.numbers(1, 40)[0]
            if n >= 1 << 50:
                self.marks.add(n)
            elif self.first <= n < self.first + (1 << 40):
                self.heard.append(n - self.first)

    def say(self, mark):
        """Send a frame beside the stream."""
        self.asked = [*self.asked, mark]

    def close(self):
        """End the stream; harmless when it has ended."""
        self.over.set()
        for t in self.threads:
            t.join(60)
        self.source.close()
        self.target.close()

    def lost(self):
        """End the stream; the numbers that never came."""
        self.close()
        assert self.last in self.marks, "the last frame"
        return sorted(set(range(self.sent)) - set(self.heard))


def process(session, name):
    """query-backends' entry of one process."""
    return next(b for b in session.cmd("query-backends") if b["id"] == name)


def lane_of(session, hub):
    return next(h for h in session.cmd("query-hubs") if h["hubid"] == hub)["lane"]


def kill(session, name):
    """Kill a process if there is one; its pid then, or None."""
    pid = process(session, name).get("pid")
    try:
        if pid:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return pid


def is_back(session, name, pid):
    """Has it a process, and not this one? Quarantine is ended."""
    b = process(session, name)
    if b["state"] == "quarantined":
        session.cmd("backend-resume", id=name)
    return b["state"] == "running" and b.get("pid", pid) != pid


def chardev(session, name, path, **data):
    session.cmd("chardev-add", id=name, backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, **data}})


def card(session, hub, name, **options):
    """A nic on a hub; the path of its socket."""
    session.cmd("netdev_add", type="nic", id=name, **options)
    session.cmd("netdev_add", type="hubport", id=f"p-{name}", hubid=hub,
                netdev=name)
    return session.daemon.path(f"{name}.sock")


def join_hubs(session, one, two):
    """Hub one's frames go to hub two over vhost-user: v drives nic w."""
    path = session.daemon.path("w.sock")
    chardev(session, "c-w", path, wait=False)
    chardev(session, "c-v", path, server=False, **{"reconnect-ms": 50})
    card(session, two, "w", chardev="c-w")
    session.cmd("netdev_add", type="vhost-user", id="v", chardev="c-v")
    session.cmd("netdev_add", type="hubport", id="p-v", hubid=one, netdev="v")
    until(lambda: joined(session), 20, "v and w")


def joined(session):
    return all(session.netdev(n)["operational"] for n in "vw")


def is_balanced(session, *names):
    """Every frame that left a port of the hub was delivered to each of the
    others, or is in one of their counters."""
    of = {n["id"]: n["lane-counters"] for n in session.cmd("query-netdevs")
          if n["id"] in names}
    left = {n: c["tx-frames"] - c["tx-drop-link-down"] - c["tx-drop-no-peer"]
            for n, c in of.items()}
    total = sum(left.values())
    return len(of) == len(names) and all(
        c["rx-frames"] + c["rx-drop-full"] + c["rx-drop-dead"] +
        c["rx-filtered"] == total - left[n] for n, c in of.items())


# --- cards with drivers made by hand -------------------------------------------

class Cards:
    """Two hubs joined over vhost-user; on each two bystanders and two nics
    whose front-ends are ours. Hub 0's lane is left alone, so its counters are
    exact; hub 1's is one of the victims."""

    def __init__(self, session, closing, dice):
        self.session, self.dice = session, dice
        self.hubs = {n: n // 2 for n in range(4)}  # of nic n
        self.paths = [card(session, self.hubs[n], f"n{n}") for n in self.hubs]
        join_hubs(session, 0, 1)
        self.still = [closing(Bystanders(session, hub, 0.004)) for hub in (0, 1)]
        self.fronts = [None] * 4
        closing(self)
        for n in self.hubs:
            self.come(n)

    def come(self, n):
        """The next front-end of a nic, however the last one ended."""
        if self.fronts[n]:
            self.fronts[n].close()
        self.fronts[n] = FrontEnd(self.paths[n], 20)
        self.fronts[n].start()

    def close(self):
        for f in self.fronts:
            f.close()

    def take(self, n):
        """The numbers of the frames that nic n has given its front-end."""
        f, found = self.fronts[n], []
        for i, length in f.rings[0].taken():
            at = f.rings[0].buffers + i * f.BUFFER + HEADER
            data = f.memory[at:at + length - HEADER]
            if data[12:14] == b"\x88\xb5":
                found.append(number(data))
            f.rings[0].offer(i)
        f.rings[0].ring()
        return found

    def wait(self, condition, what, without=()):
        """until(), while the other front-ends take what comes."""
        def so():
            for n in set(self.hubs) - set(without):
                self.take(n)
            return condition()
        until(so, BACK_S, what)

    def talks(self, n):
        """Frames of nic n are heard on both hubs, and it hears frames."""
        up, down = next(MARKS), next(MARKS)

        def heard():
            self.fronts[n].transmit(frame(up))
            return all(up in s.marks for s in self.still)
        self.wait(heard, f"what n{n} says", [n])

        def hears():
            self.still[self.hubs[n]].say(down)
            return down in self.take(n)
        self.wait(hears, f"n{n} hears", [n])

    def choose(self):
        """One to three victims; mostly such as have lived for long, as quick
        deaths in a row make the next life wait."""
        names = [f"n{n}" for n in self.hubs] + ["v", "w", lane_of(self.session, 1)]
        rested = [n for n in names
                  if process(self.session, n).get("uptime-ms", 0) > RESTED_MS]
        if not rested or self.dice.randrange(4) == 0:
            rested = names
        count = min(len(rested), self.dice.randint(1, 3))
        return self.dice.sample(rested, count)

    def strike(self):
        """Some of the processes end; frames of the others are not lost."""
        victims = self.choose()
        gone = [n for n in self.hubs if f"n{n}" in victims]
        cut = [n for n in gone if self.dice.randrange(4) == 0]
        pids = {}
        for name in victims:
            if name in [f"n{n}" for n in cut]:
                pids[name] = process(self.session, name).get("pid")
                self.cut_off(int(name[1:]))
            else:
                pids[name] = kill(self.session, name)
        marks = [self.one_frame(n) for n in self.hubs if n not in gone]
        for hub, mark in marks:
            self.wait(lambda h=hub, m=mark: m in self.still[h].marks,
                      f"a frame that was sent while {victims} died", gone)
        for name, pid in pids.items():
            self.wait(lambda n=name, p=pid: is_back(self.session, n, p),
                      f"{name} again", gone)
        for n in cut:
            assert "signal:7" in process(self.session, f"n{n}")["last-exit"]
        return gone

    def cut_off(self, n):
        """The memory that holds the frames is gone under the nic: SIGBUS."""
        f = self.fronts[n]
        os.ftruncate(f.fd, 0x100000)
        f.rings[1].put_desc(0, GPA + 0x200000, 100, 0)
        f.rings[1].offer(0)
        f.rings[1].ring()

    def one_frame(self, n):
        """Sent once: (hub, mark)."""
        mark = next(MARKS)
        self.fronts[n].transmit(frame(mark))
        return self.hubs[n], mark


@pytest.mark.seconds(SECONDS + 240)
def test_chaos_of_cards(qmp, closing, dice):
    """nics, vhost-user and a lane are killed at random, memory is cut off and
    front-ends leave: traffic comes back each time, the others lose nothing, and
    every frame is counted."""
    lab = Cards(qmp, closing, dice)
    end, rounds = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        rounds += 1
        for n in lab.strike() if dice.randrange(2) else dice.sample(range(4), 2):
            lab.come(n)
        lab.wait(lambda: joined(qmp), "v and w")
        for n in lab.hubs:
            lab.talks(n)
        qmp.events.clear()
    exact, repeating = (s.lost() for s in lab.still)
    # When a lane comes back after seconds, full rings pour into b1 at once; if
    # patience ends for so slow a reader, this counter says so.
    dropped = qmp.counters("b1")["rx-drop-full"]
    assert exact == [] and repeating == [], f"b1 rx-drop-full {dropped}"
    assert lab.still[0].heard == list(range(lab.still[0].sent)), "order, repeats"
    until(lambda: is_balanced(qmp, "a0", "b0", "n0", "n1", "v"), 10, "the sums")
    a, b = qmp.counters("a0"), qmp.counters("b0")
    assert a["in-frames"] == a["tx-frames"] > lab.still[0].sent
    # Those that came when nobody was there to hear them.
    assert b["rx-frames"] == b["out-frames"] + b["out-drop-disconnected"]
    assert rounds > SECONDS / 20


# --- machines ------------------------------------------------------------------

MACS = ("52:54:00:76:75:11", "52:54:00:76:75:12")


def machine(guest_of, n, path):
    return guest_of(None, MACS[n], chardev=f"path={path},reconnect=1", reboots=True)


def says_something(g):
    """Has it finished what it was told to do?"""
    return select.select([g.proc.stdout], [], [], 0)[0] != []


def configure(g, n):
    g.run(f"ip addr add 10.9.0.{n + 1}/24 dev eth0")
    g.run("mkdir -p /www && httpd -p 80 -h /www")


def arrived(session):
    """Frames that came from hub 0 to hub 1; 0 while the lane is away."""
    return session.counters("w").get("tx-frames", 0)


@pytest.mark.seconds(SECONDS + 300)
def test_tcp_of_machines_through_chaos(qmp, closing, guest_of, dice):
    """Two machines, a hub each, the hubs joined over vhost-user. A download
    comes whole whichever processes on its way are killed."""
    paths = [card(qmp, n, f"n{n}", macaddr=MACS[n]) for n in range(2)]
    join_hubs(qmp, 0, 1)
    still = closing(Bystanders(qmp, 0, 0.02))
    guests = [machine(guest_of, n, p) for n, p in enumerate(paths)]
    for n, g in enumerate(guests):
        configure(g.wait_ready(), n)
    guests[0].run("dd if=/dev/urandom of=/www/big bs=1M count=32", 60)
    want = guests[0].run("md5sum </www/big", 60).split()[0]
    end, downloads, kills = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        guests[1].start("wget -q -O - http://10.9.0.1/big | md5sum")
        for _ in range(dice.randint(1, 3)):
            name = dice.choice(["n0", "n1", "v", "w", lane_of(qmp, 0),
                                lane_of(qmp, 1)])
            pid = kill(qmp, name)
            kills += 1
            until(lambda n=name, p=pid: is_back(qmp, n, p), BACK_S, f"{name} again")
            before = arrived(qmp)
            until(lambda b=before: arrived(qmp) > b + 20 or
                  says_something(guests[1]), BACK_S,
                  f"frames after the end of {name}")
        status, output = guests[1].finish(120)
        assert status == 0 and want in output, output
        downloads += 1
        qmp.events.clear()
    assert still.lost() == []
    assert downloads > 0 and kills > 0


@pytest.mark.seconds(SECONDS + 240)
def test_a_machine_that_reboots_again_and_again(qmp, closing, guest_of):
    """Its network is there after each start, and nobody else notices."""
    paths = [card(qmp, 0, f"n{n}", macaddr=MACS[n]) for n in range(2)]
    still = closing(Bystanders(qmp, 0, 0.02))
    other, restless = (machine(guest_of, n, p) for n, p in enumerate(paths))
    configure(other.wait_ready(), 0)
    pids = [process(qmp, n)["pid"] for n in ("n0", "n1")]
    end, starts = time.monotonic() + SECONDS, 0
    while True:
        configure(restless.wait_ready(), 1)
        restless.run("ping -c 2 -i 0.2 -W 5 10.9.0.1")
        other.run("ping -c 2 -i 0.2 -W 5 10.9.0.2")
        starts += 1
        if time.monotonic() > end:
            break
        restless.start("reboot -f")
    assert starts > 1
    assert pids == [process(qmp, n)["pid"] for n in ("n0", "n1")]
    assert still.lost() == []
    until(lambda: is_balanced(qmp, "a0", "b0", "n0", "n1"), 10, "the sums")


class Steady(threading.Thread):
    """One end of a hub that hears all: each frame once, in order, unchanged."""

    def __init__(self, end):
        super().__init__(daemon=True)
        self.end, self.heard, self.error = end, 0, None
        self.stop = False

    def run(self):
        try:
            while not self.stop:
                data = self.end.recv(30)
                if data[12:14] != b"\x88\xb5":
                    continue
                assert data == frame(self.heard, 60 + self.heard % 1455), \
                    (self.heard, number(data), len(data))
                self.heard += 1
        except Exception as e:  # told by the test
            if not self.stop:
                self.error = e


@pytest.mark.seconds(SECONDS + 120)
def test_arena(qmp, dice):
    """A hub of nine: five that stay hear everything while the others are
    killed, lose their link, do not read, come and go; its arena ends and
    begins all the time."""
    names = [f"h{i}" for i in range(9)]
    ends = {}
    for name in names:
        path = qmp.daemon.path(name)
        qmp.cmd("netdev_add", type="socket", id=name, listen=path)
        qmp.cmd("netdev_add", type="hubport", id="p" + name, hubid=0, netdev=name)
        ends[name] = Stream.connect(path)
        until(lambda n=name: qmp.netdev(n)["operational"], 10, "its end")
    source, steady = ends["h0"], [Steady(ends[n]) for n in names[1:5]]
    for thread in steady:
        thread.start()
    others, sent, acts, arenas = names[5:], 0, 0, 0
    end, act_at = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        if sent - min(t.heard for t in steady) < 100:
            source.send(*(frame(sent + i, 60 + (sent + i) % 1455)
                          for i in range(40)))
            sent += 40
        else:
            time.sleep(0.0005)
        errors = [t.error for t in steady if t.error]
        assert not errors, errors
        if time.monotonic() < act_at:
            continue
        act_at = time.monotonic() + dice.choice((0.05, 0.3, 0.8))
        acts += 1
        arenas += qmp.netdev("h1")["arena"]
        name, act = dice.choice(others), dice.randrange(5)
        if act == 0:
            back = {b["id"]: b for b in qmp.cmd("query-backends")}
            if back[name].get("uptime-ms", 0) > RESTED_MS:
                os.kill(back[name]["pid"], signal.SIGKILL)
        elif act < 3:
            qmp.cmd("set_link", name=name, up=act == 1)
        elif act == 3:  # it reads what there is, or stays behind
            try:
                ends[name].rest(0.01)
            except (EOFError, ConnectionError):  # killed before
                ends[name] = Stream.connect(qmp.daemon.path(name))
        else:
            ends[name].close()
            ends[name] = Stream.connect(qmp.daemon.path(name))
    until(lambda: all(t.heard == sent for t in steady), 30, "the last frames")
    for name, thread in zip(names[1:5], steady):
        thread.stop = True
        counters = qmp.counters(name)
        assert counters["rx-frames"] == sent
        assert counters["rx-drop-full"] == counters["rx-drop-dead"] == 0
        assert counters["rx-shared"] > 0
    print(f"frames={sent} acts={acts} with-an-arena={arenas}")
    assert sent > 1000 and acts > 5 and arenas > 0
