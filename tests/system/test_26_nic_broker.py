"""Network cards as the broker has them, without a VM: netdev_add and
device_add, query-nics, query-rx-filter, set_link, -net nic, -device, and
DEVICE_DELETED."""

import os
import signal
import socket
import subprocess

import pytest

from kit.deadline import until
from kit.qmp import QmpError

NEW = {"promiscuous": True, "unicast": "all", "multicast": "all",
       "vlan": "all", "broadcast-allowed": True, "unicast-overflow": False,
       "multicast-overflow": False, "unicast-table": [],
       "multicast-table": [], "vlan-table": list(range(4095, -1, -1))}


def raw(qmp, command, **arguments):
    """As Qmp.cmd(), but names of members stay as they are."""
    qmp.serial += 1
    qmp.send({"execute": command, "id": qmp.serial, "arguments": arguments})
    return qmp.finish(qmp.serial)


def refused(qmp, words, command, cls="GenericError", **arguments):
    with pytest.raises(QmpError) as e:
        raw(qmp, command, **arguments)
    assert (e.value.desc, e.value.cls) == (words, cls)


def card(qmp, name, **query):
    return {n["id"]: n for n in qmp.cmd("query-nics", **query)}[name]


def mac(last):
    return f"52:54:00:12:34:{last:02x}"


@pytest.fixture
def u(qmp):
    """A netdev to be joined to."""
    qmp.cmd("netdev_add", type="user", id="u")
    return qmp


def test_a_card_is_there_and_ready_to_use(u):
    u.cmd("netdev_add", type="nic", id="n", netdev="u")
    n = card(u, "n")
    path = u.daemon.path("n.sock")
    assert os.path.realpath(n["path"]) == os.path.realpath(path)
    path = n["path"]
    assert n["role"] == "server" and not n["connected"] and n["link-up"]
    assert (n["mac"], n["peer"], n["model"]) == (mac(0x56), "u", "virtio")
    assert (n["queues"], n["pairs"], n["features"]) == (1, 0, 0)
    assert n["arguments"]["qemu"] == [
        "-m", "1024M",
        "-object", "memory-backend-memfd,id=shared,size=1024M,share=on",
        "-machine", "memory-backend=shared",
        "-chardev", f"socket,id=chr-n,path={path},reconnect=1",
        "-netdev", "vhost-user,id=net-n,chardev=chr-n",
        "-device", f"virtio-net-pci,netdev=net-n,mac={mac(0x56)},vectors=0"]
    assert n["arguments"]["cloud-hypervisor"] == [
        "--memory", "size=1024M,shared=on", "--net",
        f"vhost_user=true,socket={path},mac={mac(0x56)},num_queues=2"]
    assert n["arguments"]["uml"] == [f"virtio_uml.device={path}:1"]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
    assert card(u, "n", memory=256 << 20)["arguments"]["qemu"][1] == "256M"
    assert u.netdev("n")["config"]["netdev"] == "u"
    assert u.netdev("u")["peer"] == "n"


def test_a_chardev_says_who_connects(u, closing):
    path = u.daemon.path("front")
    front = closing(socket.socket(socket.AF_UNIX))
    front.bind(path)
    front.listen()
    raw(u, "chardev-add", id="c", backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, "server": False}})
    u.cmd("netdev_add", type="nic", id="n", chardev="c")
    n = card(u, "n")
    assert (n["role"], n["chardev"], n["path"]) == ("client", "c", path)
    assert f"socket,id=chr-n,path={path},server=on,wait=off" in \
        n["arguments"]["qemu"]
    assert "uml" not in n["arguments"]
    assert n["arguments"]["cloud-hypervisor"][3].endswith(
        ",vhost_mode=server")


@pytest.mark.parametrize("tight", ["", ",tight=off"])
@pytest.mark.parametrize("role", ["server=on", "reconnect=1"])
def test_a_name_without_a_file_is_told_to_qemu_as_it_is(bulkhead, role, tight):
    name = f"bulkhead-{os.getpid()}"
    q = bulkhead("-chardev", f"socket,id=c,path={name},,x,abstract=on{tight},"
                 f"{role}", "-net", "nic,id=n,chardev=c").qmp()
    words = card(q, "n")["arguments"]
    ours = "reconnect=1" if role == "server=on" else "server=on,wait=off"
    assert f"socket,id=chr-n,path={name},,x,abstract=on{tight},{ours}" in \
        words["qemu"]
    assert words.keys() == {"qemu"}


def test_netdev_add_refuses(u):
    def no(words, **options):
        refused(u, words, "netdev_add", type="nic", id="n", **options)

    no("netdev 'zz' not found", netdev="zz")
    u.cmd("netdev_add", type="hubport", id="p", hubid=0, netdev="u")
    no("netdev 'u' is already connected to 'p'", netdev="u")
    no("invalid syntax for ethernet address", macaddr="x")
    no("NIC cannot have multicast MAC address (odd 1st byte)",
       macaddr="1:0:0:0:0:0")
    assert u.refused("netdev_add", type="nic", id="n", model="e1000") \
        .desc.startswith("Unsupported NIC model: e1000 (there are: virtio, ")
    assert "n" not in {d["id"] for d in u.cmd("query-netdevs")}
    assert u.cmd("query-nics") == []


def test_device_add_and_its_errors(u):
    def no(words, **options):
        refused(u, words, "device_add", **options)

    raw(u, "device_add", driver="virtio-net-pci", id="n0", netdev="u",
        mac="52:54:00:00:00:01", addr="3", vectors="4", host_mtu=1400,
        ctrl_vq="off")
    n = card(u, "n0")
    assert n["arguments"]["qemu"][-1] == \
        "virtio-net-pci,netdev=net-n0,mac=52:54:00:00:00:01,addr=3," \
        "vectors=4,host_mtu=1400"
    assert u.netdev("n0")["config"]["ctrl_vq"] is False
    for driver in ("zz", "e1000", "virtio"):
        no(f"'{driver}' is not a valid device model name (there are: "
           "virtio-net, virtio-net-pci, virtio-net-pci-transitional, "
           "virtio-net-pci-non-transitional, virtio-net-device)",
           driver=driver)
    no("Duplicate device ID 'n0'", driver="virtio-net-pci", id="n0")
    no("Duplicate device ID 'u'", driver="virtio-net-pci", id="u")
    no("Property 'virtio-net-pci.netdev' can't find value 'zz'",
       driver="virtio-net-pci", netdev="zz")
    no("Property 'virtio-net-pci.netdev' can't take value 'u', it's in use",
       driver="virtio-net-pci", netdev="u")
    no("Property 'virtio-net-pci.mac' doesn't take value '1:2:3:4:5:6'",
       driver="virtio-net-pci", mac="1:2:3:4:5:6")
    no("Parameter 'driver' is missing", id="n1")
    raw(u, "device_add", driver="virtio-net-pci")
    assert card(u, "virtio-net-pci.0")["mac"] == mac(0x56)


def test_device_del_tells_when_it_is_gone(u):
    raw(u, "device_add", driver="virtio-net-pci", id="n", netdev="u")
    for name in ("zz", "u"):
        refused(u, f"Device '{name}' not found", "device_del",
                cls="DeviceNotFound", id=name)
    path = card(u, "n")["path"]
    assert u.cmd("device_del", id="n") == {}
    assert u.event("DEVICE_DELETED") == {
        "device": "n", "path": "/machine/peripheral/n"}
    assert not os.path.exists(path)
    # Its name, its peer and its address are free.
    raw(u, "device_add", driver="virtio-net-pci", id="n", netdev="u")
    assert card(u, "n")["mac"] == mac(0x56)
    u.cmd("netdev_del", id="n")
    assert u.event("DEVICE_DELETED")["device"] == "n"


def test_the_link_that_the_guest_sees(u):
    u.cmd("netdev_add", type="nic", id="n")
    assert not card(u, "n")["link-up"]
    u.cmd("netdev_add", type="hubport", id="p", hubid=0, netdev="n")
    assert card(u, "n")["link-up"]
    for name in ("n", "p"):
        u.cmd("set_link", name=name, up=False)
        assert not card(u, "n")["link-up"]
        u.cmd("set_link", name=name, up=True)
        assert card(u, "n")["link-up"]
    u.cmd("netdev_del", id="p")
    assert not card(u, "n")["link-up"]


def test_query_rx_filter_before_a_driver(u):
    assert u.cmd("query-rx-filter") == []
    u.cmd("netdev_add", type="nic", id="n", netdev="u")
    raw(u, "device_add", driver="virtio-net-pci", id="m",
        mac="02:00:00:00:00:aa")
    n = dict(NEW, name="n", **{"main-mac": mac(0x56)})
    m = dict(NEW, name="m", **{"main-mac": "02:00:00:00:00:aa"})
    assert u.cmd("query-rx-filter", name="n") == [n]
    assert u.cmd("query-rx-filter") == [n, m]
    refused(u, "invalid net client name: zz", "query-rx-filter", name="zz")
    refused(u, "net client(u) isn't a NIC", "query-rx-filter", name="u")
    u.cmd("device_del", id="n")
    u.event("DEVICE_DELETED")
    assert u.cmd("query-rx-filter") == [m]


@pytest.mark.seconds(60)
def test_a_card_that_hangs_holds_no_query(u):
    """It is shown as it was known, a second later."""
    u.cmd("netdev_add", type="nic", id="n")
    pid, = (b["pid"] for b in u.cmd("query-backends") if b["id"] == "n")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert u.cmd("query-rx-filter", name="n")[0]["name"] == "n"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_card_that_dies_comes_back_where_it_was(u):
    u.cmd("netdev_add", type="nic", id="n", netdev="u")
    pid, = (b["pid"] for b in u.cmd("query-backends") if b["id"] == "n")
    before = card(u, "n")
    os.kill(pid, signal.SIGKILL)
    u.event("BACKEND_RESTARTED", id="n")
    after = card(u, "n")
    assert after.pop("restarts") == before.pop("restarts") + 1
    assert after == before
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(after["path"])


def test_many_cards_at_once(qmp):
    """Each has its own address; the answer about all is bounded."""
    for i in range(40):
        qmp.cmd("netdev_add", type="nic", id=f"n{i}")
        qmp.cmd("netdev_add", type="hubport", id=f"p{i}", hubid=0,
                netdev=f"n{i}")
    nics = qmp.cmd("query-nics")
    assert [n["mac"] for n in nics] == [mac(0x56 + i) for i in range(40)]
    assert all(n["link-up"] for n in nics)
    filters = qmp.cmd("query-rx-filter")
    assert [f["name"] for f in filters] == [f"n{i}" for i in range(40)]
    assert all(f["vlan"] == "all" and f["vlan-table"] == NEW["vlan-table"]
               for f in filters)


def test_an_answer_about_very_many_cards_is_bounded(qmp):
    """Beyond 128 the tables of all tags are left out, unless one is asked."""
    for i in range(129):
        qmp.cmd("netdev_add", type="nic", id=f"n{i}")
    filters = qmp.cmd("query-rx-filter")
    assert len(filters) == 129
    assert all(f["vlan"] == "all" and f["vlan-table"] == [] for f in filters)
    one, = qmp.cmd("query-rx-filter", name="n7")
    assert one["vlan-table"] == NEW["vlan-table"]
    qmp.cmd("netdev_del", id="n0")
    filters = qmp.cmd("query-rx-filter")
    assert all(f["vlan-table"] == NEW["vlan-table"] for f in filters)


# --- the command line ---------------------------------------------------------

def test_net_nic_is_on_a_hub_or_on_a_netdev(bulkhead):
    d = bulkhead(
        "-netdev", "user,id=u", "-net", "nic,netdev=u,macaddr=1",
        "-net", "nic,vlan=3,model=virtio", "-net", "nic,id=x,vlan=3",
        "-device", "virtio-net-pci,id=d,mac=52:54:00:12:34:99")
    q = d.qmp()
    nics = {n["id"]: n for n in q.cmd("query-nics")}
    assert set(nics) == {"u-nic", "hub3port0-nic", "x", "d"}
    assert nics["u-nic"]["peer"] == "u"
    assert nics["u-nic"]["mac"] == "00:00:00:00:00:01"
    assert nics["x"]["peer"] == "hub3port1"
    assert nics["d"]["mac"] == mac(0x99)
    assert [(h["hubid"], [p["id"] for p in h["ports"]])
            for h in q.cmd("query-hubs")] == [(3, ["hub3port0", "hub3port1"])]
    until(lambda: "nic d has no peer" in d.log(), 5, "the warning")


def test_nic_is_a_netdev_and_its_card(bulkhead):
    d = bulkhead("-nic", "user,model=virtio-net-pci,mac=52:54:00:00:00:07",
                 "-nic", "socket,id=s,listen=127.0.0.1:0",
                 "-nic", "hubport,hubid=5")
    q = d.qmp()
    nics = {n["id"]: n for n in q.cmd("query-nics")}
    assert {n: nics[n]["peer"] for n in nics} == {
        "nic0": "nic0-user", "s-nic": "s", "nic2": "nic2-hubport"}
    assert nics["nic0"]["mac"] == "52:54:00:00:00:07"
    assert nics["nic0"]["path"] == d.path("nic0.sock")
    assert [h["hubid"] for h in q.cmd("query-hubs")] == [5]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(nics["nic0"]["path"])


def test_nic_none_is_no_network(bulkhead):
    q = bulkhead("-nic", "none").qmp()
    assert q.cmd("query-netdevs") == []


def test_relative_paths_are_told_whole(bulkhead, tmp_path):
    """A VM is started somewhere else than the daemon."""
    here = os.path.realpath(tmp_path)
    with socket.socket(socket.AF_UNIX) as far:
        far.bind(f"{here}/far.sock")
        far.listen()
        q = bulkhead(
            "-netdev", "nic,id=n,path=near.sock",
            "-chardev", "socket,id=c,path=./far.sock",
            "-netdev", "nic,id=m,chardev=c", before=("env", "-C", here)).qmp()
        nics = {n["id"]: n for n in q.cmd("query-nics")}
    assert nics["n"]["path"] == f"{here}/near.sock"
    assert nics["n"]["arguments"]["uml"] == \
        [f"virtio_uml.device={here}/near.sock:1"]
    assert nics["m"]["path"] == f"{here}/far.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(nics["n"]["path"])


@pytest.mark.parametrize("option,words", [
    (("-device", "zz"), "'zz' is not a valid device model name"),
    (("-device", "virtio-net-pci,netdev=zz"),
     "Property 'virtio-net-pci.netdev' can't find value 'zz'"),
    (("-net", "nic,netdev=zz"), "netdev 'zz' not found"),
    (("-net", "nic,model=e1000"), "Unsupported NIC model: e1000 (there are:"),
    (("-nic", "user,model=e1000"), "Unsupported NIC model: e1000 (there are:"),
    (("-nic", "user,mac=1:0:0:0:0:0"), "NIC cannot have multicast MAC address"),
    (("-nic", "user,id="), "Parameter 'id' expects an identifier"),
    (("-nic", "user,id=" + "a" * 64), "Parameter 'id' expects an identifier"),
    (("-net", "nic,macaddr=zz"), "invalid syntax for ethernet address")])
def test_options_that_are_refused(build, tmp_path, option, words):
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "--run-dir", str(tmp_path),
         *option], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"bulkheadd: {' '.join(option)}: {words}" in done.stderr


def test_models_are_listed(build, tmp_path):
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "--run-dir", str(tmp_path),
         "-net", "nic,model=help"], capture_output=True, text=True,
        timeout=30, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[:3] == [
        "Available NIC models:", "virtio", "virtio-net"]


def test_types_are_listed_with_nic(build, tmp_path):
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "--run-dir", str(tmp_path),
         "-netdev", "help"], capture_output=True, text=True, timeout=30,
        check=False)
    assert "nic" in done.stdout.split()
