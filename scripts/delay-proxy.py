#!/usr/bin/env python3
"""A TCP proxy on loopback that makes a far registry of a near one.

delay-proxy.py PORT TARGET_PORT ROUND_TRIP_MS [MIB_PER_SECOND]: each byte leaves half a round trip
after it came, in either direction; a new connection costs a whole one more, as its handshake
would. The rate is free, or limited for each connection towards the client. TLS passes as it is.
"""

import collections
import socket
import sys
import threading
import time

CHUNK_BYTES = 256 * 1024
# What may be on its way in one direction: with 10 ms, no limit below 3 GiB/s.
MAX_BYTES_ON_THE_WAY = 32 * 1024 * 1024


class Line:
    """One direction of one connection: a thread that reads, and one that writes later."""

    def __init__(self, reader, writer, delay, not_before=0.0, bytes_per_second=None):
        self.reader, self.writer = reader, writer
        self.delay, self.not_before = delay, not_before
        self.bytes_per_second = bytes_per_second
        self.chunks = collections.deque()
        self.bytes = 0
        self.changed = threading.Condition()
        for work in (self.read, self.write):
            threading.Thread(target=work, daemon=True).start()

    def read(self):
        while True:
            try:
                data = self.reader.recv(CHUNK_BYTES)
            except OSError:
                data = b""
            due = max(time.monotonic() + self.delay, self.not_before)
            with self.changed:
                self.chunks.append((due, data))
                self.bytes += len(data)
                self.changed.notify_all()
                if not data:
                    return
                self.changed.wait_for(lambda: self.bytes < MAX_BYTES_ON_THE_WAY)

    def write(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.chunks)
                due, data = self.chunks.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if data:
                    self.writer.sendall(data)
                else:
                    self.writer.shutdown(socket.SHUT_WR)
            except OSError:
                # The other side is gone: so that the sender learns of it.
                self.shut(self.reader)
            with self.changed:
                self.bytes -= len(data)
                self.changed.notify_all()
            if not data:
                return
            if self.bytes_per_second:
                time.sleep(len(data) / self.bytes_per_second)

    @staticmethod
    def shut(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    port, target_port = int(sys.argv[1]), int(sys.argv[2])
    delay = float(sys.argv[3]) / 2000
    rate = float(sys.argv[4]) * 1024 * 1024 if len(sys.argv) > 4 else None
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", target_port))
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # SYN, SYN-ACK, and only then the first byte.
        Line(client, server, delay, not_before=time.monotonic() + 3 * delay)
        Line(server, client, delay, bytes_per_second=rate)


main()
