#!/usr/bin/python3
"""Many clients of the live stream, some of which never read: stream_clients.py PORT CLIENTS STUCK SECONDS.
Plain sockets and one selector: a client library would be measured instead. Prints delivery times and memory."""
import json
import os
import re
import selectors
import socket
import struct
import sys
import time
import urllib.request

PORT, CLIENTS, STUCK, SECONDS = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
PID = int(sys.argv[5])
SEQ = re.compile(rb'"seq":(\d+)')  # a whole parse of each would be measured instead
HELLO = (b"GET /ws/simulation HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def resident():
    with open(f"/proc/{PID}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def connect():
    s = socket.create_connection(("127.0.0.1", PORT))
    s.sendall(HELLO)
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(4096)
    assert b" 101 " in got, got
    s.setblocking(False)
    return s


def frames(buffer):
    """Whole frames of the server, taken off the buffer: how many, and the last one's text."""
    n, last, at = 0, None, 0
    while len(buffer) - at >= 2:
        size, head = buffer[at + 1] & 127, 2
        if size == 126:
            if len(buffer) - at < 4:
                break
            size, head = struct.unpack(">H", buffer[at + 2:at + 4])[0], 4
        elif size == 127:
            if len(buffer) - at < 10:
                break
            size, head = struct.unpack(">Q", buffer[at + 2:at + 10])[0], 10
        if len(buffer) - at < head + size:
            break
        if buffer[at] & 15 == 1:
            n, last = n + 1, bytes(buffer[at + head:at + head + size])
        at += head + size
    del buffer[:at]
    return n, last


before = resident()
clients = [connect() for _ in range(CLIENTS)]
print(f"{CLIENTS} clients: {(resident() - before) / CLIENTS:.1f} KiB of the daemon for each")
selector = selectors.DefaultSelector()
for c in clients[STUCK:]:
    selector.register(c, selectors.EVENT_READ, bytearray())
body = {"type": "config_change", "target": "pg", "change": {"work_mem": "8MB"},
        "metadata": {"steps": int(SECONDS * 10), "step_s": 0.1}}
urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{PORT}/api/v1/simulation/run", json.dumps(body).encode(),
                       {"Content-Type": "application/json", "Prefer": "respond-async"}), timeout=20).read()
first, late, messages = {}, [], 0  # when the first client had a message, how much later each other one
until = time.monotonic() + SECONDS
while time.monotonic() < until:
    for key, _ in selector.select(0.2):
        try:
            data = key.fileobj.recv(65536)
        except BlockingIOError:
            continue
        if not data:
            selector.unregister(key.fileobj)
            continue
        key.data.extend(data)
        n, last = frames(key.data)
        messages += n
        if last:
            now = time.monotonic()
            late.append(now - first.setdefault(SEQ.search(last)[1], now))
late.sort()
print(f"{messages} messages to {CLIENTS - STUCK} clients that read, p99 {1000 * late[int(0.99 * len(late))]:.0f} ms after the first "
      f"had it; {STUCK} that never read; {resident() / 1024:.0f} MiB at the end, {(resident() - before) / CLIENTS:.1f} KiB each")
os._exit(0)
