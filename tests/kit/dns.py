"""A name server for tests: says what it is told to say, or nothing."""

import select
import socket
import struct
import threading

A, AAAA = 1, 28
NXDOMAIN = 3


def _question(query):
    """The name and the type that a query asks for, and where that ends."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0], at + 5


def answer(query, addresses, code=0, truncated=False):
    """The answer to a query: these addresses, packed, or an error."""
    _, kind, end = _question(query)
    flags = 0x8180 | code | (0x0200 if truncated else 0)
    records = b"".join(
        struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(a)) + a
        for a in ([] if truncated else addresses))
    count = 0 if truncated else len(addresses)
    return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + \
        query[12:end] + records


class NameServer:
    """127.0.0.1:53 of the network namespace in which it is made. `says` maps a
    name to a list of addresses; to bytes, said behind the query's number; to
    None, which is silence. Other names do not exist."""

    def __init__(self, says):
        self.says, self.asked = says, []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (self.udp, self.tcp):
            sock.bind(("127.0.0.1", 53))
        self.tcp.listen()
        self.ours, self.end = socket.socketpair()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            ready = select.select([self.end, self.udp, self.tcp], [], [])[0]
            if self.end in ready:
                return
            if self.udp in ready:
                query, sender = self.udp.recvfrom(65536)
                reply = self._reply(query, 512)
                if reply is not None:
                    self.udp.sendto(reply, sender)
            if self.tcp in ready:
                with self.tcp.accept()[0] as sock:
                    self._stream(sock)

    def _reply(self, query, room):
        name, kind, _ = _question(query)
        self.asked.append(name)
        says = self.says.get(name, NXDOMAIN)
        if says is None:
            return None
        if isinstance(says, bytes):
            return query[:2] + says
        if isinstance(says, int):
            return answer(query, [], code=says)
        packed = [socket.inet_pton(
            socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in says]
        size = {A: 4, AAAA: 16}.get(kind, 0)
        full = answer(query, [a for a in packed if len(a) == size])
        return full if len(full) <= room else answer(query, [], truncated=True)

    def _stream(self, sock):
        sock.settimeout(5)
        try:
            while size := sock.recv(2, socket.MSG_WAITALL):
                query = sock.recv(struct.unpack("!H", size)[0],
                                  socket.MSG_WAITALL)
                reply = self._reply(query, 65535)
                sock.sendall(struct.pack("!H", len(reply)) + reply)
        except OSError:
            pass

    def close(self):
        self.ours.close()
        self.thread.join()
        for sock in (self.udp, self.tcp, self.end):
            sock.close()
