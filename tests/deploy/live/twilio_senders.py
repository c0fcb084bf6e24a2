"""Twilio's list of senders as it answers on the wire, kept in memory, and a record of what was changed."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SID = "XE" + "1" * 32
LIST = "/v2/Channels/Senders"


@dataclass
class Senders:
    url: str = ""
    senders: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    updates: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    fails_with: int = 0


def sender(number: str, **webhook: str | None) -> dict[str, Any]:
    return {
        "sid": SID,
        "status": "ONLINE",
        "sender_id": number,
        "webhook": {"callback_url": "https://old.example.com/in", "fallback_url": "https://spare.example.com"}
        | webhook,
        "url": f"https://messaging.twilio.com{LIST}/{SID}",
    }


@contextmanager
def serving(*senders: dict[str, Any]) -> Generator[Senders]:
    state = Senders(senders=list(senders))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            channel = parse_qs(parts.query).get("Channel")
            found = state.senders if (parts.path, channel) == (LIST, ["whatsapp"]) else None
            self._answer(200, {"senders": found, "meta": {"key": "senders", "page": 0, "page_size": 50}}, found is None)

        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.updates.append((self.path, body))
            self._answer(202, state.senders[0])

        def _answer(self, status: int, value: dict[str, Any], missing: bool = False) -> None:  # noqa: FBT001, FBT002
            if state.fails_with or missing or not self.headers.get("Authorization", "").startswith("Basic "):
                status = state.fails_with or 404
                value = {"code": 20003, "message": "no", "status": status}
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
