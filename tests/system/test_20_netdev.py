"""netdev_add, netdev_del: answers, errors, and that errors change nothing."""

import os

import pytest

from kit.daemon import alive, status
from kit.deadline import until


def ids(session):
    return {n["id"] for n in session.cmd("query-netdevs")}


def test_every_type_of_this_build(qmp, tmp_path):
    run = qmp.daemon.run_dir
    qmp.cmd("netdev_add", type="hubport", id="p", hubid=0)
    qmp.cmd("netdev_add", type="user", id="u")
    qmp.cmd("netdev_add", type="socket", id="s", listen=f"{run}/s.sock")
    qmp.cmd("netdev_add", type="dump", id="d", file=f"{run}/d.pcap")
    assert ids(qmp) == {"p", "u", "s", "d"}
    assert os.path.exists(f"{run}/s.sock") and os.path.exists(f"{run}/d.pcap")
    for name in ("p", "u", "s", "d"):
        assert qmp.cmd("netdev_del", id=name) == {}
    assert ids(qmp) == set()
    until(lambda: not os.path.exists(f"{run}/s.sock"), 5, "unlink of s.sock")


@pytest.mark.parametrize("arguments, words", [
    ({}, ["'id' is missing"]),
    ({"id": "a"}, ["'type' is missing"]),
    ({"id": "a", "type": "nosuch"}, ["'type' does not accept value 'nosuch'"]),
    ({"id": "a", "type": 1}, ["Invalid parameter type for 'type'", "string"]),
    ({"id": 1, "type": "user"}, ["Invalid parameter type for 'id'", "string"]),
    ({"id": "1x", "type": "user"}, ["'id' expects an identifier"]),
    ({"id": "", "type": "user"}, ["'id' expects an identifier"]),
    ({"id": "a b", "type": "user"}, ["'id' expects an identifier"]),
    ({"id": "a", "type": "user", "nonsense": 1}, ["'nonsense' is unexpected"]),
    ({"id": "a", "type": "hubport"}, ["'hubid' is missing"]),
    ({"id": "a", "type": "hubport", "hubid": 1.5}, ["hubid", "integer"]),
    ({"id": "a", "type": "hubport", "hubid": 2 ** 31}, ["hubid", "int32"]),
    ({"id": "a", "type": "hubport", "hubid": {}}, ["hubid"]),
    ({"id": "a", "type": "user", "restrict": []}, ["restrict", "boolean"]),
    ({"id": "a", "type": "user", "hostfwd": "x"}, ["forwarding rule 'x'"]),
    ({"id": "a", "type": "tap", "queues": 0}, ["queues", "from 1 to 8"]),
    ({"id": "a", "type": "vhost-user"}, ["Parameter 'chardev' is missing"]),
    ({"id": "a", "type": "vhost-user", "chardev": "c"},
     ['chardev "c" not found']),
    ({"id": "a", "type": "hubport", "hubid": 0, "netdev": "zz"},
     ["netdev 'zz' not found"]),
    ({"id": "a", "type": "hubport", "hubid": 0, "netdev": "a"},
     ["netdev 'a' not found"]),
])
def test_refusals_change_nothing(qmp, arguments, words):
    qmp.send({"execute": "netdev_add", "arguments": arguments})
    error = qmp.read()["error"]
    assert error["class"] == "GenericError"
    for word in words:
        assert word in error["desc"]
    assert ids(qmp) == set() and qmp.cmd("query-hubs") == []
    assert qmp.cmd("netdev_add", type="hubport", id="a", hubid=0) == {}


def test_enum_member_that_is_no_backend(qmp):
    assert "none" in qmp.refused("netdev_add", type="none", id="a").desc


def test_strings_are_taken_for_scalars(qmp):
    """As QEMU 2.12 did."""
    qmp.cmd("netdev_add", type="hubport", id="p", hubid="7")
    qmp.cmd("netdev_add", type="user", id="u", restrict="on")
    assert [h["hubid"] for h in qmp.cmd("query-hubs")] == [7]


def test_duplicate_id(qmp):
    qmp.cmd("netdev_add", type="hubport", id="a", hubid=0)
    for kind in ({"type": "hubport", "hubid": 1}, {"type": "user"}):
        assert qmp.refused("netdev_add", id="a", **kind).desc == \
            "Duplicate ID 'a'"
    assert len(qmp.cmd("query-hubs")) == 1


def test_del_then_add_again_at_once(qmp):
    for _ in range(20):
        qmp.cmd("netdev_add", type="user", id="u")
        qmp.cmd("netdev_del", id="u")
    assert ids(qmp) == set()


def test_backend_refusal_becomes_the_answer(qmp):
    """What only the backend can know fails netdev_add, and nothing is left."""
    for options, word in (
            ({"net": "300.0.0.0/8"}, "netmask"),
            ({"dhcpstart": "192.168.1.1"}, "DHCP"),
            ({"bootfile": "x" * 128}, "bootfile"),
            ({"hostfwd": [{"str": "nonsense"}]}, "nonsense"),
            ({"domainname": ""}, "domainname"),
            ({"ipv4": False, "ipv6": False}, "disabled")):
        assert word in qmp.refused("netdev_add", type="user", id="u",
                                   **options).desc
        assert ids(qmp) == set()
    assert qmp.cmd("netdev_add", type="user", id="u", bootfile="x" * 127) == {}


def test_socket_wants_exactly_one_mode(qmp):
    for options in ({}, {"listen": ":1", "connect": ":1"},
                    {"udp": "127.0.0.1:9"}, {"listen": ":1", "localaddr": ":1"},
                    {"connect": "nonsense"}, {"connect": "127.0.0.1:70000"},
                    {"connect": "127.0.0.1:-5"}, {"connect": "127.0.0.1:12x"},
                    {"mcast": "127.0.0.1:9999"}):
        qmp.refused("netdev_add", type="socket", id="s", **options)
        assert ids(qmp) == set()


def test_configuration_can_be_fed_back(qmp, bulkhead):
    """query-netdevs shows what netdev_add takes."""
    qmp.cmd("netdev_add", type="user", id="u", net="10.7.0.0/24",
            hostname="h", dnssearch=[{"str": "a.example"}, {"str": "b.example"}])
    qmp.cmd("netdev_add", type="hubport", id="p", hubid=5, netdev="u")
    again = bulkhead("-nodefaults").qmp()
    first = qmp.cmd("query-netdevs")
    for n in first:
        again.cmd("netdev_add", **{k.replace("-", "_"): v for k, v in
                                   n["config"].items()})
    assert [n["config"] for n in again.cmd("query-netdevs")] == \
        [n["config"] for n in first]


@pytest.mark.seconds(240)
def test_a_thousand_add_del_leak_nothing(qmp):
    """No descriptor, no process, no slot of any process of ours."""
    daemon = qmp.daemon

    def descriptors():
        """How many each process has; None while one comes or goes."""
        found = {}
        for p in [daemon.proc.pid, *daemon.processes()]:
            try:
                with open(f"/proc/{p}/comm", encoding="ascii") as f:
                    name = f.read().strip()
                count = len(os.listdir(f"/proc/{p}/fd"))
            except FileNotFoundError:
                return None  # an old spare lane
            # the second is its own, and the end of its start; who runs
            # scripts has none
            ready = p == daemon.proc.pid or \
                name in ("bulkhead-keep", "bulkhead-run") or \
                status(p).get("Seccomp_filters") == "2"
            if not ready or not alive(p) or name in found:
                return None
            found[name] = count
        return found if "bulkhead-lane" in found else None

    def once(i):
        qmp.cmd("netdev_add", type="socket", id=f"s{i}",
                listen=daemon.path("s.sock"))
        qmp.cmd("netdev_del", id=f"s{i}")

    # The launcher may not have closed yet what was a dead process's: the
    # least of some looks is what it has at rest.
    rest = {}
    for i in range(20):
        once(i)
        now = until(descriptors, 10, "rest")
        rest = {name: min(n, rest.get(name, n)) for name, n in now.items()}
    for i in range(1000):
        once(i)

    def no_more():
        now = descriptors()
        return now and all(now[name] <= rest.get(name, 0) for name in now)
    until(no_more, 10, f"as few descriptors as before: {rest}")
