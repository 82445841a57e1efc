"""Fixtures of the system tests. Each test has a deadline; what a fixture
started is ended by it, and what stays behind is a failure."""

import itertools
import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kit.daemon import Daemon  # noqa: E402
from kit import guest, qemu  # noqa: E402

TEST_SECONDS = 90
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
serial = itertools.count()


def pytest_addoption(parser):
    parser.addoption("--build", default=os.path.join(TOP, "build"))


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): deadline of the test")


@pytest.fixture(scope="session")
def build(request):
    """Folder of the programs under test."""
    return request.config.getoption("--build")


@pytest.fixture(autouse=True)
def deadline(request):
    """No test hangs: it fails."""
    marker = request.node.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else TEST_SECONDS

    def expired(_signo, _frame):
        raise TimeoutError(f"the test did not end within {seconds} s")
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


@pytest.fixture
def closing():
    """closing(x) closes x when the test is over; returns x."""
    things = []

    def later(thing):
        things.append(thing)
        return thing
    yield later
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def bulkhead(build, request):
    """bulkhead(*args) starts a daemon; it is stopped, and looked after."""
    daemons = []

    def start(*args, **how):
        args = args or ("-nodefaults",)
        daemons.append(Daemon(build, *args, **how))
        return daemons[-1]
    yield start
    failed = getattr(request.node, "failed", False)
    for daemon in daemons:
        if failed:
            print(f"--- {' '.join(daemon.argv)}\n{daemon.log()}")
            daemon.kill()
        elif daemon.proc.returncode is None:
            daemon.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed


@pytest.fixture
def qmp(bulkhead):
    """A session with a daemon that has no netdev; qmp.daemon is it."""
    daemon = bulkhead("-nodefaults")
    session = daemon.qmp()
    session.daemon = daemon
    return session


@pytest.fixture
def peer(closing):
    """peer(*args) starts a QEMU without a machine."""
    reason = qemu.why_not()
    if reason:
        pytest.skip(reason)
    return lambda *args: closing(qemu.Qemu(*args))


@pytest.fixture
def guest_of(build, closing):
    """guest_of(netdev, mac) boots a guest (ready after wait_ready())."""
    reason = guest.why_not()
    if reason:
        pytest.skip(reason)
    return lambda *args, **how: closing(guest.Guest(build, *args, **how))


@pytest.fixture
def netns():
    """netns() makes a network namespace with lo up; returns its name."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = []

    def make():
        name = f"bh-{os.getpid()}-{next(serial)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        made.append(name)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        return name
    yield make
    for name in made:
        subprocess.run(["ip", "netns", "del", name], check=True)
