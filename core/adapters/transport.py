"""Outside HTTP calls over kept connections, each bounded as a whole.

The vendors' own clients bound single reads, so an answer that trickles holds a thread for as long as it likes, and
their pools walk over every open connection at each call. Here every socket operation is narrowed to what is left of
the call, and taking a connection costs the same with 3 as with 300 of them open.
"""

import contextlib
import math
import ssl
import urllib.request
from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from time import monotonic
from typing import Final

import httpx2

from core.adapters.line import Answer, Call, CallError, Line, Unsent

IDLE: Final = timedelta(seconds=20)
"""A connection unused for longer is not used again: shorter than the 60 s and more after which load balancers close one
of theirs, so that a call rarely meets a connection that is being closed (for a send that would be Ambiguous)."""
_MAX_WAIT_S: Final = 86_400.0


class Transport:
    """Calls over HTTP/1.1, from any thread. Keeps at most `connections` idle connections to one server.

    HTTP_PROXY, HTTPS_PROXY and NO_PROXY are followed, except for loopback addresses.
    """

    def __init__(self, *, connections: int, idle: timedelta = IDLE) -> None:
        self._connections = connections
        self._idle_s = idle.total_seconds()
        self._idle: defaultdict[tuple[bytes, bytes, int], deque[Line]] = defaultdict(deque)
        self._ssl: ssl.SSLContext | None = None
        self._closed = False

    def call(self, call: Call) -> Answer:
        """Returns the answer, whatever its status, within `call.timeout` (name resolution excepted).

        Raises: Unsent, Unanswered.
        """
        until = monotonic() + call.timeout.total_seconds()
        line = self._take(call) or self._new(call)
        try:
            answer = line.run(call, until)
        except CallError as error:
            # The server closed a kept connection while the request travelled: ordinary, and no reason to fail.
            if not (line.was_stale and (call.repeatable or isinstance(error, Unsent))):
                raise
            line = self._new(call)
            answer = line.run(call, until)
        self._keep(call, line)
        return answer

    def close(self) -> None:
        """Closes what is idle; calls under way close their own connection when they end."""
        self._closed = True
        for lines in list(self._idle.values()):
            with contextlib.suppress(IndexError):
                while True:
                    lines.pop().close()

    def _take(self, call: Call) -> Line | None:
        """The connection used last (the others may then grow old and be closed)."""
        lines = self._idle[call.scheme, call.host, call.port]
        with contextlib.suppress(IndexError):
            while True:
                line = lines.pop()
                if monotonic() - line.idle_since < self._idle_s:
                    return line
                line.close()
        return None

    def _keep(self, call: Call, line: Line) -> None:
        lines = self._idle[call.scheme, call.host, call.port]
        if self._closed or len(lines) >= self._connections:
            line.close()
            return
        line.idle_since = monotonic()
        lines.append(line)
        with contextlib.suppress(IndexError):  # one look at the oldest per call: what a peak left behind is closed
            if line.idle_since - lines[0].idle_since > self._idle_s:
                lines.popleft().close()

    def _new(self, call: Call) -> Line:
        if call.scheme == b"https" and self._ssl is None:
            self._ssl = httpx2.create_ssl_context()
        return Line(self._ssl, proxy_of(call))


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long the server asks us to wait; None when it does not say or makes no sense. `headers` ignores case.

    Source: RFC 9110 10.2.3 (seconds or a date); OpenAI docs as of 2026-11 (`retry-after-ms`).
    """
    milliseconds, text = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return timedelta(seconds=min(seconds, _MAX_WAIT_S)) if math.isfinite(seconds) and seconds >= 0 else None


def proxy_of(call: Call) -> httpx2.Proxy | None:
    """What HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say of this server; proxies other than HTTP are ignored."""
    host = call.host.decode("ascii")
    proxies = urllib.request.getproxies()
    url = proxies.get(call.scheme.decode("ascii")) or proxies.get("all", "")
    if not url.startswith(("http://", "https://")) or _is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return httpx2.Proxy(url)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
