"""One connection under a clock: a call on it is bounded as a whole, and a failed one tells whether the request left."""

import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, Final

import httpcore2
import httpx2

CONNECT: Final = timedelta(seconds=3)
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
_WRITE_BYTES: Final = 64 * 1024


class CallError(Exception):
    """A call without an answer. `reason` is one machine word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unsent(CallError):
    """The request never left in full, so that the server cannot have acted on it."""


class Unanswered(CallError):
    """The request left; whether the server acted on it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; Content-Length is added here, all other headers are the caller's, Host included."""

    method: str
    scheme: bytes
    host: bytes
    port: int
    target: bytes
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes
    timeout: timedelta
    connect: timedelta = CONNECT
    repeatable: bool = False
    """True where carrying it out twice does no harm: it is then tried again when a kept connection proves closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; the body as it came (Content-Encoding is not undone)."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Line:
    """One connection with its clock. A pool of one sees by itself when the server has closed it, and connects anew."""

    def __init__(self, tls: ssl.SSLContext | None, proxy: httpx2.Proxy | None) -> None:
        self.idle_since = 0.0
        self.was_stale = False
        """Whether the last call failed on a kept connection before a byte of answer, and not by its clock."""
        self._clock = clock = _Clock()
        if proxy is None:
            self._pool = httpcore2.ConnectionPool(ssl_context=tls, max_connections=1, network_backend=clock)
        else:
            self._pool = httpcore2.HTTPProxy(
                proxy_url=str(proxy.url),
                proxy_auth=proxy.raw_auth,
                ssl_context=tls,
                max_connections=1,
                network_backend=clock,
            )

    def run(self, call: Call, until: float) -> Answer:
        """Raises: Unsent, Unanswered; the line is then closed."""
        clock = self._clock
        clock.start(until, call.connect.total_seconds())
        try:
            return self._run(call)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller must learn whether the request left
            self.close()
            timed_out = isinstance(error, httpcore2.TimeoutException)
            self.was_stale = not (clock.connected or clock.heard or timed_out)
            left = clock.left_in_full and not isinstance(error, httpcore2.ProxyError)
            raise (Unanswered if left else Unsent)(_reason(error)) from None
        except BaseException:
            self.close()
            raise

    def _run(self, call: Call) -> Answer:
        headers = [*call.headers]
        if call.body:
            headers.append((b"Content-Length", b"%d" % len(call.body)))
        url = httpcore2.URL(scheme=call.scheme, host=call.host, port=call.port, target=call.target)
        request = httpcore2.Request(call.method, url, headers=headers, content=call.body or None)
        response = self._pool.handle_request(request)
        try:
            chunks: list[bytes] = []
            size = 0
            for chunk in response.iter_stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise Unanswered("too_large")
        finally:
            response.close()
        return Answer(status=response.status, headers=list(response.headers), body=b"".join(chunks))

    def close(self) -> None:
        """Closes the connection; a call on it fails at once."""
        self._pool.close()


class _Clock(httpcore2.NetworkBackend):
    """Makes the sockets of one line and narrows all that they do to what is left of the current call."""

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()
        self.start(0.0, 0.0)

    def start(self, until: float, connect_s: float) -> None:
        self._until = until
        self._connect_s = connect_s
        self.connected = False
        """Whether this call made a new connection."""
        self.heard = False
        self.left_in_full = False
        """False from the start and after a write that failed: what never had its last byte cannot be acted on."""

    def left(self) -> float:
        """Seconds. Raises: httpcore2.ReadTimeout when none are."""
        left = self._until - monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the call's own bounds stand in its place
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Tries the addresses in turn within one bound; none but the last may use up more than half of the rest."""
        self.connected = True
        until = monotonic() + min(self._connect_s, self.left())
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError from None
        failed: Exception = httpcore2.ConnectTimeout()
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            left = until - monotonic()
            if left <= 0:
                break
            share = left if address == addresses[-1] else left / 2
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
            else:
                return _Stream(stream, self, until)
        raise failed


class _Stream(httpcore2.NetworkStream):
    """A socket under the clock of its line."""

    def __init__(self, inner: httpcore2.NetworkStream, clock: _Clock, connect_until: float) -> None:
        self._inner = inner
        self._clock = clock
        self._connect_until = connect_until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        data = self._inner.read(max_bytes, self._clock.left())
        if data:
            self._clock.heard = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._clock.left_in_full = False
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._inner.write(buffer[start : start + _WRITE_BYTES], self._clock.left())
        self._clock.left_in_full = True

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        self._clock.left_in_full = False  # what was written before was for a proxy
        left = self._connect_until - monotonic()
        if left <= 0:
            raise httpcore2.ConnectTimeout
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._clock, self._connect_until)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


_REASONS: Final[Sequence[tuple[type[Exception], str]]] = (
    (httpcore2.ConnectTimeout, "connect_timeout"),
    (httpcore2.TimeoutException, "timeout"),
    (httpcore2.ConnectError, "connect"),
    (httpcore2.ProxyError, "proxy"),
    (httpcore2.NetworkError, "disconnected"),
    (httpcore2.RemoteProtocolError, "disconnected"),
)


def _reason(error: Exception) -> str:
    if isinstance(error, CallError):
        return error.reason
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "protocol")
