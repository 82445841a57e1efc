"""Third-party QMP clients, unmodified. Each is skipped, with the reason, where
it cannot be had; `make check-clients` installs what Debian has of them."""

import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
GOPATH = "/usr/share/gocode"
NPM = ("qemu-qmp@0.5.0", "node-qemu@1.3.0", "split@1.0.1", "through@2.3.8")


def run(argv, **how):
    """Run to the end; returns what it printed."""
    done = subprocess.run(argv, text=True, capture_output=True, check=False,
                          timeout=60, input=how.pop("input", ""), **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def folder(build):
    path = os.path.join(build, "clients")
    os.makedirs(path, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def go_client(folder):
    if not shutil.which("go") or not os.path.isdir(
            f"{GOPATH}/src/github.com/digitalocean/go-qemu"):
        pytest.skip("packages golang-go, golang-github-digitalocean-go-qemu-dev "
                    "are missing")
    program = os.path.join(folder, "qmp-go")
    run(["go", "build", "-o", program, os.path.join(HERE, "qmp.go")],
        env=dict(os.environ, GO111MODULE="off", GOPATH=GOPATH,
                 GOCACHE=os.path.join(folder, "go-cache")))
    return program


@pytest.fixture(scope="session")
def npm_modules(folder):
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("packages nodejs, npm are missing")
    modules = os.path.join(folder, "node_modules")
    if not os.path.isdir(os.path.join(modules, "node-qemu")):
        try:
            subprocess.run(
                ["npm", "install", "--no-save", "--no-package-lock",
                 "--ignore-scripts", "--no-audit", "--no-fund",
                 "--prefix", folder, *NPM],
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=80, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip("the npm registry does not answer")
    return modules


def test_go_qemu(bulkhead, go_client):
    said = run([go_client, bulkhead("-nodefaults").qmp_path])
    assert said.splitlines()[-1] == "done"


@pytest.mark.parametrize("library", ["qemu-qmp", "node-qemu"])
def test_npm(bulkhead, npm_modules, library):
    said = run(["node", os.path.join(HERE, "qmp.cjs"), library,
                bulkhead("-nodefaults").qmp_path],
               env=dict(os.environ, NODE_PATH=npm_modules))
    assert said.splitlines()[-1] == "done"


PYTHON = """
import asyncio, sys
from qemu.qmp import QMPClient, ExecuteError

async def main():
    q = QMPClient("test")
    await q.connect(sys.argv[1])
    await q.execute("query-version")
    await q.execute("query-qmp-schema")
    await q.execute("netdev_add", {"type": "hubport", "id": "py", "hubid": 6})
    try:
        await q.execute("netdev_del", {"id": "nosuch"})
    except ExecuteError:
        print("refused")
    await q.execute("netdev_del", {"id": "py"})
    await q.disconnect()
    print("done")

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def qemu_qmp(folder):
    """Environment in which Python's qemu.qmp can be imported."""
    path = os.path.join(folder, "qemu", "python")
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(
        [path] + os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    there = subprocess.run([sys.executable, "-c", "import qemu.qmp.qmp_shell"],
                           env=env, check=False, capture_output=True)
    if there.returncode:
        pytest.skip("python's qemu.qmp is in no Debian 12 package; "
                    "make check-clients gets it from QEMU's source package")
    return env


def test_python_qemu_qmp(bulkhead, qemu_qmp):
    said = run([sys.executable, "-c", PYTHON, bulkhead("-nodefaults").qmp_path],
               env=qemu_qmp)
    assert said.splitlines() == ["refused", "done"]


def test_qmp_shell(bulkhead, qemu_qmp):
    said = run([sys.executable, "-m", "qemu.qmp.qmp_shell",
                bulkhead("-nodefaults").qmp_path], env=qemu_qmp,
               input="netdev_add type=hubport id=sh hubid=7\nquery-hubs\n")
    assert '"hubid": 7' in said
