"""Two virtual machines of stock QEMU on the default network."""

import hashlib
import os
import re
import subprocess
import threading
import urllib.request

import pytest

from kit.deadline import until
from kit.wire import free_port

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")


class Lab:
    """`user`, two VM ports and a capture on hub 0, and the machines."""

    def __init__(self, bulkhead, guest_of, tmp_path):
        self.files = tmp_path / "files"
        self.files.mkdir()
        self.blob = os.urandom(300000)
        (self.files / "blob").write_bytes(self.blob)
        self.sum = hashlib.md5(self.blob).hexdigest()
        self.forward = free_port()
        self.server_port = free_port()
        self.capture = tmp_path / "capture.pcap"
        self.sockets = [f"/tmp/bhvm-{os.getpid()}-{i}" for i in range(2)]
        args = ["-netdev",
                f"user,id=user0,tftp={self.files},"
                f"hostfwd=tcp:127.0.0.1:{self.forward}-10.0.2.15:80,"
                f"guestfwd=tcp:10.0.2.100:80-tcp:127.0.0.1:{self.server_port}",
                "-netdev", f"dump,id=dump0,file={self.capture}"]
        for i, path in enumerate(self.sockets):
            args += ["-netdev", f"socket,id=vm{i},connect={path}"]
        for name in ("user0", "dump0", "vm0", "vm1"):
            args += ["-netdev", f"hubport,id=p-{name},hubid=0,netdev={name}"]
        self.daemon = bulkhead(*args)
        self.qmp = self.daemon.qmp()
        self.guests = [guest_of(f"stream,id=n0,server=on,addr.type=unix,"
                                f"addr.path={path}", mac)
                       for path, mac in zip(self.sockets, MACS)]
        for g in self.guests:
            g.wait_ready()
        for name in ("vm0", "vm1"):
            until(lambda n=name: self.qmp.netdev(n)["operational"], 20,
                  f"{name} connected")
        self.addresses = [g.dhcp() for g in self.guests]

    def serve(self):
        """A one-file TCP server on the host side; returns its thread."""
        done = subprocess.Popen(
            ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1",
             "--directory", str(self.files), str(self.server_port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            try:
                urllib.request.urlopen(
                    f"http://127.0.0.1:{self.server_port}/", timeout=1).close()
                return True
            except OSError:
                return False
        until(answers, 10, "the server")
        return done

    def close(self):
        for path in self.sockets:
            if os.path.exists(path):
                os.unlink(path)


@pytest.fixture
def lab(bulkhead, guest_of, tmp_path, closing):
    return closing(Lab(bulkhead, guest_of, tmp_path))


@pytest.mark.seconds(240)
def test_two_machines_and_the_outside_world(lab):
    """DHCP, ping both ways and to the gateway, TFTP, TCP through forwarded
    ports in both directions; the capture agrees with the counters."""
    one, two = lab.guests
    assert lab.addresses == ["10.0.2.15", "10.0.2.16"]
    one.run(f"ping -c 3 -i 0.2 {lab.addresses[1]}")
    two.run(f"ping -c 3 -i 0.2 {lab.addresses[0]}")
    for g in lab.guests:
        g.run("ping -c 2 -i 0.2 10.0.2.2")
    for g in lab.guests:
        assert lab.sum in g.run(
            "tftp -g -r blob -l /tmp/t 10.0.2.2 && md5sum /tmp/t", 60)

    server = lab.serve()
    try:
        for g in lab.guests:
            assert lab.sum in g.run(
                "wget -q -O /tmp/w http://10.0.2.100/blob && md5sum /tmp/w", 60)
    finally:
        server.kill()
        server.wait()
    one.run("cp /tmp/w /www/file && httpd -p 80 -h /www")
    with urllib.request.urlopen(
            f"http://127.0.0.1:{lab.forward}/file", timeout=60) as answer:
        assert answer.read() == lab.blob
    two.run(f"wget -q -O /tmp/x http://{lab.addresses[0]}/file && "
            "cmp /tmp/x /tmp/w", 60)

    for g in lab.guests:
        g.run("ip link set eth0 down")
    c = until_quiet(lab)
    counted = subprocess.run(["tcpdump", "--count", "-r", str(lab.capture)],
                             text=True, check=True, capture_output=True)
    frames = int(counted.stdout.split()[0])
    said = subprocess.run(["tcpdump", "-n", "-r", str(lab.capture)], text=True,
                          check=True, capture_output=True)
    # Large frames of `user` are cut into those of a wire.
    assert frames == c["dump0"]["out-frames"] >= c["dump0"]["rx-frames"]
    entered = sum(c[n]["tx-frames"] for n in ("user0", "vm0", "vm1"))
    assert entered == c["dump0"]["rx-frames"] + c["dump0"]["rx-drop-full"]
    for word in ("DHCP", "ICMP echo request", "ARP"):
        assert word in said.stdout
    assert all(c[n]["rx-drop-full"] == 0 for n in c)


def until_quiet(lab):
    """Counters once they have stopped to move."""
    last = [None]

    def same():
        now = {n: lab.qmp.counters(n) for n in ("user0", "dump0", "vm0", "vm1")}
        if last[0] == now and now["dump0"]["out-frames"] >= \
                now["dump0"]["rx-frames"]:
            return now
        last[0] = now
        return None
    return until(same, 10, "quiet counters")


def kill(lab, name):
    pid = [b for b in lab.qmp.cmd("query-backends") if b["id"] == name][0]["pid"]
    os.kill(pid, 9)
    lab.qmp.event("BACKEND_EXITED", id=name)
    return lab.qmp.event("BACKEND_RESTARTED", id=name)


@pytest.mark.seconds(240)
def test_tcp_between_machines_survives_deaths(lab):
    """kill -9 of a backend and of the lane under TCP load: the stream resumes
    without touching the machine; the outage is reported."""
    one, two = lab.guests
    one.run("dd if=/dev/urandom of=/www/big bs=1M count=24 2>/dev/null; "
            "httpd -p 80 -h /www")
    total = one.run("md5sum /www/big").split()[0]
    two.start(f"wget -q -O - http://{lab.addresses[0]}/big | md5sum")
    lane = [h for h in lab.qmp.cmd("query-hubs") if h["hubid"] == 0][0]["lane"]
    for name in (lane, "dump0", "vm0", lane, "vm1"):
        before = lab.qmp.counters("vm0")["tx-frames"] + \
            lab.qmp.counters("vm1")["tx-frames"]
        report = kill(lab, name)
        assert report["outage-us"] > 0
        if name.startswith("vm"):
            break
        until(lambda b=before: lab.qmp.counters("vm0")["tx-frames"]
              + lab.qmp.counters("vm1")["tx-frames"] > b, 20, "traffic again")
    status, output = two.finish(120)
    assert status == 0 and total in output, output
    assert re.match("10.0.2.1[56]", lab.addresses[0])
    assert threading.active_count() == 1
