"""What every channel's endpoint refuses before it looks at a request: too much, or not a form."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import IO, Final

from flask import request

LIMIT_BYTES: Final = 64 * 1024
_DRAIN_BYTES: Final = 1024 * 1024
_STALL_S: Final = 2.0
"""Between two pieces of a body."""
_WHOLE_S: Final = 3.0
"""For a whole body: whoever sends a byte a second would keep a thread for a day, and sixteen of them all threads."""
_LOOK_EVERY_S: Final = 0.25
FORM: Final = "application/x-www-form-urlencoded"


class Refusal(Exception):
    """The request is not served: `status` goes out, `reason` is counted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Deadlines:
    """Ends the reading of bodies that take too long as a whole, which a socket's own timeout does not.

    It cuts off the socket's receiving half: what waits for more gets the end at once, and the answer still goes out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[socket.socket, float] = {}
        self._watched = False

    @contextmanager
    def kept(self, connection: socket.socket) -> Generator[None]:
        """While its body is read."""
        with self._lock:
            self._until[connection] = time.monotonic() + _WHOLE_S
            if not self._watched:  # not at the import: a thread does not survive a fork
                self._watched = True
                threading.Thread(target=self._watch, name="body-deadlines", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:  # from here on the connection may carry another request
                del self._until[connection]

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            with self._lock:
                for connection, until in self._until.items():
                    if until < time.monotonic():
                        with suppress(OSError):
                            connection.shutdown(socket.SHUT_RD)


_deadlines: Final = _Deadlines()


def read_form_body() -> bytes:
    """Returns the body of a form, read once and bounded, however long it says it is.

    Raises: Refusal (413, 415, 400 when the client breaks off, takes too long, or its chunks are broken).
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return _read_form_body()
    connection.settimeout(_STALL_S)  # who stops in the middle of a body does not keep a thread
    with _deadlines.kept(connection):
        return _read_form_body()


def _read_form_body() -> bytes:
    environ = request.environ
    stream = environ["wsgi.input"]
    announced = int(environ.get("CONTENT_LENGTH") or 0)
    if announced > LIMIT_BYTES:
        _drain(stream)
        raise Refusal(413, "too_large")
    try:
        body = stream.read(LIMIT_BYTES + 1)
    except Exception as error:  # the server's own parser errors: reading can fail only by the client
        raise Refusal(400, "broken_body") from error
    if len(body) < announced:
        raise Refusal(400, "broken_body")
    if len(body) > LIMIT_BYTES:
        _drain(stream)
        raise Refusal(413, "too_large")
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal(415, "not_a_form")
    return body


def _drain(stream: IO[bytes]) -> None:
    """Takes some more: a client that is still writing would see a broken connection instead of the answer."""
    with suppress(Exception):
        stream.read(_DRAIN_BYTES)
