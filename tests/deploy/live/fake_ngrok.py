#!/usr/bin/env python3
"""Answers as ngrok's agent API does, for `ngrok http ADDRESS [--url URL]`; another tunnel stands in its list first."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

if sys.argv[1] != "http" or os.environ["NGROK_AUTHTOKEN"] != "2abc":
    sys.exit("ERR_NGROK_107")
URL = sys.argv[sys.argv.index("--url") + 1] if "--url" in sys.argv else "https://1234.ngrok-free.app"
TUNNELS = [
    {"public_url": "https://other.ngrok-free.app", "proto": "https", "config": {"addr": "http://localhost:9"}},
    {"public_url": URL, "proto": "https", "config": {"addr": f"http://{sys.argv[2]}", "inspect": True}},
]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/api/tunnels"
        content = json.dumps({"tunnels": TUNNELS, "uri": "/api/tunnels"} if found else {}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


HTTPServer(("127.0.0.1", urlsplit(os.environ["NGROK_API_URL"]).port or 4040), Handler).serve_forever()
