"""A backend that hangs in the kernel, where no signal reaches it, as one on a
netmap port does when its card is set down: nobody waits for it."""

import os
import signal
import socket
import time

import pytest

from kit.daemon import status
from kit.deadline import until
from kit.stuck import die_in_fork, Stuck

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tracing needs root")


def backend(session, name):
    return next(b for b in session.cmd("query-backends") if b["id"] == name)


def hang(session, name, closing):
    stuck = closing(Stuck(backend(session, name)["pid"]))
    stuck.hang()
    return stuck


def wire(session, name, closing):
    """A netdev on hub 0 that gets what is sent on the socket."""
    sock = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        theirs = free.getsockname()
    session.cmd("netdev_add", type="socket", id=name,
                udp=f"127.0.0.1:{sock.getsockname()[1]}",
                localaddr=f"127.0.0.1:{theirs[1]}")
    session.cmd("netdev_add", type="hubport", id="p-" + name, hubid=0,
                netdev=name)
    sock.connect(theirs)
    return sock


FRAME = b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + bytes(1400)


def arrives(source, to):
    """Does a frame still get from one to the other?"""
    to.settimeout(0.2)
    mark = os.urandom(16)
    source.send(FRAME + mark)
    try:
        while not to.recv(4096).endswith(mark):
            pass
        return True
    except TimeoutError:
        return False


def test_netdev_del_of_one_that_hangs(bulkhead, closing):
    qmp, other = (daemon := bulkhead("-nodefaults")).qmp(), daemon.qmp()
    wire(qmp, "a", closing)
    b, c = wire(qmp, "b", closing), wire(qmp, "c", closing)
    uid = status(backend(qmp, "a")["pid"])["Uid"]
    stuck = hang(qmp, "a", closing)
    began = time.monotonic()
    job = qmp.start("netdev_del", id="a")
    # Nobody but who asked waits for it, and not for long.
    other.cmd("netdev_add", type="socket", id="d", listen=daemon.path("d"))
    until(lambda: arrives(b, c), 5, "frames")
    assert time.monotonic() - began < 5
    qmp.finish(job)
    assert time.monotonic() - began < 12
    assert "netdev.abandon id=a" in daemon.log()
    # Its name is free while it still hangs.
    qmp.cmd("netdev_add", type="socket", id="a", listen=daemon.path("a"))
    assert status(backend(qmp, "a")["pid"])["Uid"] != uid
    stuck.close()

    def again():
        """Its place is used again, which has its user id."""
        qmp.cmd("netdev_del", id="a")
        qmp.cmd("netdev_add", type="socket", id="a", listen=daemon.path("a"))
        return status(backend(qmp, "a")["pid"])["Uid"] == uid
    until(again, 10, "its slot")


def test_one_that_hangs_comes_back(bulkhead, closing):
    """There is a next process as soon as there can be."""
    qmp = (daemon := bulkhead("-nodefaults")).qmp()
    a = wire(qmp, "a", closing)
    b, c = wire(qmp, "b", closing), wire(qmp, "c", closing)
    old = backend(qmp, "a")["pid"]
    stuck = hang(qmp, "a", closing)

    def pour():
        """What nobody takes is noticed."""
        for _ in range(100):
            b.send(FRAME)
        return "netdev.abandon id=a" in daemon.log()
    until(pour, 30, "it is let go")
    gone = qmp.event("BACKEND_EXITED", id="a")
    assert gone["cause"] == "fault:it hangs in the kernel", gone
    until(lambda: qmp.netdev("a")["state"] == "quarantined", 10, "held")
    until(lambda: arrives(b, c), 5, "frames")
    # To try is no use yet, and does no harm.
    qmp.cmd("backend-resume", id="a")
    gone = qmp.event("BACKEND_EXITED", id="a")
    assert gone["words"] == "its process still hangs in the kernel", gone
    stuck.close()
    qmp.event("BACKEND_RESTARTED", id="a")
    assert backend(qmp, "a")["pid"] not in (0, old)
    until(lambda: arrives(b, a), 5, "frames for it")


def test_the_end_of_the_daemon_with_one_that_hangs(bulkhead, closing):
    """It ends in time, and is not what is left."""
    qmp = (daemon := bulkhead("-nodefaults")).qmp()
    wire(qmp, "a", closing)
    stuck = hang(qmp, "a", closing)
    daemon.proc.send_signal(signal.SIGTERM)
    began = time.monotonic()
    until(lambda: daemon.proc.poll() is not None, 20, "its end")
    assert time.monotonic() - began < 10
    stuck.close()


def test_the_launcher_dies_while_it_starts_a_process(bulkhead):
    """The one that has no parent any more does not wait for it."""
    qmp = (daemon := bulkhead("-nodefaults")).qmp()
    processes = daemon.processes()
    child = die_in_fork(
        daemon.proc.pid, lambda: qmp.start(
            "netdev_add", type="socket", id="a", listen=daemon.path("a")))
    until(lambda: not any(os.path.exists(f"/proc/{p}")
                          for p in [child, *processes]), 10, "all are gone")
    daemon.kill()
