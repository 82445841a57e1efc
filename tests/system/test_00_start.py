"""The command line: help, versions, errors, and how a start is announced."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from kit.coverage import recorder
from kit.daemon import Daemon, alive
from kit.deadline import until
from kit.qmp import Qmp

TOP = os.path.join(os.path.dirname(__file__), "..", "..")


def run(build, *args, **how):
    """Run bulkheadd to its end."""
    done = subprocess.run([os.path.join(build, "bin", "bulkheadd"), *args],
                          stdin=subprocess.DEVNULL, text=True, timeout=20,
                          capture_output=True, check=False, **how)
    recorder().argv(args, done.returncode == 0)
    return done


def refused(build, run_dir, *args):
    """It must end with 1 or 2 and one line; returns the line."""
    done = run(build, "--run-dir", str(run_dir), *args)
    assert done.returncode in (1, 2), done
    assert not os.path.exists(os.path.join(run_dir, "qmp.sock"))
    lines = [l for l in done.stderr.splitlines() if l.startswith("bulkheadd:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_goes_to_stdout(build):
    for option in ("--help", "-h", "-help"):
        done = run(build, option)
        assert done.returncode == 0 and not done.stderr
        assert "-netdev" in done.stdout and "--policy" in done.stdout


def test_version_is_that_of_the_tree(build):
    version = open(os.path.join(TOP, "VERSION"), encoding="ascii").read().strip()
    for option in ("--version", "-version"):
        done = run(build, option)
        assert done.returncode == 0
        assert done.stdout.split("\n")[0].startswith(f"bulkheadd {version}")


@pytest.mark.parametrize("args, words", [
    (["-netdev", "nosuch,id=a"], ["-netdev", "nosuch"]),
    (["-netdev", "socket,id=a"], ["-netdev", "exactly one of"]),
    (["-netdev", "hubport,id=a"], ["-netdev", "'hubid' is missing"]),
    (["-netdev", "hubport,id=a,hubid=x"], ["-netdev", "hubid"]),
    (["-netdev", "hubport,id=a,hubid=1,netdev=b"], ["netdev 'b' not found"]),
    (["-netdev", "hubport,id=1a,hubid=1"], ["identifier"]),
    (["-netdev", "tap,id=a,queues=0"], ["queues", "from 1 to 8"]),
    (["-netdev", "hubport,id=a,hubid=1,foo=1"], ["foo"]),
    (["-netdev", "hubport,id=a,hubid=1", "-netdev", "hubport,id=a,hubid=1"],
     ["Duplicate ID 'a'"]),
    (["-object", "filter-dump,id=f,netdev=a,file=x"], ["-object"]),
    (["--nonsense"], ["--nonsense"]),
    (["-netdev"], ["-netdev"]),
    (["--sandbox=perhaps"], ["--sandbox", "perhaps"]),
    (["--policy", "/nonexistent/policy"], ["--policy", "/nonexistent/policy"]),
    (["--config", "/nonexistent/config"], ["--config", "/nonexistent/config"]),
])
def test_errors_are_one_line_that_names_the_option(build, tmp_path, args, words):
    line = refused(build, tmp_path, *args)
    for word in words:
        assert word in line


def test_a_late_error_undoes_what_was_there(build, tmp_path):
    path = tmp_path / "early.sock"
    refused(build, tmp_path,
            "-netdev", f"socket,id=a,listen={path}", "-netdev", "nosuch,id=b")
    assert not path.exists()


def test_ready_is_told_when_qmp_answers(bulkhead):
    daemon = bulkhead("-nodefaults")
    assert daemon.qmp().cmd("query-netdevs") == []


def test_sigterm_and_sigint_end_it_in_order(build):
    for signo in (signal.SIGTERM, signal.SIGINT):
        daemon = Daemon(build, "-netdev", "user,id=u")
        monitor = daemon.qmp()
        daemon.processes()
        daemon.proc.send_signal(signo)
        assert monitor.event("SHUTDOWN")["guest"] is False
        assert daemon.proc.wait(20) == 0
        daemon.stop()


def test_quit_ends_it(build):
    daemon = Daemon(build, "-netdev", "user,id=u")
    monitor = daemon.qmp()
    daemon.processes()
    assert monitor.cmd("quit") == {}
    assert daemon.proc.wait(20) == 0
    daemon.stop()


def test_children_die_with_the_launcher(build):
    daemon = Daemon(build, "-netdev", "user,id=u", "-netdev",
                    "hubport,id=p,hubid=0,netdev=u")
    assert len(daemon.processes()) >= 3
    daemon.kill()


def test_daemonize_returns_when_ready_and_writes_the_pid(build, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    pidfile, qmp = tmp_path / "pid", run_dir / "q"
    done = run(build, "--run-dir", str(run_dir), "-daemonize", "-nodefaults",
               "-pidfile", str(pidfile), "-qmp", f"unix:{qmp},server=on,wait=off")
    assert done.returncode == 0, done
    pid = int(pidfile.read_text())
    try:
        session = Qmp(str(qmp))
        assert session.cmd("query-netdevs") == []
        session.close()
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid), 20, "end of the daemon")
    assert not pidfile.exists() and not qmp.exists()


def test_a_log_file_gets_every_role_and_is_kept(build, tmp_path):
    """Also in the background; what was in the file stays."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    pidfile, qmp, log = run_dir / "pid", run_dir / "q", run_dir / "log"
    log.write_text("before\n")
    done = run(build, "--run-dir", str(run_dir), "-daemonize", "-nodefaults",
               "--log-file", str(log), "--log-level=debug",
               "-pidfile", str(pidfile), "-qmp", f"unix:{qmp},server=on,wait=off")
    assert (done.returncode, done.stderr) == (0, ""), done
    pid = int(pidfile.read_text())
    try:
        session = Qmp(str(qmp))
        session.cmd("netdev_add", type="socket", id="late",
                    listen=str(run_dir / "s"))
        # What is ours is nobody's capture.
        for file in (log, pidfile):
            session.refused("netdev_add", type="dump", id="d", file=str(file))
        session.close()
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid), 20, "end of the daemon")
    text = log.read_text()
    assert text.startswith("before\n")
    for role in (" launcher[", " broker[", " lane[lane0]", " socket[late]"):
        assert role in text, (role, text)


def test_a_failed_start_points_to_its_log_file(build, tmp_path):
    log = tmp_path / "log"
    for extra in ((), ("-daemonize",)):
        done = run(build, "--run-dir", str(tmp_path / "r"), "--log-file",
                   str(log), "-netdev", "nosuch,id=a", *extra)
        assert done.returncode == 1 and str(log) in done.stderr, done
        assert "nosuch" in log.read_text()
        log.unlink()
    done = run(build, "--run-dir", str(tmp_path / "r"), "--log-file",
               str(tmp_path / "no" / "log"))
    assert done.returncode == 1 and "--log-file" in done.stderr, done


def test_log_lines_after_daemonize_break_nothing(build, tmp_path):
    """The first children keep a pipe that nobody reads: it fills, and nobody
    waits or dies."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    pidfile, qmp = tmp_path / "pid", run_dir / "q"
    done = run(build, "--run-dir", str(run_dir), "-daemonize", "-nodefaults",
               "--log-level=debug", "-pidfile", str(pidfile),
               "-qmp", f"unix:{qmp},server=on,wait=off")
    assert done.returncode == 0, done
    pid = int(pidfile.read_text())
    try:
        session = Qmp(str(qmp))
        for _ in range(3000):  # a line each, of more than 40 bytes
            session.cmd("query-version")
        session.close()
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid), 20, "end of the daemon")


def test_daemonize_reports_failure(build, tmp_path):
    assert "nosuch" in refused(build, tmp_path, "-daemonize",
                               "-netdev", "nosuch,id=a")


def test_socket_activation(build):
    """A listening socket comes from the service manager and stays its own."""
    name = f"/tmp/bh-activation-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(4)
        fd = listener.fileno()
        # LISTEN_PID has to be the daemon's own: a shell says it and execs.
        before = ("/bin/bash", "-c",
                  f'[ {fd} = 3 ] || exec 3<&{fd} {fd}<&-; '
                  'LISTEN_PID=$$ exec "$@"', "bash")
        daemon = Daemon(build, "-nodefaults", before=before, qmp=False,
                        pass_fds=(fd,), env={"LISTEN_FDS": "1"})
        try:
            assert daemon.qmp(name).cmd("query-netdevs") == []
        finally:
            daemon.stop()
        assert os.path.exists(name)
        os.unlink(name)


def test_several_monitors(bulkhead):
    daemon = bulkhead("-nodefaults")
    daemon.stop()
    path = [f"/tmp/bh-monitors-{os.getpid()}-{i}" for i in range(3)]
    args = [a for p in path for a in ("-qmp", f"unix:{p},server=on,wait=off")]
    daemon = bulkhead("-nodefaults", *args)
    for p in path:
        assert daemon.qmp(p).cmd("query-hubs") == []
    daemon.stop()
    assert not any(os.path.exists(p) for p in path)


def test_config_file_of_qmp_commands(bulkhead, tmp_path):
    config = tmp_path / "start.json"
    config.write_text(
        '{"execute": "netdev_add", "arguments":'
        ' {"type": "hubport", "id": "p", "hubid": 3}}\n'
        "{'execute': 'set_link', 'arguments': {'name': 'p', 'up': false}}\n")
    daemon = bulkhead("--config", str(config))
    assert [n["id"] for n in daemon.qmp().cmd("query-netdevs")] == ["p"]


def test_default_network_and_what_it_says(build):
    """Without options: user-mode network, two ports for VMs, a capture."""
    daemon = Daemon(build, qmp=False)
    try:
        session = daemon.qmp(daemon.path("qmp.sock"))
        assert {n["id"] for n in session.cmd("query-netdevs")} >= {
            "user0", "vm0", "vm1", "dump0"}
        for what in ("vm0.sock", "qmp.sock", "capture.pcap", "-netdev stream"):
            assert what in daemon.log()
        assert os.path.exists(daemon.path("capture.pcap"))
    finally:
        daemon.stop()


def make(build, *args):
    """`make ARGS` with our build directory, as a user would."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(["make", "-C", TOP, f"BUILD={build}", *args], env=env,
                          stdin=subprocess.DEVNULL, check=True, timeout=60,
                          capture_output=True, text=True)


def test_installed_it_finds_its_programs(build, tmp_path):
    where = f"DESTDIR={tmp_path}"
    make(build, "install", where, "PREFIX=/usr")
    installed = tmp_path / "usr" / "sbin"
    assert (installed / "bulkheadd").exists()
    os.mkdir(tmp_path / "usr" / "bin")
    os.symlink(installed / "bulkheadd", tmp_path / "usr" / "bin" / "bulkheadd")
    daemon = Daemon(str(tmp_path / "usr"), "-netdev", "user,id=u")
    daemon.stop()
    if shutil.which("systemd-analyze"):
        unit = tmp_path / "usr/lib/systemd/system/bulkhead.service"
        text = unit.read_text().replace("/usr/sbin/", f"{installed}/")
        unit.write_text(text)
        said = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], text=True,
            capture_output=True, check=False).stderr
        assert "bulkhead" not in said, said
    make(build, "uninstall", where, "PREFIX=/usr")
    left = [f for _, _, files in os.walk(tmp_path) for f in files]
    assert left == ["bulkheadd"]  # the link that we made


def test_every_option_is_in_the_manual_and_in_help(build):
    """All that the parser's table has, refused options too."""
    table = open(os.path.join(TOP, "proto", "launch_options.def"),
                 encoding="utf-8").read()
    options = re.findall(
        r'^LAUNCH_OPTION\(\w+, "([\w-]+)", .*, (\w+),$', table, re.M)
    options += re.findall(
        r'^LAUNCH_OPTION\(\w+, "([\w-]+)", .*?, (\w+), "', table, re.M)
    text = run(build, "--help").stdout
    page = open(os.path.join(build, "man", "bulkheadd.8"), encoding="utf-8").read()
    named = set(re.findall(r"[ ,]-{0,2}([\w-]+)",
                           " ".join(re.findall(r"^\.It Fl(.*)", page, re.M))))
    assert len(options) == table.count("\nLAUNCH_OPTION(") > 20
    for name, who in options:
        if who in ("LAUNCHER", "BROKER"):
            assert f"-{name}" in text, name
        if who != "HIDDEN":
            assert name in named, name
