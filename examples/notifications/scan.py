#!/usr/bin/env python3
"""Scans each replica with Trivy as soon as it is copied: a receiver of Image Replicator's
notifications, with nothing but Python's own library. `docs/notifications.md` says how to run it.

Usage: SECRET_FILE=FILE scan.py PORT COMMAND...     (the replica, by digest, is COMMAND's last word)
"""

import base64
import collections
import hashlib
import hmac
import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time

# A signature is good for so long, so that one which was overheard cannot be sent again.
TOLERANCE_S = 300
# An event has under 4 KiB.
MAX_BODY_BYTES = 64 * 1024
# Replicas that wait to be scanned; beyond them the replicator is asked to come again.
WAITING = queue.Queue(maxsize=1000)
# Ids that were seen lately: what is sent twice is scanned once.
SEEN = collections.OrderedDict()
MAX_SEEN = 10000


def keys():
    """The keys in the file, read anew each time: it may change."""
    with open(os.environ["SECRET_FILE"], encoding="ascii") as file:
        return [base64.b64decode(line.strip().removeprefix("whsec_")) for line in file if line.strip()]


def is_from_the_replicator(headers, body):
    """Whether one of the keys signed these very bytes a moment ago (Standard Webhooks)."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isascii() or not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE_S:
        return False
    signed = f"{headers.get('webhook-id', '')}.{sent_at}.".encode() + body
    expected = {
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys()
    }
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes an event in at once, and leaves the work to another thread."""

    timeout = 10

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return self.answer(413)
        body = self.rfile.read(int(length))
        if not is_from_the_replicator(self.headers, body):
            return self.answer(401)
        event_id, replica = self.headers["webhook-id"], json.loads(body)["data"].get("replica")
        if event_id in SEEN or replica is None:
            return self.answer(204)
        try:
            WAITING.put_nowait(replica)
        except queue.Full:
            return self.answer(503, {"retry-after": "60"})
        SEEN[event_id] = True
        if len(SEEN) > MAX_SEEN:
            SEEN.popitem(last=False)
        return self.answer(202)

    def answer(self, status, headers=None):
        self.send_response(status)
        for name, value in {"content-length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()


def scan(command):
    """Scans what waits, one after the other."""
    while True:
        replica = WAITING.get()
        status = subprocess.run([*command, replica], check=False).returncode
        print(f"{replica}: {command[0]} ended with {status}", flush=True)


def main():
    port, *command = sys.argv[1:]
    threading.Thread(target=scan, args=[command], daemon=True).start()
    http.server.HTTPServer(("", int(port)), Receiver).serve_forever()


if __name__ == "__main__":
    main()
