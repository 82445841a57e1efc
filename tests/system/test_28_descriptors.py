"""Descriptors passed in: names of getfd, sets of add-fd and -add-fd, numbers
inherited at start. Each is looked at, used once, and never left open."""

import os
import socket

import pytest

from kit.daemon import status
from kit.deadline import until
from kit.wire import Stream, frame
from system.test_41_dump import records

UNKNOWN = "File descriptor named '{}' has not been found"


@pytest.fixture
def far(closing):
    """far() makes a connected pair; returns (ours, theirs)."""
    def make(kind=socket.SOCK_STREAM):
        return tuple(closing(s) for s in socket.socketpair(socket.AF_UNIX, kind))
    return make


@pytest.fixture
def opened(tmp_path, closing):
    """opened(mode) opens a fresh file; returns (number, path)."""
    class Open:
        def __init__(self, fd):
            self.fd = fd

        def close(self):
            os.close(self.fd)

    def make(mode=os.O_RDWR, name="f.pcap", text=b""):
        path = tmp_path / name
        path.write_bytes(text)
        return closing(Open(os.open(path, mode))).fd, str(path)
    return make


def held(daemon):
    """How many descriptors launcher and broker hold."""
    broker = [p for p in daemon.processes()
              if status(p).get("Name", "").startswith("bulkhead-broke")]
    assert len(broker) == 1
    return [len(os.listdir(f"/proc/{p}/fd"))
            for p in (daemon.proc.pid, broker[0])]


def settled(daemon, before):
    until(lambda: held(daemon) == before, 10,
          f"as many descriptors as before: {before}")


def plug(qmp, **options):
    qmp.cmd("netdev_add", id="s", **options)
    qmp.cmd("netdev_add", type="hubport", id="p-s", hubid=0, netdev="s")


def test_sets_come_and_go(qmp, opened):
    fd, _ = opened()
    before = held(qmp.daemon)
    assert qmp.cmd("query-fdsets") == []
    first = qmp.cmd("add-fd", fd_=fd)
    assert first["fdset-id"] == 0 and first["fd"] > 2
    assert qmp.cmd("add-fd", fd_=fd, fdset_id=2)["fdset-id"] == 2
    assert qmp.cmd("add-fd", fd_=fd, opaque="rdwr:/x")["fdset-id"] == 1
    second = qmp.cmd("add-fd", fd_=fd, fdset_id=0, opaque="é")
    assert qmp.cmd("add-fd", fd_=fd)["fdset-id"] == 3
    sets = qmp.cmd("query-fdsets")
    assert [s["fdset-id"] for s in sets] == [0, 1, 2, 3]
    assert sets[0]["fds"] == [{"fd": first["fd"]},
                              {"fd": second["fd"], "opaque": "é"}]
    assert sets[1]["fds"][0]["opaque"] == "rdwr:/x"
    # Another session sees them: they belong to nobody
    with_more = qmp.daemon.qmp()
    assert with_more.cmd("query-fdsets") == sets
    with_more.cmd("remove-fd", fdset_id=0, fd=first["fd"])
    assert qmp.cmd("query-fdsets")[0]["fds"] == sets[0]["fds"][1:]
    qmp.cmd("remove-fd", fdset_id=0, fd=second["fd"])
    for n in (1, 2, 3):
        qmp.cmd("remove-fd", fdset_id=n)
    assert qmp.cmd("query-fdsets") == []
    with_more.close()
    settled(qmp.daemon, before)


def test_what_cannot_be_in_a_set(qmp, opened):
    fd, _ = opened()
    before = held(qmp.daemon)
    assert qmp.refused("add-fd").desc == \
        "No file descriptor supplied via SCM_RIGHTS"
    assert qmp.refused("add-fd", fd_=fd, fdset_id=-1).desc == \
        "Parameter 'fdset-id' expects a non-negative value"
    assert "1024 bytes" in qmp.refused("add-fd", fd_=fd, opaque="x" * 1024).desc
    assert qmp.refused("remove-fd", fdset_id=99).desc == \
        "File descriptor named 'fdset-id:99' not found"
    assert qmp.refused("remove-fd", fdset_id=99, fd=3).desc == \
        "File descriptor named 'fdset-id:99, fd:3' not found"
    settled(qmp.daemon, before)
    for _ in range(64):
        qmp.cmd("add-fd", fd_=fd, fdset_id=7)
    assert qmp.refused("add-fd", fd_=fd).desc == \
        "64 file descriptors are in sets already; use remove-fd"
    other = qmp.cmd("query-fdsets")[0]["fds"][0]["fd"]
    assert qmp.refused("remove-fd", fdset_id=8, fd=other).desc == \
        f"File descriptor named 'fdset-id:8, fd:{other}' not found"
    qmp.cmd("remove-fd", fdset_id=7)
    settled(qmp.daemon, before)


@pytest.mark.parametrize("mode", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND],
                         ids=["write", "both", "append"])
def test_capture_in_a_file_of_a_set(qmp, opened, far, mode):
    """Policy allows no file here: who passes one had the right to open it."""
    fd, path = opened(mode, text=b"old" * 100)
    ours, theirs = far()
    before = held(qmp.daemon)
    number = qmp.cmd("add-fd", fd_=fd)["fdset-id"]
    qmp.cmd("getfd", fd_=theirs.fileno(), fdname="link")
    theirs.close()
    plug(qmp, type="socket", fd="link")
    qmp.cmd("netdev_add", type="dump", id="d", file=f"/dev/fdset/{number}")
    qmp.cmd("netdev_add", type="hubport", id="p-d", hubid=0, netdev="d")
    qmp.cmd("remove-fd", fdset_id=number)  # the netdev has its own
    wire = Stream(ours)
    wire.send(*(frame(i) for i in range(10)))
    until(lambda: qmp.counters("d")["out-frames"] == 10, 10, "10 records")
    pid = next(b["pid"] for b in qmp.cmd("query-backends") if b["id"] == "d")
    os.kill(pid, 9)
    qmp.event("BACKEND_RESTARTED", id="d")
    wire.send(*(frame(i) for i in range(10, 20)))
    until(lambda: len(records(path)) == 20, 10, "the same file, gone on with")
    assert [r[4] for r in records(path)] == [frame(i) for i in range(20)]
    qmp.cmd("netdev_del", id="d")
    qmp.cmd("netdev_del", id="s")
    settled(qmp.daemon, before)


def test_sets_that_cannot_be_opened(qmp, opened, tmp_path, closing):
    reading, _ = opened(os.O_RDONLY)
    path_only, _ = opened(os.O_PATH, "p")
    pipe = os.pipe()
    before = held(qmp.daemon)
    for fd, number in ((reading, 1), (path_only, 2), (pipe[1], 3)):
        qmp.cmd("add-fd", fd_=fd, fdset_id=number)
    one = "cannot open /dev/fdset/"
    for path, words in (
            ("/dev/fdset/9", one + "9: No such file or directory"),
            ("/dev/fdset/1", one + "1: Permission denied"),
            ("/dev/fdset/2", one + "2: Permission denied"),
            ("/dev/fdset/3", "cannot use /dev/fdset/3: it is not a regular file"),
            ("/dev/fdset/", "it ends in no number"),
            ("/dev/fdset/1x", "it ends in no number"),
            ("/dev/fdset/" + "9" * 30, "it ends in no number")):
        error = qmp.refused("netdev_add", type="dump", id="d", file=path)
        assert words in error.desc, error
    error = qmp.refused("netdev_add", type="user", id="u", tftp="/dev/fdset/1")
    assert "'tftp' cannot be a set of descriptors" in error.desc
    # One that fits, behind those that do not
    writing, _ = opened(os.O_WRONLY, "w.pcap")
    qmp.cmd("add-fd", fd_=writing, fdset_id=1)
    qmp.cmd("netdev_add", type="dump", id="d", file="/dev/fdset/1")
    qmp.cmd("netdev_del", id="d")
    for number in (1, 2, 3):
        qmp.cmd("remove-fd", fdset_id=number)
    for fd in pipe:
        os.close(fd)
    settled(qmp.daemon, before)


@pytest.mark.parametrize("kind", ["file", "pipe", "event", "listener"])
def test_a_descriptor_of_the_wrong_kind_is_refused_and_closed(
        qmp, opened, closing, kind):
    if kind == "file":
        fd, _ = opened()
    elif kind == "pipe":
        fd, write = os.pipe()
        os.close(write)
    elif kind == "event":
        fd = os.eventfd(0)
    else:
        listener = closing(socket.create_server(("127.0.0.1", 0)))
        fd = listener.fileno()
    before = held(qmp.daemon)
    for i in range(5):
        qmp.cmd("getfd", fd_=fd, fdname=f"n{i}")
        error = qmp.refused("netdev_add", type="socket", id="s", fd=f"n{i}")
        assert "socket" in error.desc, error
        # Used up, though it failed
        error = qmp.refused("netdev_add", type="socket", id="s", fd=f"n{i}")
        assert error.desc == UNKNOWN.format(f"n{i}")
    settled(qmp.daemon, before)
    if kind in ("pipe", "event"):
        os.close(fd)


def test_lists_are_taken_whole_or_not_at_all(qmp, far):
    """fds= of tap: what was taken before the one that is wrong is closed."""
    before = held(qmp.daemon)
    for names, text in ((["a", "zz"], UNKNOWN.format("zz")),
                        (["a", "a"], UNKNOWN.format("a")),
                        (["a", ""], UNKNOWN.format("")),
                        (["a", "5"], "pass the descriptor with getfd"),
                        (["a", "b"], "tap")):
        ours, theirs = far()
        for name in ("a", "b"):
            qmp.cmd("getfd", fd_=theirs.fileno(), fdname=name)
        theirs.close()
        error = qmp.refused("netdev_add", type="tap", id="t", fds=":".join(names))
        assert text in error.desc, (names, error)
        if names[1] != "b":
            qmp.cmd("closefd", fdname="b")
        assert ours.recv(1) == b""  # nobody holds its other end
    settled(qmp.daemon, before)


def test_a_name_is_used_once(qmp, far):
    before = held(qmp.daemon)
    ours, theirs = far()
    qmp.cmd("getfd", fd_=theirs.fileno(), fdname="n")
    theirs.close()
    plug(qmp, type="socket", fd="n")
    ours.settimeout(10)
    assert qmp.refused("netdev_add", type="socket", id="t", fd="n").desc == \
        UNKNOWN.format("n")
    assert qmp.refused("closefd", fdname="n").desc == \
        "File descriptor named 'n' not found"
    qmp.cmd("netdev_del", id="s")
    qmp.cmd("netdev_del", id="p-s")
    assert ours.recv(1) == b""  # nobody holds its other end
    settled(qmp.daemon, before)


def test_a_number_means_nothing_later(qmp, far):
    before = held(qmp.daemon)
    error = qmp.refused("netdev_add", type="socket", id="s", fd="5")
    assert "pass the descriptor with getfd" in error.desc
    settled(qmp.daemon, before)


def test_inherited_descriptors_in_a_set(bulkhead, opened, far):
    ours, theirs = far()
    fd, path = opened(os.O_WRONLY)
    extra, _ = opened(os.O_RDONLY, "r")
    daemon = bulkhead(
        "-add-fd", f"fd={fd},set=3,opaque=rdwr:a,,b",
        "--add-fd", f"fd={extra},set=3",
        "-netdev", f"socket,id=s,fd={theirs.fileno()}",
        "-netdev", "hubport,id=p-s,hubid=0,netdev=s",
        "-netdev", "dump,id=d,file=/dev/fdset/3",
        "-netdev", "hubport,id=p-d,hubid=0,netdev=d",
        pass_fds=(fd, extra, theirs.fileno()))
    theirs.close()
    qmp = daemon.qmp()
    sets = qmp.cmd("query-fdsets")
    assert [s["fdset-id"] for s in sets] == [3]
    assert [f.get("opaque") for f in sets[0]["fds"]] == ["rdwr:a,b", None]
    Stream(ours).send(frame(1))
    until(lambda: len(records(path)) == 1, 10, "a record")
    qmp.cmd("remove-fd", fdset_id=3)
    qmp.cmd("netdev_del", id="d")
    names = [os.readlink(f"/proc/{p}/fd/{n}")
             for p in [daemon.proc.pid, *daemon.processes()]
             for n in os.listdir(f"/proc/{p}/fd")]
    assert path not in names


@pytest.mark.parametrize("words, text", [
    ("set=1", "fd option is required and must be non-negative"),
    ("fd=-1,set=1", "fd option is required and must be non-negative"),
    ("fd=1,set=1", "fd cannot be a standard I/O stream"),
    ("fd={},set=-2", "set option is required and must be non-negative"),
    ("fd={}", "set option is required and must be non-negative"),
    ("fd=77,set=1", "fd is not valid or already in use: descriptor 77 was not "
     "open at the start, or is in use"),
    ("fd=99999999999,set=1", "fd is not valid or already in use"),
    ("fd=x,set=1", "Parameter 'fd' expects an int64 value"),
    ("fd={},set=1,foo=1", "Invalid parameter 'foo'"),
])
def test_add_fd_errors_are_one_line(bulkhead, opened, words, text):
    fd, _ = opened()
    words = words.format(fd)
    daemon = bulkhead("-add-fd", words, pass_fds=(fd,), ready=False)
    assert daemon.proc.wait(20) == 1
    assert daemon.log() == f"bulkheadd: -add-fd {words}: {text}\n"


def test_a_number_is_used_once(bulkhead, opened):
    fd, _ = opened()
    daemon = bulkhead("-add-fd", f"fd={fd},set=1", "-add-fd", f"fd={fd},set=2",
                      pass_fds=(fd,), ready=False)
    assert daemon.proc.wait(20) == 1
    assert "fd is not valid or already in use" in daemon.log()
