"""Third-party QMP clients, unmodified. Each is skipped, with the reason, where
it cannot be had; `make check-clients` installs what Debian has of them."""

import importlib.util
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
                          timeout=60, stdin=subprocess.DEVNULL, **how)
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
        got = subprocess.run(
            ["npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts",
             "--no-audit", "--no-fund", "--prefix", folder, *NPM],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=80, check=False)
        if got.returncode:
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


def qemu_qmp():
    """Is Python's qemu.qmp there? It is in no Debian 12 package."""
    try:
        return importlib.util.find_spec("qemu.qmp") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(not qemu_qmp(), reason="python's qemu.qmp is in no Debian 12 "
                    "package and is not installed otherwise")
def test_python_qemu_qmp(bulkhead):
    said = run([sys.executable, "-c", PYTHON, bulkhead("-nodefaults").qmp_path])
    assert said.splitlines() == ["refused", "done"]


@pytest.mark.skipif(not qemu_qmp() or not shutil.which("qmp-shell"),
                    reason="qmp-shell comes with python's qemu.qmp")
def test_qmp_shell(bulkhead):
    done = subprocess.run(
        ["qmp-shell", bulkhead("-nodefaults").qmp_path], text=True, timeout=30,
        input="netdev_add type=hubport id=sh hubid=7\nquery-hubs\n",
        capture_output=True, check=False)
    assert '"hubid": 7' in done.stdout
