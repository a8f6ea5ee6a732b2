#!/usr/bin/env python3
"""A registry on loopback, by plain HTTP, that is no help: limited-registry.py PORT.

Images of `hostile/` are there and not given to anybody, and its words about that are HTML. For all
others it says that there were too many requests, that none is left of a hundred, and to wait for
half a minute.
"""

import http.server
import json
import sys

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
HOSTILE = '</td><script>document.title = "taken over"</script><img src=x onerror="alert(1)">'


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/v2/":
            self.answer(200, "", "", {})
        elif "/hostile/" in self.path and self.command == "HEAD":
            digest = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
            self.answer(200, "", "", {"Content-Type": MANIFEST, **digest})
        elif "/hostile/" in self.path:
            self.answer(403, "DENIED", HOSTILE, {})
        else:
            limit = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
            self.answer(429, "TOOMANYREQUESTS", "you have reached your pull rate limit", {"Retry-After": "30", **limit})

    do_HEAD = do_GET

    def answer(self, status, code, message, headers):
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry).serve_forever()
