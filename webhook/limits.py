"""What every channel's endpoint refuses before it looks at a request: too much, or not a form."""

from contextlib import suppress
from typing import IO, Final

from flask import request

LIMIT_BYTES: Final = 64 * 1024
_DRAIN_BYTES: Final = 1024 * 1024
_STALL_S: Final = 2.0
FORM: Final = "application/x-www-form-urlencoded"


class Refusal(Exception):
    """The request is not served: `status` goes out, `reason` is counted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def read_form_body() -> bytes:
    """Returns the body of a form, read once and bounded, however long it says it is.

    Raises: Refusal (413, 415, 400 when the client breaks off or its chunks are broken).
    """
    environ = request.environ
    stream = environ["wsgi.input"]
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_STALL_S)  # who stops in the middle of a body does not keep a thread
    if int(environ.get("CONTENT_LENGTH") or 0) > LIMIT_BYTES:
        _drain(stream)
        raise Refusal(413, "too_large")
    try:
        body = stream.read(LIMIT_BYTES + 1)
    except Exception as error:  # the server's own parser errors: reading can fail only by the client
        raise Refusal(400, "broken_body") from error
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
