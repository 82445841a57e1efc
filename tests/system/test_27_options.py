"""Options that no other test has a reason to name: each does what it says, or
is refused with its words. tests/kit/coverage.py finds the ones that are missing
here and elsewhere."""

import os
import socket

import pytest

from kit.qmp import QmpError
from kit.vhost import GET_FEATURES, FrontEnd
from kit.wire import free_port
from system.test_00_start import refused, run

NOT_HERE = "'{}' is not available in this build"

# Switch of a card: the bit that is not offered when it is off (virtio 1.2, 5.1).
SWITCHES = {
    "csum": 0, "guest_csum": 1, "guest_tso4": 7, "guest_tso6": 8,
    "guest_ecn": 9, "guest_ufo": 10, "host_tso4": 11, "host_tso6": 12,
    "host_ecn": 13, "host_ufo": 14, "mrg_rxbuf": 15, "ctrl_vq": 17,
    "indirect_desc": 28, "event_idx": 29, "packed": 34, "guest_uso4": 54,
    "guest_uso6": 55, "host_uso": 56}


def raw(qmp, command, **arguments):
    """As Qmp.cmd(), but names of members stay as they are."""
    qmp.serial += 1
    qmp.send({"execute": command, "id": qmp.serial, "arguments": arguments})
    return qmp.finish(qmp.serial)


def refusal(qmp, command, **arguments):
    with pytest.raises(QmpError) as e:
        raw(qmp, command, **arguments)
    return e.value.desc


# --- cards -----------------------------------------------------------------

@pytest.mark.parametrize("add", [
    {"command": "netdev_add", "type": "nic"},
    {"command": "device_add", "driver": "virtio-net-pci"}], ids=["nic", "device"])
def test_a_switch_takes_its_feature_away(qmp, closing, add):
    def offered(name, **options):
        path = qmp.daemon.path(name)
        raw(qmp, **add, id=name, path=path, **options)
        features = closing(FrontEnd(path)).ask_u64(GET_FEATURES)
        qmp.cmd("netdev_del", id=name)
        return features
    usual = offered("usual")
    for switch, bit in SWITCHES.items():
        assert usual >> bit & 1, switch
        assert offered("on", **{switch: True}) == usual, switch
        assert not offered("off", **{switch: False}) >> bit & 1, switch


def test_cards_say_what_they_were_told(qmp):
    raw(qmp, "netdev_add", type="nic", id="n", addr="4.1", vectors=6)
    raw(qmp, "device_add", driver="virtio-net-pci", id="d", mq=True, queues=2)
    cards = {c["id"]: c for c in qmp.cmd("query-nics")}
    assert cards["n"]["arguments"]["qemu"][-1].endswith(",addr=4.1,vectors=6")
    assert cards["d"]["queues"] == 2


def test_a_card_on_a_passed_socket(qmp, closing):
    """Both commands take a chardev; this one's was handed over."""
    for command, what in (("netdev_add", {"type": "nic"}),
                          ("device_add", {"driver": "virtio-net-pci"})):
        ours, theirs = socket.socketpair()
        front = closing(ours)
        qmp.cmd("getfd", fd_=theirs.fileno(), fdname="front")
        theirs.close()
        raw(qmp, "chardev-add", id="c", backend={"type": "socket", "data": {
            "addr": {"type": "fd", "data": {"str": "front"}}, "server": False}})
        raw(qmp, command, id="n", chardev="c", **what)
        assert {c["id"]: c["role"] for c in qmp.cmd("query-nics")} == \
            {"n": "passed"}
        qmp.cmd("netdev_del", id="n")
        qmp.cmd("chardev-remove", id="c")
        assert front.recv(1) == b""


# --- chardevs --------------------------------------------------------------

def chardev(qmp, address=None, **members):
    """chardev-add of a socket; None, or the refusal's words."""
    address = address or {"type": "unix",
                          "data": {"path": qmp.daemon.path("c.sock")}}
    try:
        raw(qmp, "chardev-add", id="c", backend={
            "type": "socket", "data": {"addr": address, **members}})
    except QmpError as e:
        assert e.desc.startswith("Failed to add chardev 'c': ")
        return e.desc.partition(": ")[2]
    raw(qmp, "chardev-remove", id="c")
    return None


def test_what_a_chardev_can_have(qmp):
    assert chardev(qmp, nodelay=True) is None  # of TCP: nothing to do
    assert chardev(qmp, logappend=True) is None  # without a log file
    for switch in ("telnet", "tn3270", "websocket"):
        assert chardev(qmp, **{switch: False}) is None
        assert chardev(qmp, **{switch: True}) == NOT_HERE.format(switch)
    for text in ("tls-creds", "tls-authz", "logfile"):
        assert chardev(qmp, **{text: "x"}) == NOT_HERE.format(text)
    for tight in (True, False):
        assert "policy refuses to listen on @name" in chardev(qmp, {
            "type": "unix", "data": {
                "path": "name", "abstract": True, "tight": tight}})


@pytest.mark.parametrize("kind", [
    "file", "serial", "parallel", "pipe", "udp", "pty", "null", "mux", "msmouse",
    "wctablet", "braille", "testdev", "stdio", "console", "spicevmc",
    "spiceport", "qemu-vdagent", "dbus", "vc", "ringbuf", "memory"])
def test_other_chardevs_are_known_and_refused(qmp, build, tmp_path, kind):
    data = {"out": "x", "device": "x", "chardev": "x", "type": "x", "fqdn": "x",
            "name": "x", "remote": {"type": "inet", "data": {
                "host": "127.0.0.1", "port": "1"}}}
    wanted = {"file": ["out"], "serial": ["device"], "parallel": ["device"],
              "pipe": ["device"], "udp": ["remote"], "mux": ["chardev"],
              "spicevmc": ["type"], "spiceport": ["fqdn"], "dbus": ["name"]}
    text = f"chardev type '{kind}' is not available in this build"
    assert refusal(qmp, "chardev-add", id="c", backend={
        "type": kind, "data": {k: data[k] for k in wanted.get(kind, [])}}) == \
        f"Failed to add chardev 'c': {text}"
    assert refused(build, tmp_path, "-chardev", f"{kind},id=c").endswith(text)


@pytest.mark.parametrize("words, text", [
    ("abstract=on,tight=off", None),
    ("nodelay=on", None), ("delay=off", None), ("logappend=on", None),
    ("telnet=on", NOT_HERE.format("telnet")),
    ("tn3270=on", NOT_HERE.format("tn3270")),
    ("websocket=on", NOT_HERE.format("websocket")),
    ("tls-creds=x", NOT_HERE.format("tls-creds")),
    ("tls-authz=x", NOT_HERE.format("tls-authz")),
    ("logfile=x", NOT_HERE.format("logfile")),
    ("mux=on", NOT_HERE.format("mux")),
    ("host=h,port=1,to=2,ipv4=on,ipv6=on,keep-alive=on,mptcp=on",
     "host= is not available in this build"),
    ("localaddr=h,localport=1", "host= is not available in this build"),
])
def test_options_of_chardev(build, bulkhead, tmp_path, words, text):
    words = f"socket,id=c,path={tmp_path}/c,server=on,{words}"
    if text is None:
        session = bulkhead("-nodefaults", "-chardev", words).qmp()
        assert [c["label"] for c in session.cmd("query-chardev")] == ["c"]
    else:
        assert text in refused(build, tmp_path, "-chardev", words)


# --- netdevs and ports -----------------------------------------------------

def test_how_a_port_meets_back_pressure(qmp):
    for flow in ("drop", "patient"):
        raw(qmp, "netdev_add", type="hubport", id=flow, hubid=0, flow=flow)
    ports = {p["id"]: p["flow"] for p in qmp.cmd("query-hubs")[0]["ports"]}
    assert ports == {"drop": "drop", "patient": "patient"}
    assert "'flow'" in refusal(qmp, "netdev_add", type="hubport", id="p",
                               hubid=0, flow="maybe")


def test_size_of_rings(qmp):
    raw(qmp, "netdev_add", type="user", id="u", **{"ring-size": 1 << 20})
    assert qmp.netdev("u")["config"]["ring-size"] == 1 << 20
    for size in (1, 3 << 20, 1 << 40):
        assert "'ring-size' expects a power of two" in refusal(
            qmp, "netdev_add", type="user", id="v", **{"ring-size": size})
    assert "means nothing for a hub port" in refusal(
        qmp, "netdev_add", type="hubport", id="p", hubid=0,
        **{"ring-size": 1 << 20})


def test_addresses_of_user(qmp):
    raw(qmp, "netdev_add", type="user", id="u", net="10.9.0.0/24",
        host="10.9.0.9", dns="10.9.0.8", dhcpstart="10.9.0.20",
        **{"ipv6-prefix": "fd00::", "ipv6-prefixlen": 64,
           "ipv6-host": "fd00::9", "ipv6-dns": "fd00::8"})
    config = qmp.netdev("u")["config"]
    assert (config["host"], config["ipv6-host"]) == ("10.9.0.9", "fd00::9")
    raw(qmp, "netdev_add", type="user", id="old", ip="10.8.0.0")
    for options, word in (
            ({"host": "1.2.3.4"}, "Host"), ({"dns": "10.0.2.2"}, "DNS"),
            ({"ipv6-prefixlen": 127}, "IPv6 prefix length"),
            ({"ipv6-host": "fd00::1"}, "IPv6 Host"),
            ({"smb": "/"}, "smb"), ({"smbserver": "10.0.2.4"}, "smbserver")):
        words = refusal(qmp, "netdev_add", type="user", id="v", **options)
        assert word in words, (options, words)


def test_a_capture_of_large_frames(qmp):
    """Small ones look the same; tests of offloads look at the others."""
    path = qmp.daemon.path("d.pcap")
    raw(qmp, "netdev_add", type="dump", id="d", file=path,
        **{"large-frames": True})
    assert os.path.getsize(path) == 24


def test_vhostforce_has_no_effect(qmp):
    raw(qmp, "chardev-add", id="c", backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": qmp.daemon.path("c")}},
        "server": True, "wait": False}})
    raw(qmp, "netdev_add", type="vhost-user", id="v", chardev="c",
        vhostforce=True)


@pytest.mark.parametrize("words", [
    ("-object", "filter-dump,id=f"), ("-mon", "chardev=c"),
    ("-monitor", "stdio")])
def test_options_of_qemu_that_are_not_here(build, tmp_path, words):
    assert refused(build, tmp_path, *words) == \
        f"bulkheadd: {' '.join(words)}: not available in this build"


def test_what_only_prints(build):
    for words in (["-h"], ["-help"], ["-V"], ["-version"]):
        done = run(build, *words)
        assert done.returncode == 0 and "ulkhead" in done.stdout, words


def test_names_of_the_instance(bulkhead, build):
    daemon = bulkhead("-nodefaults", "-name", "guest=one", "-libexec",
                      os.path.join(build, "libexec"), "-log-level", "debug")
    assert daemon.qmp().cmd("query-name") == {"name": "one"}
    assert "debug broker" in daemon.log()


def test_the_schema_says_what_is_there(qmp):
    said = qmp.cmd("query-qmp-schema")
    names = {s["name"] for s in said if s["meta-type"] == "command"}
    assert names == {c["name"] for c in qmp.cmd("query-commands")}
    kinds = {s["meta-type"] for s in said}
    assert kinds == {"builtin", "enum", "array", "object", "command", "event"}


# --- addresses of dgram: as those of stream, in two places -----------------

@pytest.mark.parametrize("end", ["local", "remote"])
@pytest.mark.parametrize("members, text", [
    ({"numeric": True, "keep-alive": True, "mptcp": False, "ipv4": True}, None),
    ({"ipv6": False}, None),
    ({"to": 9}, "'to' is not available"),
    ({"mptcp": True}, "'mptcp' is not available"),
    ({"keep-alive": False}, "'keep-alive' cannot be switched off"),
    ({"ipv4": False}, "is IPv4, which ipv4= and ipv6= exclude"),
    ({"ipv6": True}, "is IPv4, which ipv4= and ipv6= exclude")])
def test_inet_addresses_of_datagrams(qmp, end, members, text):
    ends = {name: {"type": "inet", "host": "127.0.0.1", "port": str(free_port())}
            for name in ("local", "remote")}
    ends[end].update(members)
    if text is None:
        raw(qmp, "netdev_add", type="dgram", id="d", **ends)
        assert qmp.netdev("d")["config"][end] == ends[end]
    else:
        assert text in refusal(qmp, "netdev_add", type="dgram", id="d", **ends)


@pytest.mark.parametrize("end", ["local", "remote"])
def test_unix_addresses_of_datagrams(qmp, end):
    ends = {name: {"type": "unix", "path": qmp.daemon.path(name)}
            for name in ("local", "remote")}
    ends[end]["tight"] = True
    assert "'tight' is only valid with 'abstract'" in refusal(
        qmp, "netdev_add", type="dgram", id="d", **ends)
    ends[end].update({"abstract": True, "path": "bh-nobody"})
    assert "allow unix @bh-nobody" in refusal(
        qmp, "netdev_add", type="dgram", id="d", **ends)


def test_a_descriptor_is_no_far_end(qmp):
    fd = {"type": "fd", "str": "x"}
    for local in (fd, {"type": "inet", "host": "127.0.0.1", "port": "1"}):
        words = refusal(qmp, "netdev_add", type="dgram", id="d", local=local,
                        remote=fd)
        assert words in ("don't set remote with local.fd",
                         "remote and local types must be the same")


# --- types of hosts that have them -----------------------------------------

def test_a_passed_tap_has_its_header_already(qmp):
    assert "vnet_hdr=" in refusal(qmp, "netdev_add", type="tap", id="t", fd="x",
                                  vnet_hdr=True)


def test_a_netmap_port_that_is_not_there(qmp):
    assert "netmap" in refusal(qmp, "netdev_add", type="netmap", id="n",
                               ifname="vale0:1", devname="/dev/netmap")
