"""The QMP endpoint as clients see its bytes."""

import json
import socket

import pytest

from kit.deadline import until
from kit.qmp import Qmp, QmpError


def answer_to(session, data):
    session.send_bytes(data)
    return session.read()


def test_greeting_comes_first_and_alone(bulkhead):
    daemon = bulkhead("-nodefaults")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(daemon.qmp_path)
        # Nothing is sent yet: answers may arrive behind the greeting at once
        first = s.recv(65536)
        assert first.endswith(b"\r\n") and first.count(b"\n") == 1
        version = json.loads(first)["QMP"]["version"]["qemu"]
        assert set(version) == {"major", "minor", "micro"}


def test_negotiation(bulkhead):
    daemon = bulkhead("-nodefaults")
    session = daemon.qmp(negotiate=False)
    for name in ("query-version", "nosuch"):
        error = session.refused(name)
        assert error.cls == "CommandNotFound"
        assert "qmp_capabilities" in error.desc
    assert session.cmd("qmp_capabilities") == {}
    error = session.refused("qmp_capabilities")
    assert (error.cls, error.desc) == (
        "CommandNotFound",
        "Capabilities negotiation is already complete, command ignored")


def test_oob_is_refused_or_honoured(bulkhead):
    daemon = bulkhead("-nodefaults")
    session = daemon.qmp(negotiate=False)
    if "oob" in session.greeting["QMP"]["capabilities"]:
        assert session.cmd("qmp_capabilities", enable=["oob"]) == {}
        session.send({"exec-oob": "query-version", "id": 1})
        assert "id" in session.read()
    else:
        assert "oob" in session.refused("qmp_capabilities", enable=["oob"]).desc
        session.cmd("qmp_capabilities")
        session.send({"exec-oob": "query-version"})
        assert session.read()["error"]["desc"] == \
            "QMP input member 'exec-oob' is unexpected"


@pytest.mark.parametrize("data, cls, desc", [
    (b"1 ", "GenericError", "QMP input must be a JSON object"),
    (b"[]", "GenericError", "QMP input must be a JSON object"),
    (b"{}", "GenericError", "QMP input lacks member 'execute'"),
    (b'{"execute": 1}', "GenericError",
     "QMP input member 'execute' must be a string"),
    (b'{"execute": "query-version", "arguments": []}', "GenericError",
     "QMP input member 'arguments' must be an object"),
    (b'{"execute": "query-version", "foo": 1}', "GenericError",
     "QMP input member 'foo' is unexpected"),
    (b'{"execute": "nope"}', "CommandNotFound",
     "The command nope has not been found"),
    (b'{"execute": "set_link", "arguments": {"name": "a"}}', "GenericError",
     "Parameter 'up' is missing"),
    (b'{"execute": "set_link", "arguments": {"name": "a", "up": 1}}',
     "GenericError", "Invalid parameter type for 'up', expected: boolean"),
    (b'{"execute": "set_link", "arguments": {"name": "a", "up": true, "x": 1}}',
     "GenericError", "Parameter 'x' is unexpected"),
    (b'{"execute": "set_link", "arguments": {"name": "a", "up": true}}',
     "DeviceNotFound", "Device 'a' not found"),
    (b'{"execute": "netdev_del", "arguments": {"id": "a"}}',
     "DeviceNotFound", "Device 'a' not found"),
])
def test_errors_have_qemus_class_and_text(qmp, data, cls, desc):
    error = answer_to(qmp, data)["error"]
    assert (error["class"], error["desc"]) == (cls, desc)
    assert qmp.cmd("query-netdevs") == []


@pytest.mark.parametrize("value", [
    None, 0, -1, 1.5, "", "x", "\u20ac\U0001F600", [], [1, {"a": None}], {"b": []},
    2 ** 63 - 1])
def test_ids_come_back_unchanged(qmp, value):
    qmp.send({"execute": "query-version", "id": value})
    assert qmp.read()["id"] == value
    qmp.send({"execute": "nope", "id": value})
    assert qmp.read()["id"] == value


@pytest.mark.parametrize("data", [
    b'{"a":1]', b'{"execute" 1}', b"{,}", b"]", b"nul ", b'"\\ud800" ',
    b'{"execute":"query-version","execute":"quit"}', b"{\"a\": tru}",
    b'"\xff\xfe"', b"\xc0\xaf "])
def test_broken_json_costs_one_client_an_error(qmp, data):
    qmp.send_bytes(data + b"\n")
    assert "error" in qmp.read()
    # FF puts the parser right, whatever state it was in
    qmp.send_bytes(b"\xff\n")
    qmp.send({"execute": "query-version", "id": "after"})
    until(lambda: qmp.read().get("id") == "after", 5, "the answer after FF")


def test_single_quotes_and_any_chunks(qmp):
    for byte in b"{'execute': 'query-version', 'id': 'it\\'s'}":
        qmp.send_bytes(bytes([byte]))
    assert qmp.read()["id"] == "it's"


def test_pipelined_commands_answer_in_order(qmp):
    ids = [qmp.start("query-version") for _ in range(200)]
    for i in ids:
        qmp.finish(i)


def test_version_name_status_commands(qmp):
    assert set(qmp.cmd("query-version")) == {"qemu", "package"}
    assert isinstance(qmp.cmd("query-name"), dict)
    names = [c["name"] for c in qmp.cmd("query-commands")]
    for name in ("netdev_add", "netdev_del", "set_link", "quit", "query-hubs",
                 "query-netdevs", "query-backends", "backend-resume"):
        assert name in names
    assert len(names) == len(set(names))


def test_schema_is_one_short_line_and_closed(qmp):
    qmp.send({"execute": "query-qmp-schema"})
    line = qmp.line()
    assert len(line) < 64 * 1024
    schema = {e["name"]: e for e in json.loads(line)["return"]}
    used = set()
    for e in schema.values():
        used.update(e.get(k) for k in ("arg-type", "ret-type", "element-type"))
        used.update(m.get("type") for m in e.get("members", ()))
        used.update(v.get("type") for v in e.get("variants", ()))
    assert used - {None} <= set(schema)
    commands = {n for n, e in schema.items() if e["meta-type"] == "command"}
    assert commands == {c["name"] for c in qmp.cmd("query-commands")}


def test_many_clients_on_one_socket(bulkhead):
    daemon = bulkhead("-nodefaults")
    sessions = [daemon.qmp() for _ in range(32)]
    for s in sessions:
        s.start("query-version")
    for s in sessions:
        s.finish(s.serial)


# --- hostile clients -------------------------------------------------------------

def lives(daemon):
    """Another client is served at once."""
    session = Qmp(daemon.qmp_path, seconds=5)
    session.cmd("query-version")
    session.close()
    return True


def test_depth_is_bounded(qmp):
    qmp.send_bytes(b"[" * 5000 + b"\xff\n")
    assert "error" in qmp.read()
    assert lives(qmp.daemon)


@pytest.mark.parametrize("start, unit", [
    (b'{"execute": "', b"a" * 65536), (b'{"a": [', b"1," * 32768),
    (b"{", b'"k":{' * 10000), (b"", b" " * 65536)])
def test_size_is_bounded(bulkhead, start, unit):
    """96 MiB of one message: an error or a hang-up, and bounded memory."""
    daemon = bulkhead("-nodefaults")
    session = daemon.qmp()
    session.sock.settimeout(3)
    try:
        session.send_bytes(start)
        for _ in range(96 * 16):
            session.send_bytes(unit)
    except (BrokenPipeError, ConnectionResetError, socket.timeout):
        pass
    assert lives(daemon)
    for pid in daemon.processes():
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            peak = [l for l in f if l.startswith("VmHWM")]
        assert int(peak[0].split()[1]) < 96 * 1024


def test_slow_reader_is_dropped_not_waited_for(bulkhead):
    daemon = bulkhead("-nodefaults")
    lazy = daemon.qmp()
    lazy.sock.settimeout(1)
    request = b'{"execute": "query-qmp-schema"}' * 100
    try:
        for _ in range(1000):
            lazy.send_bytes(request)
    except (socket.timeout, BrokenPipeError, ConnectionResetError):
        pass
    assert lives(daemon)
    for pid in daemon.processes():
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            peak = [l for l in f if l.startswith("VmHWM")]
        assert int(peak[0].split()[1]) < 96 * 1024


def test_flood_of_clients(bulkhead):
    daemon = bulkhead("-nodefaults")
    socks = []
    for _ in range(600):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        try:
            s.connect(daemon.qmp_path)
        except (BlockingIOError, socket.timeout, OSError):
            s.close()
            break
        socks.append(s)
    for s in socks:
        s.close()

    def served():
        try:
            return lives(daemon)
        except (OSError, EOFError, KeyError, QmpError):
            return False  # the queue of the listener is not empty yet
    until(served, 10, "service after the flood")


def test_disconnect_in_the_middle_of_a_command(bulkhead):
    daemon = bulkhead("-nodefaults")
    for i in range(20):
        session = daemon.qmp()
        session.start("netdev_add", type="user", id=f"u{i}")
        session.close()
        half = daemon.qmp()
        half.send_bytes(b'{"execute": "netdev_add", "argum')
        half.close()
    session = daemon.qmp()
    until(lambda: len(session.cmd("query-netdevs")) == 20, 30, "20 netdevs")
    for i in range(20):
        session.cmd("netdev_del", id=f"u{i}")
    assert session.cmd("query-netdevs") == []


def test_half_close_still_answers(bulkhead):
    daemon = bulkhead("-nodefaults")
    session = daemon.qmp()
    serial = session.start("netdev_add", type="user", id="u")
    session.sock.shutdown(socket.SHUT_WR)
    assert session.finish(serial) == {}
    assert session.line() == b""
    assert len(daemon.qmp().cmd("query-netdevs")) == 1


def test_error_replies_are_bounded_too(qmp):
    with pytest.raises(QmpError) as e:
        qmp.cmd("x" * 20000)
    assert len(str(e.value)) < 64 * 1024
