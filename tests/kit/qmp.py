"""A QMP client of our own: small, strict about what it reads."""

import json
import socket
import time

# QEMU names with an underscore of their own.
AS_THEY_ARE = {"vnet_hdr"}


class QmpError(Exception):
    """The server said {"error": ...}."""

    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.cls = error["class"]
        self.desc = error["desc"]


class Qmp:
    """One session. Every wait has a deadline in seconds."""

    def __init__(self, path, negotiate=True, seconds=10, recorder=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(seconds)
        self.sock.connect(path)
        self.buffer = b""
        self.events = []
        self.serial = 0
        self.recorder, self.asked = recorder, {}
        self.greeting = self.read(seconds) if negotiate is not None else None
        if negotiate:
            self.cmd("qmp_capabilities")

    def send_bytes(self, data):
        self.sock.sendall(data)

    def send(self, value, fd=None):
        data = json.dumps(value).encode() + b"\r\n"
        if self.recorder and isinstance(value, dict) and "execute" in value:
            self.asked[json.dumps(value.get("id"))] = value
        if fd is None:
            self.send_bytes(data)
        else:
            assert socket.send_fds(self.sock, [data], [fd]) == len(data)

    def line(self, seconds=10):
        """One line with its CR LF, as bytes; b"" at end of file."""
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            more = self.sock.recv(65536)
            if not more:
                return b""
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def read(self, seconds=10):
        """One message; the server must write one per line, ended by CR LF."""
        line = self.line(seconds)
        if not line:
            raise EOFError("QMP connection closed")
        assert line.endswith(b"\r\n") and line.strip(), line
        message = json.loads(line)
        self._record(message)
        return message

    def _record(self, message):
        """Note what was said (kit/coverage.py)."""
        if not self.recorder:
            return
        if "event" in message:
            self.recorder.event(message)
            return
        asked = self.asked.pop(json.dumps(message.get("id")), None)
        if asked:
            self.recorder.answer(asked["execute"], asked.get("arguments"),
                                 message)

    def start(self, name, /, fd_=None, **arguments):
        """Send a command; returns its id for finish(). fd_ goes with it."""
        self.serial += 1
        message = {"execute": name, "id": self.serial}
        if arguments:
            message["arguments"] = {
                k if k in AS_THEY_ARE else k.rstrip("_").replace("_", "-"): v
                for k, v in arguments.items()}
        self.send(message, fd_)
        return self.serial

    def finish(self, serial, seconds=20):
        """The answer to `serial`; events on the way are kept."""
        while True:
            message = self.read(seconds)
            if "event" in message:
                self.events.append(message)
                continue
            assert message.get("id") == serial, message
            if "error" in message:
                raise QmpError(message["error"])
            return message["return"]

    def cmd(self, name, /, **arguments):
        """Run one command. Underscores in member names become dashes."""
        return self.finish(self.start(name, **arguments))

    def refused(self, name, /, **arguments):
        """Run a command that must fail; returns the QmpError."""
        try:
            value = self.cmd(name, **arguments)
        except QmpError as error:
            return error
        raise AssertionError(f"{name} {arguments} succeeded: {value}")

    def event(self, name, /, seconds=20, **data):
        """Wait for an event whose data holds these members; returns its data."""
        end = time.monotonic() + seconds
        wanted = {k.replace("_", "-"): v for k, v in data.items()}
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == name and \
                        wanted.items() <= e.get("data", {}).items():
                    del self.events[i]
                    return e.get("data", {})
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {name} {wanted}: saw {self.events}")
            try:
                message = self.read(left)
            except socket.timeout:
                continue
            assert "event" in message, message
            self.events.append(message)

    def drop_events(self, name):
        """Forget those of this name that have come; returns how many."""
        kept = [e for e in self.events if e["event"] != name]
        dropped = len(self.events) - len(kept)
        self.events = kept
        return dropped

    def netdev(self, name):
        """query-netdevs' entry of one netdev."""
        return self.cmd("query-netdevs", id=name)[0]

    def counters(self, name):
        """All counters of one netdev, the lane's and the backend's."""
        n = self.netdev(name)
        return {**n.get("lane-counters", {}), **n.get("backend-counters", {})}

    def close(self):
        self.sock.close()
