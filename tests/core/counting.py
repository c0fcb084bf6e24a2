"""A listener between a store and Postgres that counts what travels: statements, and how often an answer is awaited."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_STARTUP_HEAD = 4
_HEAD = 5


class Wire:
    """What went through so far, all connections together."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.statements = 0
        self.round_trips = 0
        self.closed = threading.Event()
        """Set once the server has closed a connection, and the client was told."""
        threading.Thread(target=self._listen, daemon=True).start()

    def reset(self) -> None:
        self.statements = self.round_trips = 0

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            threading.Thread(target=self._count, args=(client, server), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client), daemon=True).start()

    def _count(self, client: socket.socket, server: socket.socket) -> None:
        """Frontend messages: a type, a length that counts itself, a body; the first one has no type.

        Source: PostgreSQL 18 docs, "Message Formats".
        """
        read, started = b"", False
        with client, server, suppress(OSError):
            while data := client.recv(65536):
                read += data
                while len(read) >= (head := _HEAD if started else _STARTUP_HEAD):
                    length = int.from_bytes(read[head - 4 : head], "big") + head - 4
                    if len(read) < length:
                        break
                    if started:
                        kind = read[:1]
                        self.statements += kind in (b"Q", b"E")  # Query; Execute, of a statement sent in parts
                        self.round_trips += kind in (b"Q", b"S")  # Query; Sync, after which an answer is awaited
                    started = True
                    read = read[length:]
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _carry(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        self.closed.set()


@contextmanager
def counting(database_url: str) -> Generator[tuple[str, Wire]]:
    """Gives a URL that leads to the same database, and what counts there."""
    parts = urlsplit(database_url)
    wire = Wire((parts.hostname or "", parts.port or 5432))
    through = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{wire.port}")).geturl()
    try:
        yield f"{through}?sslmode=disable&gssencmode=disable", wire
    finally:
        wire.close()
