"""Netdev type netmap, where the kernel has no netmap module; with frames it is
tested on a double (tests/unit/netmap_test.c)."""

import os

import pytest

MISSING = "could not open /dev/netmap: this kernel has no netmap module, " \
    "or it is not loaded"

needs_none = pytest.mark.skipif(os.path.exists("/dev/netmap"),
                                reason="there is a /dev/netmap")


@pytest.fixture
def allowed(bulkhead, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text("allow netmap *\n")
    return bulkhead("-nodefaults", "--policy", str(policy)).qmp()


@needs_none
@pytest.mark.parametrize("name", ["netmap:eth0", "vale0:1", "netmap:p{1"])
def test_no_module(allowed, name):
    error = allowed.refused("netdev_add", type="netmap", id="n", ifname=name)
    assert error.desc == MISSING
    assert allowed.cmd("query-netdevs") == []


@pytest.mark.parametrize("name, why", [
    ("eth0", 'a port begins with "netmap:" or "vale"'),
    ("netmap:", "an interface has 1 to 15 characters"),
    ("netmap:eth0/z", "behind the port only /x and @N are served"),
    ("netmap:val0",
     'netmap takes names that begin with "val" for switches'),
    ("vale0", "a switch has up to 15 letters and digits, then a colon"),
    ("vale0:", "a switch's port has 1 to 15 characters"),
])
def test_names(allowed, name, why):
    error = allowed.refused("netdev_add", type="netmap", id="n", ifname=name)
    assert error.desc == f"ifname='{name}': {why}"


def test_devname(bulkhead, allowed):
    """Another device is the operator's to name."""
    error = allowed.refused("netdev_add", type="netmap", id="n",
                            ifname="vale0:1", devname="/dev/null")
    assert error.desc == "policy refuses devname=/dev/null: another device " \
        "than /dev/netmap is for the command line"
    error = allowed.refused("netdev_add", type="netmap", id="n",
                            ifname="vale0:1", devname="netmap")
    assert error.desc == "Parameter 'devname' expects an absolute path"
    daemon = bulkhead("-netdev", "netmap,id=n,ifname=vale0:1,devname=/dev/null",
                      ready=False)
    assert daemon.proc.wait(20) != 0
    assert "cannot open netmap port vale0:1: the device is not netmap's" in \
        daemon.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="policy of root")
def test_policy(bulkhead):
    error = bulkhead("-nodefaults").qmp().refused(
        "netdev_add", type="netmap", id="n", ifname="netmap:eth0")
    assert error.desc == "policy refuses to open netmap port netmap:eth0: " \
        'add "allow netmap netmap:eth0" to the policy file'
