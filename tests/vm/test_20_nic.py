"""Machines of stock QEMU on nics: their memory is mapped by one process each."""

import hashlib
import os
import signal

import pytest

from kit.deadline import until

MACS = ("52:54:00:76:75:01", "52:54:00:76:75:02")


class Lab:
    """`user` and nics on hub 0; sockets of the nics are `paths`."""

    def __init__(self, bulkhead, tmp_path, nics=1, options=""):
        self.files = tmp_path / "files"
        self.files.mkdir()
        blob = os.urandom(300000)
        (self.files / "blob").write_bytes(blob)
        self.sum = hashlib.md5(blob).hexdigest()
        args = ["-netdev", f"user,id=user0,tftp={self.files}",
                "-netdev", "hubport,id=p-user0,hubid=0,netdev=user0"]
        for i in range(nics):
            args += ["-net", f"nic,id=n{i},macaddr={MACS[i]}{options}"]
        self.daemon = bulkhead(*args)
        self.qmp = self.daemon.qmp()
        self.paths = [self.daemon.path(f"n{i}.sock") for i in range(nics)]

    def chardev(self, i=0):
        return f"path={self.paths[i]},reconnect=1"

    def pid(self, name):
        return next(b["pid"] for b in self.qmp.cmd("query-backends")
                    if b["id"] == name)

    def fetch(self, guest):
        assert self.sum in guest.run(
            "tftp -g -r blob -l /tmp/t 10.0.2.2 && md5sum /tmp/t", 60)


@pytest.mark.seconds(240)
def test_a_guest_and_all_that_can_happen_to_it(bulkhead, guest_of, tmp_path):
    """DHCP, a file, a reboot, the nic's end and another QEMU: it comes back."""
    lab = Lab(bulkhead, tmp_path)
    g = guest_of(None, MACS[0], chardev=lab.chardev(), reboots=True).wait_ready()
    assert MACS[0] in g.run("cat /sys/class/net/eth0/address")
    assert g.dhcp() == "10.0.2.15"
    lab.fetch(g)
    assert lab.qmp.netdev("n0")["operational"]

    os.kill(lab.pid("n0"), signal.SIGKILL)
    lab.qmp.event("BACKEND_RESTARTED", id="n0")
    until(lambda: lab.qmp.netdev("n0")["operational"], 10, "the guest again")
    g.run("ping -c 3 -W 5 10.0.2.2", 30)
    lab.fetch(g)

    g.start("reboot -f")
    g.wait_ready()
    assert g.dhcp() == "10.0.2.15"
    lab.fetch(g)

    g.close()
    until(lambda: not lab.qmp.netdev("n0")["operational"], 10, "QEMU's end")
    g = guest_of(None, MACS[0], chardev=lab.chardev()).wait_ready()
    g.dhcp()
    lab.fetch(g)


@pytest.mark.seconds(240)
def test_packed_rings_go_on_when_the_nic_has_died(bulkhead, guest_of, tmp_path):
    """QEMU says of them what it said before; the nic knows where it was. It
    ends several times, each time while the guest sends and receives."""
    lab = Lab(bulkhead, tmp_path)
    g = guest_of(None, MACS[0], chardev=lab.chardev(), device=",packed=on",
                 reboots=True).wait_ready()
    assert g.dhcp() == "10.0.2.15"
    features = g.run("cat /sys/class/net/eth0/device/features").strip()
    assert features[34] == "1", features
    for _ in range(4):
        g.start("ping -q -c 300 -i 0.01 -W 1 10.0.2.2; true")
        before = lab.qmp.counters("n0")["in-frames"]
        until(lambda: lab.qmp.counters("n0")["in-frames"] > before + 20, 10,
              "pings")
        os.kill(lab.pid("n0"), signal.SIGKILL)
        lab.qmp.event("BACKEND_RESTARTED", id="n0")
        until(lambda: lab.qmp.netdev("n0")["operational"], 10, "the guest again")
        g.finish(60)
        g.run("ping -c 3 -W 5 10.0.2.2", 30)
        lab.fetch(g)
    # A driver that starts anew has a ring that nobody has used.
    os.kill(lab.pid("n0"), signal.SIGKILL)
    g.start("reboot -f")
    g.wait_ready()
    until(lambda: lab.qmp.netdev("n0")["operational"], 10, "the guest again")
    assert g.dhcp() == "10.0.2.15"
    lab.fetch(g)


@pytest.mark.seconds(240)
def test_two_guests_and_large_segments(bulkhead, guest_of, tmp_path):
    """Bulk TCP from one to the other in frames longer than any wire's."""
    lab = Lab(bulkhead, tmp_path, nics=2)
    guests = [guest_of(None, mac, chardev=lab.chardev(i))
              for i, mac in enumerate(MACS)]
    addresses = [g.wait_ready().dhcp() for g in guests]
    one, two = guests
    one.run(f"ping -c 2 {addresses[1]}")
    one.run("dd if=/dev/urandom of=/www/big bs=1M count=16 && httpd -p 80 -h /www",
            60)
    want = one.run("md5sum </www/big", 60).split()[0]
    before = lab.qmp.counters("n0")
    assert want in two.run(
        f"wget -q -O - http://{addresses[0]}/big | md5sum", 120)
    after = lab.qmp.counters("n0")
    frames = after["in-frames"] - before["in-frames"]
    sent = after["in-bytes"] - before["in-bytes"]
    assert sent > 16 << 20 and sent / frames > 3000, (sent, frames)


@pytest.mark.seconds(180)
def test_two_pairs_of_queues(bulkhead, guest_of, tmp_path):
    lab = Lab(bulkhead, tmp_path, options=",queues=2")
    g = guest_of(None, MACS[0], chardev=lab.chardev(), queues=2).wait_ready()
    g.dhcp()
    lab.fetch(g)


@pytest.mark.seconds(120)
@pytest.mark.parametrize("options,queues", [
    ("", 1), (",model=virtio-net-pci-transitional,addr=05.0", 1),
    (",model=virtio-net-pci-non-transitional,queues=2,mtu=1400,addr=7,"
     "vectors=0", 2)])
def test_the_words_of_query_nics_are_all_it_takes(bulkhead, guest_of, tmp_path,
                                                  options, queues):
    lab = Lab(bulkhead, tmp_path, options=options)
    nic, = lab.qmp.cmd("query-nics", memory=192 << 20)
    g = guest_of(None, None, queues=queues, words=nic["arguments"]["qemu"])
    g.wait_ready()
    assert nic["mac"] in g.run("cat /sys/class/net/eth0/address")
    assert g.run("ls -d /sys/class/net/eth0/queues/rx-*").count("rx-") == queues
    g.dhcp()
    assert g.run("cat /sys/class/net/eth0/mtu").strip() == \
        ("1400" if "mtu" in options else "1500")
    nic, = lab.qmp.cmd("query-nics")
    assert (nic["queues"], nic["pairs"]) == (queues, queues)
    lab.fetch(g)


@pytest.mark.seconds(180)
def test_the_nic_connects_to_a_qemu_that_listens(bulkhead, guest_of, tmp_path):
    """QEMU as the server: the nic's end costs milliseconds, not a second."""
    path = f"/tmp/bhvm-{os.getpid()}-nic"
    daemon = bulkhead(
        "-netdev", "user,id=user0",
        "-netdev", "hubport,id=p-user0,hubid=0,netdev=user0",
        "-chardev", f"socket,id=c0,path={path},reconnect-ms=50",
        "-net", f"nic,id=n0,macaddr={MACS[0]},chardev=c0")
    qmp = daemon.qmp()
    g = guest_of(None, MACS[0], chardev=f"path={path},server=on,wait=on")
    g.wait_ready()
    g.dhcp()
    pid = next(b["pid"] for b in qmp.cmd("query-backends") if b["id"] == "n0")
    os.kill(pid, signal.SIGKILL)
    qmp.event("BACKEND_RESTARTED", id="n0")
    until(lambda: qmp.netdev("n0")["operational"], 10, "the guest again")
    g.run("ping -c 3 -W 5 10.0.2.2", 30)
