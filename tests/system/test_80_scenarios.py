"""Scenarios that users know: QEMU's own, and the README's."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import pytest

from kit.daemon import Daemon
from kit.deadline import until
from kit.wire import frame, free_port, number

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def pcap_frames(path):
    """Frames of a capture of either time resolution."""
    data = open(path, "rb").read()
    found, at = [], 24
    while at + 16 <= len(data):
        kept = struct.unpack_from("<I", data, at + 8)[0]
        if at + 16 + kept > len(data):
            break
        found.append(data[at + 16:at + 16 + kept])
        at += 16 + kept
    return found


def test_hubports_bundle_several_netdevs_into_one_socket(bulkhead, peer, tmp_path):
    """As in QEMU's commit "net: Allow hubports to connect to other netdevs":
    what three NICs say goes through hubports into one socket netdev; another
    QEMU receives it and records it with filter-dump."""
    port = free_port()
    nics = []
    args = ["-netdev", f"socket,id=mon,connect=127.0.0.1:{port}",
            "-netdev", "hubport,id=mon-hub,hubid=9,netdev=mon"]
    for i in range(3):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        nics.append((s, free_port(socket.SOCK_DGRAM)))
        args += ["-netdev", f"socket,id=nic{i},udp=127.0.0.1:{s.getsockname()[1]},"
                 f"localaddr=127.0.0.1:{nics[i][1]}",
                 "-netdev", f"hubport,id=nic{i}-hub,hubid={i},netdev=nic{i}",
                 "-netdev", f"hubport,id=out{i},hubid={i}",
                 "-netdev", f"hubport,id=in{i},hubid=9,netdev=out{i}"]
    capture = tmp_path / "capture"
    # filter-dump needs a peer that takes frames: a hub of QEMU's own
    receiver = peer(
        "-netdev", f"socket,id=rx,listen=127.0.0.1:{port}",
        "-netdev", "hubport,id=a,hubid=0,netdev=rx",
        "-netdev", "hubport,id=b,hubid=0",
        "-object", f"filter-dump,id=f,netdev=rx,file={capture}")
    daemon = bulkhead(*args)
    session = daemon.qmp()
    until(lambda: session.netdev("mon")["operational"], 10, "the connection")
    for i, (s, to) in enumerate(nics):
        for n in range(100):
            s.sendto(frame(1000 * i + n, 200), ("127.0.0.1", to))
    expected = {1000 * i + n for i in range(3) for n in range(100)}

    def recorded():
        return {number(f) for f in pcap_frames(capture)} == expected
    until(recorded, 15, "300 frames in filter-dump's file")
    assert len(pcap_frames(capture)) == 300
    assert receiver.proc.poll() is None
    for s, _ in nics:
        s.close()


def readme_commands():
    """The lines of README's `sh` blocks, one list per block."""
    text = open(os.path.join(TOP, "README.md"), encoding="utf-8").read()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    assert blocks
    return [[l for l in b.replace("\\\n", " ").splitlines()
             if l.strip() and not l.startswith("#")] for b in blocks]


def test_readme_commands_are_real(build):
    """Every make target, option, program and file that README names exists."""
    helped = subprocess.run([os.path.join(build, "bin", "bulkheadd"), "--help"],
                            check=True, text=True, capture_output=True).stdout
    makefile = open(os.path.join(TOP, "Makefile"), encoding="utf-8").read()
    for line in (l for block in readme_commands() for l in block):
        words = shlex.split(line)
        if words[0] == "make":
            targets = [w for w in words[1:] if "=" not in w] or ["all"]
            for target in targets:
                assert re.search(rf"^([\w -]* )?{target}( [\w -]*)?:", makefile,
                                 re.M), line
        if words[0].endswith("bulkheadd"):
            for option in (w for w in words[1:] if w.startswith("-")):
                assert option.lstrip("-").split("=")[0] in helped, line


class ReadmeDaemon(Daemon):
    """One of README's bulkheadd commands, in a run directory of its own."""

    def __init__(self, build, option):
        (line,) = [l for block in readme_commands() for l in block
                   if l.startswith("build/bin/bulkheadd") and option in l]
        self.theirs = tempfile.mkdtemp(prefix="bh-", dir="/tmp")
        args = shlex.split(self.here(line))[1:]
        super().__init__(build, "--run-dir", self.theirs, *args, qmp=False)
        self.session = self.qmp(f"{self.theirs}/qmp.sock")

    def here(self, text):
        """README's text, with the run directory of this test."""
        return text.replace("/run/bulkhead", self.theirs)

    def stop(self, code=0):
        super().stop(code)
        shutil.rmtree(self.theirs)


def test_readme_network_of_your_own(build):
    daemon = ReadmeDaemon(build, "-netdev socket")
    try:
        assert [n["id"] for n in daemon.session.cmd("query-netdevs")] == \
            ["up", "p0", "vm", "p1"]
    finally:
        daemon.stop()


def readme_qemu():
    """The block of README that gives QEMU a card."""
    text = open(os.path.join(TOP, "README.md"), encoding="utf-8").read()
    inside = re.split(r"^```.*\n", text, flags=re.M)[1::2]
    (block,) = [b for b in inside if "-netdev vhost-user" in b]
    return block


def test_readme_card_is_what_query_nics_says(build):
    daemon = ReadmeDaemon(build, "-net nic")
    try:
        nic, other = daemon.session.cmd("query-nics")
        assert (nic["id"], other["id"]) == ("vm0", "vm1")
        assert shlex.split(daemon.here(readme_qemu())) == \
            nic["arguments"]["qemu"]
        assert set(nic["arguments"]) == {"qemu", "cloud-hypervisor", "uml"}
        ports = {h["hubid"]: len(h["ports"])
                 for h in daemon.session.cmd("query-hubs")}
        assert ports == {0: 3}
    finally:
        daemon.stop()


def test_readme_card_in_qemu(build, peer):
    """QEMU takes README's arguments, and comes again when the card died."""
    daemon = ReadmeDaemon(build, "-net nic")
    try:
        def connected():
            return daemon.session.cmd("query-nics")[0]["connected"]
        words = shlex.split(daemon.here(readme_qemu()))
        peer("-M", "q35", "-accel", "tcg", "-S", *words)
        until(connected, 20, "QEMU's front-end")
        (pid,) = [b["pid"] for b in daemon.session.cmd("query-backends")
                  if b["id"] == "vm0"]
        os.kill(pid, signal.SIGKILL)
        daemon.session.event("BACKEND_RESTARTED", id="vm0")
        until(connected, 20, "QEMU again")
    finally:
        daemon.stop()


def test_readme_first_run(build, peer):
    """`make run`, then the QEMU option that README and the daemon print, from
    a stock QEMU: the port connects, retries until then, and reconnects."""
    daemon = Daemon(build, qmp=False)
    try:
        told = daemon.log()
        option = re.search(r"-netdev (stream,\S+)", told).group(1)
        assert "server=on" in option and daemon.run_dir in option
        session = daemon.qmp(daemon.path("qmp.sock"))
        for _ in range(2):
            q = peer("-netdev", option)
            session.event("NETDEV_STREAM_CONNECTED", netdev_id="vm0")
            q.close()
            session.event("NETDEV_STREAM_DISCONNECTED", netdev_id="vm0")
            os.unlink(daemon.path("vm0.sock"))  # QEMU leaves it behind
    finally:
        daemon.stop()


@pytest.mark.parametrize("page", ["bulkheadd.8", "bulkhead-policy.5",
                                  "bulkhead-qmp.7", "bulkhead-netdev.7"])
def test_manual_pages_are_there(build, page):
    text = open(os.path.join(build, "man", page), encoding="utf-8").read()
    assert text.startswith('.\\"') or text.startswith(".Dd")
    assert ".\\\" table" not in text


def test_manual_names_every_command_event_and_option(qmp, build):
    qmp.send({"execute": "query-qmp-schema"})
    schema = json.loads(qmp.line())["return"]
    text = "".join(open(os.path.join(build, "man", p), encoding="utf-8").read()
                   for p in os.listdir(os.path.join(build, "man")))
    text = text.replace("\\-", "-").replace("\\&", "")
    for e in schema:
        if e["meta-type"] in ("command", "event"):
            assert e["name"] in text, e["name"]


def test_backends_idle_without_processor_time(qmp):
    """Sixteen netdevs, nothing to do: no tick in any process."""
    for i in range(16):
        qmp.cmd("netdev_add", type="socket", id=f"s{i}",
                listen=qmp.daemon.path(f"s{i}.sock"))
        qmp.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=0, netdev=f"s{i}")

    def ticks():
        total = 0
        for pid in [qmp.daemon.proc.pid, *qmp.daemon.processes()]:
            fields = open(f"/proc/{pid}/stat", encoding="ascii").read()
            fields = fields.rsplit(") ", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total
    # the lanes of single ports go when their port has joined the hub's
    until(lambda: sorted(b["role"] for b in qmp.cmd("query-backends")) ==
          ["broker"] + 2 * ["lane"] + 16 * ["socket"], 10, "calm")
    until(lambda: len(qmp.daemon.processes()) == 21, 10, "the last to be gone")
    # its arena comes 200 ms after the last command
    until(lambda: all(qmp.netdev(f"s{i}")["arena"] for i in range(16)), 10,
          "its arena")
    before = ticks()
    with pytest.raises(socket.timeout):
        qmp.line(2)
    assert ticks() == before
