"""Daemons in a network namespace of their own, and taps of theirs given to
others. The fixtures here are imported by the tests that use them."""

import fcntl
import os
import struct

import pytest

from kit.deadline import until
from kit.netns import Netns

TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = \
    0x400454ca, 1, 2, 0x1000, 0x4000, 0x100
# /etc/qemu for this mount namespace, where the host has none: in a copy of /etc.
ETC_QEMU = ("test -d /etc/qemu || { mount -t tmpfs none /mnt && cp -a /etc/. /mnt "
            "&& mkdir /mnt/qemu && mount --move /mnt /etc; }")
# A namespace for the daemon, and the ACL file of a test for the stock helper.
BEFORE = ("unshare", "-nm", "sh", "-c",
          f'test -z "$ACL" || {{ {{ {ETC_QEMU}; }} && '
          'mount --bind "$ACL" /etc/qemu; } || exit 1; exec "$@"', "sh")


@pytest.fixture
def host(bulkhead):
    """host(...) starts a daemon in a network namespace of its own; its `net`
    is that namespace."""
    def start(*args, **how):
        # Its abstract socket for readiness is in another namespace.
        daemon = bulkhead("-nodefaults", *args, before=BEFORE, ready=False,
                          **how)
        until(lambda: "launcher.up" in daemon.log() or
              daemon.proc.poll() is not None, 20, "launcher.up")
        daemon.net = Netns(daemon.proc.pid)
        connect = daemon.qmp

        def session():
            one = connect()
            one.daemon = daemon
            return one
        daemon.qmp = session
        return daemon
    return start


@pytest.fixture
def qmp(host):
    return host().qmp()


@pytest.fixture
def spaces(closing):
    return [closing(Netns()) for _ in range(2)]


def script(tmp_path, name, *lines):
    path = tmp_path / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def policy(tmp_path, *rules):
    path = tmp_path / "policy"
    path.write_text("\n".join([*rules, ""]))
    return "--policy", str(path)


def add(session, name, **options):
    return session.cmd("netdev_add", type="tap", id=name,
                       **{"script": "no", "downscript": "no", **options})


def plug(session, name):
    session.cmd("netdev_add", type="hubport", id="p-" + name, hubid=0,
                netdev=name)


def join(session, spaces, mtu=1500, **options):
    """Two namespaces with a tap each, on one hub: 10.9.0.1 and 10.9.0.2."""
    for i, space in enumerate(spaces):
        add(session, f"t{i}", ifname=f"bht{i}", **options)
        plug(session, f"t{i}")
        session.daemon.net.give(f"bht{i}", space, f"10.9.0.{i + 1}/24", mtu)


def ping(space, to, *words):
    return space.run("ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", *words, to)


@pytest.fixture
def bridged(host, tmp_path, build):
    """A daemon with a bridge, and an ACL file that allows it."""
    acl = tmp_path / "acl"
    acl.mkdir()
    (acl / "bridge.conf").write_text("# for a test\nallow bhbr0\n")
    ours = script(tmp_path, "ours",
                  f'exec {os.path.abspath(build)}/libexec/'
                  f'bulkhead-bridge-helper --acl={acl}/bridge.conf "$@"')
    daemon = host(*policy(tmp_path, "allow bridge bhbr0", "allow bridge other",
                          f"allow script {tmp_path}"), env={"ACL": str(acl)})
    daemon.net.ip("link", "add", "bhbr0", "type", "bridge")
    daemon.net.ip("link", "set", "bhbr0", "up", "mtu", "1400")
    daemon.net.ip("address", "add", "10.9.0.1/24", "dev", "bhbr0")
    daemon.ours = ours
    return daemon


def make_tap(name, flags=IFF_TAP | IFF_NO_PI | IFF_VNET_HDR):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(fd)
        raise
    return fd


@pytest.fixture
def taps():
    """taps(name, flags): a tap of our own namespace, closed at the end."""
    fds = []

    def make(*args):
        fds.append(make_tap(*args))
        return fds[-1]
    yield make
    for fd in fds:
        os.close(fd)
