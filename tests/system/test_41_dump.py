"""Netdev type dump: a capture file that other tools read."""

import os
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
    assert qmp.counters("d")["out-bytes"] == qmp.counters("a")["in-bytes"] == \
        sum(60 + i for i in range(1000))
    qmp.cmd("netdev_del", id="d")
    found = records(path)
    assert [r[4] for r in found] == [frame(i, 60 + i) for i in range(1000)]
    assert all(r[1] < 10 ** 9 and r[2] == r[3] for r in found)
    assert [r[:2] for r in found] == sorted(r[:2] for r in found)
    said = subprocess.run(["tcpdump", "-n", "-e", "-r", path], check=True,
                          text=True, capture_output=True)
    assert said.stdout.count("ethertype Unknown (0x88b5)") == 1000


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
    assert os.stat(dump(qmp)).st_mode & 0o027 == 0


def test_full_disk_is_told_and_counted(qmp, end):
    """A small file system of its own fills up; room helps at once."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = qmp.daemon.path("disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "bh-disk", disk],
                   check=True)
    try:
        file = os.path.join(disk, "d.pcap")
        qmp.cmd("netdev_add", type="dump", id="d", file=file)
        qmp.cmd("netdev_add", type="hubport", id="p-d", hubid=0, netdev="d")
        end.send(*(frame(i, 1500) for i in range(2000)))
        qmp.event("BACKEND_NOTICE", id="d")

        def all_counted():
            c = qmp.counters("d")
            lost = sum(v for k, v in c.items() if k.startswith(("out-drop", "rx-drop")))
            return c["out-frames"] + lost == 2000 and lost > 1000
        until(all_counted, 10, "2000 counted frames")
        qmp.cmd("netdev_del", id="d")
        assert len(records(file)) > 600
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
