"""What each process may do: attested by the launcher, checked from outside."""

import os
import signal
import subprocess

import pytest

from kit.daemon import children, status
from kit.deadline import until
from kit.wire import Stream, frame, free_port

NAMESPACES = ("mnt", "ipc", "uts", "net", "user", "pid")


def settled(session):
    """query-backends when no lane is coming or going any more."""
    def look():
        found = session.cmd("query-backends")
        return all(b["state"] == "running" for b in found) and found
    return until(look, 10, "all running")


def everything(session):
    """One of each kind of process; query-backends by id."""
    run = session.daemon.run_dir
    for kind, options in (("user", {}), ("socket", {"listen": f"{run}/s.sock"}),
                          ("dump", {"file": f"{run}/d.pcap"})):
        session.cmd("netdev_add", type=kind, id=kind, **options)
        session.cmd("netdev_add", type="hubport", id=f"p-{kind}", hubid=0,
                    netdev=kind)
    return {b["id"]: b for b in settled(session)}


def test_every_process_is_attested(qmp):
    found = everything(qmp)
    assert {b["role"] for b in found.values()} == {
        "broker", "lane", "user", "socket", "dump"}
    for b in found.values():
        for layer in ("seccomp", "no-new-privs", "no-capabilities",
                      "empty-root", "not-dumpable"):
            assert layer in b["layers"], (b["id"], b["missing"])
    pids = {b["pid"] for b in found.values()}
    assert len(pids) == len(found) and pids <= set(qmp.daemon.processes())


def test_proc_agrees(qmp):
    ours = {n: os.readlink(f"/proc/self/ns/{n}") for n in NAMESPACES}
    uids, nets = [], []
    for b in everything(qmp).values():
        s = status(b["pid"])
        assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1"), b["id"]
        for caps in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
            assert int(s[caps], 16) == 0, (b["id"], caps)
        assert s["Threads"] == "1"
        root = f"/proc/{b['pid']}/root"
        allowed = {"etc", "tftp"} if b["role"] == "user" else set()
        assert set(os.listdir(root)) <= allowed, b["id"]
        net = os.readlink(f"/proc/{b['pid']}/ns/net")
        if "net-namespace" in b["layers"]:
            assert net != ours["net"], b["id"]
            dev = open(f"/proc/{b['pid']}/net/dev", encoding="ascii").read()
            assert [l.split(":")[0].strip() for l in dev.splitlines()[2:]] == ["lo"]
        assert (net == ours["net"]) == (b["role"] == "user"), b["id"]
        assert os.readlink(f"/proc/{b['pid']}/ns/mnt") != ours["mnt"]
        uids.append(s["Uid"].split()[0])
        nets.append(net)
    if os.geteuid() == 0:
        assert "0" not in uids and len(set(uids)) == len(uids)


def test_no_descriptor_too_many(qmp):
    """Nothing but its own channels, memories and resources is inherited."""
    for b in everything(qmp).values():
        fds = os.listdir(f"/proc/{b['pid']}/fd")
        for n in fds:
            try:
                target = os.readlink(f"/proc/{b['pid']}/fd/{n}")
            except FileNotFoundError:
                continue  # closed meanwhile
            assert not target.startswith(("/proc", "/sys", "/root", "/home")), \
                (b["id"], n, target)
        assert len(fds) <= (40 if b["role"] == "broker" else 24), (b["id"], fds)


def test_launcher_is_filtered_too(qmp):
    assert status(qmp.daemon.proc.pid)["Seccomp"] == "2"


def test_nobody_but_the_launcher_has_children(qmp):
    everything(qmp)
    for pid in qmp.daemon.processes():
        if status(pid).get("Name", "").startswith("bulkhead-"):
            # But who keeps a runner of scripts has that.
            keeper = status(pid)["Name"] == "bulkhead-keep"
            assert len(children(pid)) == keeper


def test_sandbox_off_is_loud(bulkhead):
    daemon = bulkhead("-nodefaults", sandbox="off")
    assert "sandbox" in daemon.log().lower()
    broker = daemon.qmp().cmd("query-backends")[0]
    assert "seccomp" not in broker["layers"]


# --- policy ------------------------------------------------------------------------

def test_without_policy_root_opens_nothing_outside(qmp, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("rootless: whatever the user could do")
    for options in ({"type": "dump", "file": str(tmp_path / "f")},
                    {"type": "socket", "listen": str(tmp_path / "s")},
                    {"type": "dump", "file": qmp.daemon.path("../escape")},
                    {"type": "user", "tftp": str(tmp_path)}):
        error = qmp.refused("netdev_add", id="x", **options)
        assert any(word in error.desc for word in (
            "policy", "outside", "absolute path without")), error
    assert os.listdir(tmp_path) == []
    assert not os.path.exists(os.path.join(qmp.daemon.run_dir, "..", "escape"))


def test_policy_file_allows_and_refuses(bulkhead, tmp_path):
    allowed, forbidden = tmp_path / "ok", tmp_path / "no"
    allowed.mkdir()
    forbidden.mkdir()
    os.symlink(forbidden, allowed / "link")
    port = free_port()
    policy = tmp_path / "policy"
    policy.write_text("# test\n"
                      f"allow file {allowed}\n"
                      f"allow listen 127.0.0.1:{port}\n")
    daemon = bulkhead("-nodefaults", "--policy", str(policy))
    session = daemon.qmp()
    session.cmd("netdev_add", type="dump", id="d", file=f"{allowed}/f.pcap")
    session.cmd("netdev_add", type="socket", id="s", listen=f"127.0.0.1:{port}")
    for options, word in (
            ({"type": "dump", "file": f"{forbidden}/f"}, str(forbidden)),
            ({"type": "dump", "file": f"{allowed}/../no/f"}, "no/f"),
            ({"type": "dump", "file": f"{allowed}/link/f"}, "link/f"),
            ({"type": "socket", "listen": "127.0.0.1:1"}, "127.0.0.1:1")):
        error = session.refused("netdev_add", id="x", **options)
        assert word in error.desc, error
    assert os.listdir(forbidden) == []


def test_the_hosts_network_needs_a_rule(bulkhead, tmp_path):
    """`user` reaches what the host reaches: a policy file has to say so."""
    policy = tmp_path / "policy"
    policy.write_text("allow connect *\n")
    daemon = bulkhead("-nodefaults", "-netdev", "user,id=u0",
                      "--policy", str(policy))
    session = daemon.qmp()
    error = session.refused("netdev_add", type="user", id="u1")
    assert "allow network host" in error.desc, error
    # The operator's own comes back.
    pid = [b for b in session.cmd("query-backends") if b["id"] == "u0"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    session.event("BACKEND_RESTARTED", id="u0")


def test_a_denied_path_has_no_other_name(bulkhead, tmp_path):
    secret, alias = tmp_path / "secret", tmp_path / "alias"
    secret.mkdir()
    alias.symlink_to(secret)
    policy = tmp_path / "policy"
    policy.write_text(f"deny file {secret}\nallow file *\n"
                      "deny connect 127.0.0.0/8\nallow connect *\n")
    session = bulkhead("-nodefaults", "--policy", str(policy)).qmp()
    for file in (secret / "f", alias / "f"):
        session.refused("netdev_add", type="dump", id="d", file=str(file))
    assert os.listdir(secret) == []
    session.cmd("netdev_add", type="dump", id="d", file=str(tmp_path / "f"))
    for address in ("127.0.0.1:9", "0.0.0.0:9", "[::ffff:127.0.0.1]:9",
                    "[::ffff:0.0.0.0]:9"):
        error = session.refused("netdev_add", type="socket", id="s",
                                connect=address)
        assert "policy" in error.desc, (address, error)


def test_the_example_policy_is_valid(bulkhead):
    example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                           "contrib", "policy.example")
    session = bulkhead("-nodefaults", "--policy", example).qmp()
    session.cmd("netdev_add", type="socket", id="s",
                listen=f"127.0.0.1:{free_port()}")


def test_start_configuration_is_allowed(bulkhead, tmp_path):
    """What the operator wrote on the command line needs no policy, and comes
    back after a death."""
    file = tmp_path / "d.pcap"
    daemon = bulkhead("-netdev", f"dump,id=d,file={file}")
    assert file.exists()
    session = daemon.qmp()
    pid = [b for b in session.cmd("query-backends") if b["id"] == "d"][0]["pid"]
    os.kill(pid, 9)
    session.event("BACKEND_RESTARTED", id="d")


@pytest.mark.parametrize("text", [
    "nonsense\n", "allow file\n", "allow file relative/path\n",
    "allow listen 1.2.3.4:notaport\n", "allow tap *\n", "default maybe\n"])
def test_bad_policy_names_its_line(build, tmp_path, text):
    policy = tmp_path / "policy"
    policy.write_text("# fine\n" + text)
    done = subprocess.run(
        [os.path.join(build, "bin", "bulkheadd"), "--run-dir", str(tmp_path),
         "-nodefaults", "--policy", str(policy)], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert str(policy) in done.stderr and ":2" in done.stderr.replace("line 2", ":2")


# --- rootless ----------------------------------------------------------------------

NOBODY = 65534


def test_rootless(bulkhead):
    """As an ordinary user: best effort, the filter always, traffic flows."""
    if os.geteuid() != 0:
        pytest.skip("this test becomes nobody")
    before = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
              "--clear-groups", "--")
    daemon = bulkhead("-netdev", "user,id=u", "-netdev",
                      "hubport,id=p,hubid=0,netdev=u", before=before, uid=NOBODY)
    session = daemon.qmp()
    for b in settled(session):
        s = status(b["pid"])
        assert s["Seccomp"] == "2" and s["NoNewPrivs"] == "1"
        assert int(s["CapEff"], 16) == 0
        assert "seccomp" in b["layers"]
    ends = []
    for name in "ab":
        session.cmd("netdev_add", type="socket", id=name,
                    listen=daemon.path(name + ".sock"))
        session.cmd("netdev_add", type="hubport", id="p" + name, hubid=1,
                    netdev=name)
        ends.append(Stream.connect(daemon.path(name + ".sock")))
        session.event("NETDEV_STREAM_CONNECTED", netdev_id=name)
    ends[0].send(frame(1))
    assert ends[1].numbers(1) == [1]
