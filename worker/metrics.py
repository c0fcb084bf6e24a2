"""The worker's `GET /metrics`: counts of this process, and what its keeper saw of Redis, the broker and Postgres."""

import errno
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, ClassVar, Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from core.scrape import may_read

_STALL_S: Final = 5.0
_LAST_PORT: Final = 65535


def serve(host: str, port: int, token: str, *, further: int = 0) -> "Server":
    """Serves on threads of its own, until closed; where the port is taken on the next one, of so many further ones.

    Raises: OSError when all of them are taken or the host is none of ours.
    """
    server = _first_free(host, port, token, further)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def _first_free(host: str, port: int, token: str, further: int) -> "Server":
    try:
        return Server(host, port, token)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not further or port >= _LAST_PORT:
            raise
    return _first_free(host, port + 1, token, further - 1)


class Server(ThreadingTCPServer):
    """Not http.server's own: that one asks a name server for our name before it listens."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, token: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.token = token
        super().__init__((host, port), _Page)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Stops serving."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that breaks off is no news; http.server would print it, with the reader's address."""


class _Page(BaseHTTPRequestHandler):
    timeout: ClassVar[float | None] = _STALL_S  # who connects and is silent does not keep a thread
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
        elif not may_read(peer=str(self.client_address[0]), header=self.headers.get, token=self.server.token):
            self._answer(HTTPStatus.FORBIDDEN, b"forbidden\n", "text/plain")
        else:
            self._answer(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name for it
        """No line per scrape."""
