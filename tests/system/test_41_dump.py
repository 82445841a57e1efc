"""Netdev type dump: a capture file that other tools read."""

import os
import resource
import struct
import subprocess

import pytest

from kit.deadline import until
from kit.wire import Stream, frame

GLOBAL_HEADER = 24
RECORD_HEADER = 16


def records(path):
    """[(seconds, nanoseconds, kept bytes, length, data)] of a capture."""
    data = open(path, "rb").read()
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 1)
    found, at = [], GLOBAL_HEADER
    while at < len(data):
        sec, nsec, kept, length = struct.unpack_from("<IIII", data, at)
        at += RECORD_HEADER
        assert at + kept <= len(data), "a record is cut off"
        found.append((sec, nsec, kept, length, data[at:at + kept]))
        at += kept
    return found


@pytest.fixture
def end(qmp):
    path = qmp.daemon.path("a.sock")
    qmp.cmd("netdev_add", type="socket", id="a", listen=path)
    qmp.cmd("netdev_add", type="hubport", id="p-a", hubid=0, netdev="a")
    s = Stream.connect(path)
    qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="a")
    yield s
    s.close()


def dump(session, **options):
    path = session.daemon.path("d.pcap")
    session.cmd("netdev_add", type="dump", id="d", file=path, **options)
    session.cmd("netdev_add", type="hubport", id="p-d", hubid=0, netdev="d")
    return path


def test_every_frame_is_recorded(qmp, end):
    path = dump(qmp)
    end.send(*(frame(i, 60 + i) for i in range(1000)))
    until(lambda: qmp.counters("d")["out-frames"] == 1000, 10, "1000 records")
    qmp.cmd("netdev_del", id="d")
    found = records(path)
    assert [r[4] for r in found] == [frame(i, 60 + i) for i in range(1000)]
    assert all(r[1] < 10 ** 9 and r[2] == r[3] for r in found)
    assert [r[:2] for r in found] == sorted(r[:2] for r in found)
    said = subprocess.run(["tcpdump", "-n", "-e", "-r", path], check=True,
                          text=True, capture_output=True)
    assert len(said.stdout.splitlines()) == 1000
    assert "0x88b5" in said.stdout


def test_len_cuts_what_is_kept(qmp, end):
    path = dump(qmp, len=96)
    end.send(frame(1, 1514), frame(2, 60))
    until(lambda: qmp.counters("d")["out-frames"] == 2, 10, "2 records")
    qmp.cmd("netdev_del", id="d")
    assert [(r[2], r[3]) for r in records(path)] == [(96, 1514), (60, 60)]


def test_the_file_is_ours_and_regular(qmp, tmp_path):
    """A link planted in its place is not followed; a directory is refused."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, qmp.daemon.path("d.pcap"))
    try:
        dump(qmp)
    except Exception as e:  # refused: fine, as long as nothing was followed
        assert "d.pcap" in str(e)
    assert victim.read_text() == "precious"
    os.mkdir(qmp.daemon.path("folder"))
    desc = qmp.refused("netdev_add", type="dump", id="x",
                       file=qmp.daemon.path("folder")).desc
    assert "folder" in desc
    qmp.refused("netdev_add", type="dump", id="x",
                file=qmp.daemon.path("no/such/folder/f"))


def test_capture_is_private(qmp):
    assert os.stat(dump(qmp)).st_mode & 0o077 == 0


def test_full_disk_is_told_and_counted(bulkhead):
    """A limit on the size of files stands for the full disk."""
    limit = 1 << 20

    daemon = bulkhead("-nodefaults", before=(
        "prlimit", f"--fsize={limit}:{limit}", "--"))
    qmp = daemon.qmp()
    qmp.daemon = daemon
    path = daemon.path("a.sock")
    qmp.cmd("netdev_add", type="socket", id="a", listen=path)
    qmp.cmd("netdev_add", type="hubport", id="p-a", hubid=0, netdev="a")
    file = dump(qmp)
    with Stream.connect(path).sock as sock:
        qmp.event("NETDEV_STREAM_CONNECTED", netdev_id="a")
        Stream(sock).send(*(frame(i, 1500) for i in range(2000)))
        qmp.event("BACKEND_NOTICE", id="d")

        def all_counted():
            c = qmp.counters("d")
            lost = sum(v for k, v in c.items() if "drop" in k and "tx-" not in k)
            return c["out-frames"] + lost >= 2000
        until(all_counted, 10, "2000 counted frames")
    qmp.cmd("netdev_del", id="d")
    assert os.path.getsize(file) <= limit
    assert records(file)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit
