"""The bridge helper of our own as users have it: set-uid root, started by
somebody else, who may be hostile. Beside it, where it is installed, QEMU's: the
same ACL files must mean the same."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from kit import netns
from kit.deadline import until
from kit.netns import Netns
from kit.taps import ETC_QEMU

NOBODY, FRIENDS = 65534, 45678
STOCK = "/usr/lib/qemu/qemu-bridge-helper"
BRIDGE = "bhbr0"
CAP_NET_ADMIN = 1 << 12


class World:
    """Namespaces with a bridge, both helpers set-uid root, and ACL files."""

    def __init__(self, ours):
        with open(ours, "rb") as f:
            self.conf = re.search(rb"(/[\w./-]+)/bulkhead/bridge\.conf",
                                  f.read()).group().decode()
        etc = os.path.dirname(os.path.dirname(self.conf))
        if etc == "/etc" or not os.path.isdir(etc):
            pytest.skip(f"{etc} cannot be hidden")
        self.bin = etc + "/bin"
        words = [f"mount -t tmpfs -o mode=755 none {etc}",
                 f"mkdir {self.bin} {os.path.dirname(self.conf)}",
                 f"cp {ours} {self.bin}/ours"]
        words += [ETC_QEMU, "mount -t tmpfs -o mode=755 none /etc/qemu"]
        if os.access(STOCK, os.X_OK):
            words += [f"cp {STOCK} {self.bin}/stock"]
        words += [f"chmod 4755 {self.bin}/*",
                  f"ip link add {BRIDGE} type bridge",
                  f"ip link set {BRIDGE} up mtu 1400",
                  "echo up", "exec sleep 1000"]
        self.proc = subprocess.Popen(
            ["unshare", "-n", "-m", "sh", "-c", " && ".join(words)],
            stdout=subprocess.PIPE)
        assert self.proc.stdout.readline() == b"up\n"
        self.net = Netns(self.proc.pid)
        self.acl(f"allow {BRIDGE}\n")

    def inside(self, path):
        """A file of theirs, as we reach it."""
        return f"/proc/{self.proc.pid}/root{path}"

    def write(self, path, text, mode=0o644, uid=0, gid=0):
        with open(self.inside(path), "w", encoding="ascii") as f:
            f.write(text)
        os.chown(self.inside(path), uid, gid)
        os.chmod(self.inside(path), mode)

    def acl(self, text, **how):
        self.write(self.conf, text, **how)
        self.write("/etc/qemu/bridge.conf", text, **how)

    def argv(self, *argv, uid=NOBODY, groups=()):
        who = ["setpriv", f"--reuid={uid}", f"--regid={uid}"]
        who += [f"--groups={','.join(map(str, groups))}" if groups else
                "--clear-groups"]
        return ["nsenter", "-t", str(self.proc.pid), "-n", "-m", *who, *argv]

    def start(self, sock, *args, program="ours", before=(), env=None, **who):
        """Start a helper for `sock`; it inherits that and nothing else."""
        return subprocess.Popen(
            self.argv(*before, f"{self.bin}/{program}", *args, **who),
            pass_fds=(sock.fileno(),), stdin=subprocess.DEVNULL, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self, *args, bridge=BRIDGE, **how):
        """(how it ended, its output, the tap or None)."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            if not args:
                args = ("--use-vnet", f"--br={bridge}",
                        f"--fd={theirs.fileno()}")
            proc = self.start(theirs, *args, **how)
            output = "".join(proc.communicate(timeout=20))
            theirs.close()
            _, fds, _, _ = socket.recv_fds(ours, 1, 4)
        assert len(fds) == (0 if proc.returncode else 1), (output, fds)
        return proc.returncode, output, fds[0] if fds else None

    def taps(self):
        """Interfaces that a helper has made."""
        return re.findall(r"^\d+: (tap\d+)", self.net.ip("-o", "link"), re.M)

    def allowed(self, **how):
        status, output, fd = self.ask(**how)
        if fd is not None:
            os.close(fd)
            until(lambda: not self.taps(), 5, "the tap is gone")
        assert not self.taps() and (status == 0) == (output == ""), output
        return status == 0

    def refused(self, text, *args, **how):
        status, output, _ = self.ask(*args, **how)
        assert status == 1 and text in output, (status, output)
        assert not self.taps()

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


def why_not():
    if shutil.which("setpriv") is None:
        return "no setpriv(1)"
    return netns.why_not()


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def world(build, closing):
    return closing(World(os.path.abspath(build) +
                         "/libexec/bulkhead-bridge-helper"))


def test_a_user_gets_a_tap_in_the_bridge(world):
    status, output, fd = world.ask()
    assert (status, output) == (0, "")
    [name] = world.taps()
    link = world.net.link(name)
    assert f"master {BRIDGE}" in link and "mtu 1400" in link and "UP" in link
    assert "link/ether fe:" in link and "vnet_hdr on" in link
    os.close(fd)
    until(lambda: not world.taps(), 5, "the tap is gone")


def test_one_capability_is_all_that_it_keeps(world):
    """Looked at while it waits for room in the socket of its caller."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                theirs.send(b"x" * 4096)
        theirs.setblocking(True)
        proc = world.start(theirs, f"--br={BRIDGE}", f"--fd={theirs.fileno()}")
        until(lambda: any("UP" in world.net.link(t) for t in world.taps()), 10,
              "the tap")
        with open(f"/proc/{proc.pid}/status", encoding="ascii") as f:
            status = dict(line.rstrip("\n").split(":\t", 1)
                          for line in f if ":\t" in line)
        proc.kill()
        proc.communicate()
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert status["Gid"].split() == [str(NOBODY)] * 4
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == \
        CAP_NET_ADMIN
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    until(lambda: not world.taps(), 5, "the tap is gone")


# --- ACL files -----------------------------------------------------------------------

@pytest.mark.parametrize("text, expected", [
    (f"allow {BRIDGE}\n", True),
    (f"# of a host\n\n \tallow \t {BRIDGE}  \n", True),
    (f"allow {BRIDGE}", True),
    ("allow all\n", True),
    ("", False),
    ("allow other\n", False),
    (f"deny {BRIDGE}\nallow all\n", False),
    (f"allow all\ndeny {BRIDGE}\n", False),
    (f"allow {BRIDGE}\ndeny all\n", False),
    (f"allow {BRIDGE}\ndeny other\n", True),
    ("include @/one\n", True),
    ("include @/one\ninclude @/two\n", False),
    (f"include @/none\nallow {BRIDGE}\n", True),
    ("include @/friends\n", False),
    (f"allow {BRIDGE}\nnonsense {BRIDGE}\n", False),
    (f"allow {BRIDGE}\nallow\n", False),
])
def test_acl(world, text, expected):
    """As in the documentation of QEMU's, which is asked too."""
    there = os.path.dirname(world.conf)
    world.write(there + "/one", f"allow {BRIDGE}\n")
    world.write(there + "/two", f"deny {BRIDGE}\n")
    world.write(there + "/friends", f"allow {BRIDGE}\n", 0o640, 0, FRIENDS)
    world.acl(text.replace("@", there))
    assert world.allowed() == expected
    # Who may read more of it is allowed more.
    assert world.allowed(groups=(FRIENDS,)) == \
        (expected or text == "include @/friends\n")
    if os.path.exists(world.inside(world.bin + "/stock")):
        status, output, fd = world.ask(program="stock")
        if fd is not None:
            os.close(fd)
        assert (status == 0) == expected, output


def test_acl_of_qemu_is_used_where_ours_is_not(world):
    world.write("/etc/qemu/bridge.conf", f"allow {BRIDGE}\n")
    os.unlink(world.inside(world.conf))
    assert world.allowed()
    # It is there, and says nothing to this user: that is an answer.
    world.write(world.conf, "", 0o600)
    world.refused("cannot open acl file " + world.conf)
    os.chmod(world.inside(os.path.dirname(world.conf)), 0o700)
    world.refused("cannot open acl file " + world.conf)


@pytest.mark.parametrize("what, text", [
    ("writable", "others may write acl file"),
    ("group-writable", "others may write acl file"),
    ("theirs", "others may write acl file"),
    ("link to theirs", "others may write acl file"),
    ("link to itself", "cannot open acl file"),
    ("directory", "others may write acl file"),
    ("fifo", "others may write acl file"),
    ("device", "others may write acl file"),
    ("huge", "too many lines in acl file"),
    ("one line", "a line is too long in acl file"),
    ("includes itself", "too many lines in acl file"),
    ("includes theirs", "access denied by acl file"),
])
def test_acl_that_is_no_acl(world, what, text):
    conf = world.conf
    theirs = os.path.dirname(conf) + "/theirs"
    world.write(theirs, f"allow {BRIDGE}\n", 0o644, NOBODY, NOBODY)
    yes = f"allow {BRIDGE}\n"
    if what in ("writable", "group-writable"):
        world.write(conf, yes, 0o646 if what == "writable" else 0o664)
    elif what == "theirs":
        world.write(conf, yes, 0o644, NOBODY, NOBODY)
    elif what == "huge":
        world.write(conf, yes + "# more\n" * 2_000_000)
    elif what == "one line":
        world.write(conf, yes + "#" * 10_000_000)
    elif what == "includes itself":
        world.write(conf, yes + f"include {conf}\n" * 200)
    elif what == "includes theirs":
        world.write(conf, f"include {theirs}\n")
    else:
        os.unlink(world.inside(conf))
        if what.startswith("link"):
            os.symlink(theirs if what.endswith("theirs") else conf,
                       world.inside(conf))
        elif what == "directory":
            os.mkdir(world.inside(conf))
        elif what == "fifo":
            os.mkfifo(world.inside(conf))
        else:
            os.mknod(world.inside(conf), 0o020644, os.makedev(1, 5))
            os.chmod(world.inside(conf), 0o644)
    world.refused(text)


# --- callers ---------------------------------------------------------------------------

@pytest.mark.parametrize("args, text", [
    ((), "Usage: "),
    (("--br=" + BRIDGE,), "Usage: "),
    (("--fd=@",), "Usage: "),
    (("--br=" + BRIDGE, "--fd=-1"), "Usage: "),
    (("--br=" + BRIDGE, "--fd="), "Usage: "),
    (("--br=" + BRIDGE, "--fd=3x"), "Usage: "),
    (("--br=" + BRIDGE, "--fd=99999999999999999999"), "Usage: "),
    (("--br=" + BRIDGE, "--fd=@", "--more"), "Usage: "),
    (("--br=" + BRIDGE, "--fd=@", "--acl=/tmp/mine"),
     "--acl is not for a privileged program"),
    (("--br=", "--fd=@"), "not the name of a bridge"),
    (("--br=sixteen-bytes-xx", "--fd=@"), "not the name of a bridge"),
    (("--br=" + "x" * 100000, "--fd=@"), "not the name of a bridge"),
    ((f"--br={BRIDGE}:", "--fd=@"), "not the name of a bridge"),
    ((f"--br={BRIDGE}:1", "--fd=@"), "not the name of a bridge"),
    (("--br=a/b", "--fd=@"), "not the name of a bridge"),
    (("--br=all", "--fd=@"), "cannot read the MTU of all"),
    (("--br=none", "--fd=@"), "cannot read the MTU of none"),
    (("--br=lo", "--fd=@"), "cannot set the MTU of tap"),
    (("--br=" + BRIDGE, "--fd=789"), "--fd: Bad file descriptor"),
    (("--br=" + BRIDGE, "--fd=0"), "--fd: Socket operation on non-socket"),
    (("--br=" + BRIDGE, "--fd=1"), "--fd: Socket operation on non-socket"),
    (("--br=" + BRIDGE, "--fd=2"), "--fd: Socket operation on non-socket"),
])
def test_arguments(world, args, text):
    world.acl("deny denied\nallow all\n")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        proc = world.start(theirs, *(a.replace("@", str(theirs.fileno()))
                                     for a in args))
        output = "".join(proc.communicate(timeout=20))
    assert proc.returncode == 1 and text in output, output
    assert not world.taps()


def test_a_socket_of_another_kind(world):
    """Nothing is sent to where it could leave the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        proc = world.start(other, f"--br={BRIDGE}", f"--fd={other.fileno()}")
        output = "".join(proc.communicate(timeout=20))
    assert proc.returncode == 1 and "--fd is not a unix socket" in output
    assert not world.taps()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(world, closed):
    """What it opens does not become one of them, and then the caller's."""
    before = ("sh", "-c", f'exec "$@" {closed}', "sh")
    status, _, fd = world.ask(before=before)
    assert status == 0
    os.close(fd)
    for n in range(3):
        status, _, _ = world.ask(f"--br={BRIDGE}", f"--fd={n}", before=before)
        assert status == 1
    status, _, _ = world.ask(f"--br={BRIDGE}", "--fd=3", before=before)
    assert status == 1
    until(lambda: not world.taps(), 5, "the taps are gone")


def test_limits_of_the_caller(world):
    """With too few descriptors or processes it fails, and leaves nothing."""
    for limit in ("-n 4", "-f 0", "-v 100000"):
        before = ("sh", "-c", f'ulimit {limit}; exec "$@"', "sh")
        status, _, fd = world.ask(before=before)
        # A sanitizer's build takes no less than terabytes, and aborts.
        assert status in (0, 1, 127) or (status == -6 and "-v" in limit)
        if fd is not None:
            os.close(fd)
        until(lambda: not world.taps(), 5, "no tap")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_environment(world, tmp_path):
    """The dynamic linker and libc do not listen to the caller either."""
    library, mark = tmp_path / "evil.so", tmp_path / "mark"
    tmp_path.chmod(0o777)
    (tmp_path / "evil.c").write_text(
        '#include <fcntl.h>\n__attribute__((constructor)) static void f(void)'
        f'{{ open("{mark}", O_CREAT | O_WRONLY, 0600); }}\n')
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library,
                    tmp_path / "evil.c"], check=True)
    shutil.copy(library, tmp_path / "libc.so.6")
    env = {"PATH": str(tmp_path), "LD_PRELOAD": str(library),
           "LD_LIBRARY_PATH": str(tmp_path), "LD_AUDIT": str(library),
           "LD_DEBUG": "all", "LD_DEBUG_OUTPUT": str(tmp_path / "debug"),
           "LD_ORIGIN_PATH": str(tmp_path), "GCONV_PATH": str(tmp_path),
           "LOCPATH": str(tmp_path), "LC_ALL": "xx", "IFS": "/",
           "MALLOC_CHECK_": "3", "TMPDIR": str(tmp_path), "HOME": "/nowhere",
           "GLIBC_TUNABLES": "glibc.malloc.check=3:" * 500,
           "X": "y" * 100000}
    # Set by env(1) in the last moment: the programs before it are not tried.
    before = ["env", "-i", *(f"{k}={v}" for k, v in env.items())]
    status, output, fd = world.ask(before=before)
    assert (status, output) == (0, "")
    os.close(fd)
    assert not mark.exists() and not list(tmp_path.glob("debug*"))
    # It would have been loaded into a program without privilege.
    subprocess.run(["env", "-i", f"LD_PRELOAD={library}", "/bin/true"],
                   check=True)
    assert mark.exists()


# --- and a daemon of that user -----------------------------------------------------------

def test_a_rootless_daemon_has_a_bridge(world, bulkhead):
    """No privilege but that of the helper: the frames are the user's."""
    daemon = bulkhead("-nodefaults", before=world.argv(), uid=NOBODY)
    qmp = daemon.qmp()
    helper = world.bin + "/ours"
    qmp.cmd("netdev_add", type="bridge", id="b", br=BRIDGE, helper=helper)
    qmp.cmd("netdev_add", type="hubport", id="p", hubid=0, netdev="b")
    qmp.cmd("netdev_add", type="tap", id="t", br=BRIDGE, helper=helper)
    qmp.cmd("netdev_add", type="hubport", id="q", hubid=1, netdev="t")
    names = sorted(re.search(r"ifname=(tap\d+)", qmp.netdev(n)["info"]).group(1)
                   for n in "bt")
    assert names == sorted(world.taps())
    for name in names:
        assert f"master {BRIDGE}" in world.net.link(name)
    # A frame of the host, by the bridge and both ports.
    world.net.ip("address", "add", "10.9.0.1/24", "dev", BRIDGE)
    world.net.run("ping", "-c", "1", "-W", "1", "10.9.0.2", check=False)
    until(lambda: all(qmp.counters(n)["in-frames"] > 0 for n in "bt"), 10,
          "frames")
    world.net.ip("link", "delete", names[0])
    qmp.event("BACKEND_RESTARTED")
    assert len(world.taps()) == 2
    world.acl(f"deny {BRIDGE}\n")
    error = qmp.refused("netdev_add", type="bridge", id="c", br=BRIDGE,
                        helper=helper)
    assert "access denied by acl file" in error.desc
    # Without a helper there is no privilege for a tap.
    error = qmp.refused("netdev_add", type="tap", id="c", script="no")
    assert "could not configure /dev/net/tun (tap%d): Operation not permitted" \
        in error.desc
    qmp.cmd("netdev_del", id="b")
    qmp.cmd("netdev_del", id="t")
    until(lambda: not world.taps(), 5, "the taps are gone")
