"""What happens, as it happens: server-sent events for the phone page, with numbers from which a reader goes on."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from deploy.simulator.state import iso, now

HEARTBEAT_SECONDS: Final = 15.0
BEHIND_AT_MOST: Final = 1_000
"""Events that may wait for one reader; who is further behind is cut off and may come back."""
READERS_AT_MOST: Final = 100
_KEPT: Final = 5_000
_BYTES_KEPT: Final = 16 * 1024 * 1024
_REMEMBERS_SECONDS: Final = 60.0
"""How long after its last reader events are still written down: a page that is reloaded misses none."""


class _Reader:
    """One open page: what waits to be written to it."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(maxsize=BEHIND_AT_MOST)
        self.transport: asyncio.Transport | None = None
        self.lost = False

    def give(self, event: bytes) -> None:
        """Queues an event; who does not keep up is cut off at once, in the middle of whatever is being written."""
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.lost = True
            if self.transport is not None:
                self.transport.abort()


class Events:
    """All readers, and the newest events for those who come back."""

    def __init__(self, *, heartbeat_s: float = HEARTBEAT_SECONDS) -> None:
        self._heartbeat_s = heartbeat_s
        self._started_at: datetime = now()
        # Beginning with the time, the numbers go on after a restart, and older ones are known to be of another life.
        self._last = time.time_ns() // 1_000_000
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._readers: set[_Reader] = set()
        self._remembers_until = 0.0

    @property
    def readers(self) -> int:
        """How many pages are open."""
        return len(self._readers)

    def publish(self, event: str, data: Callable[[], Any]) -> None:
        """Tells all readers. `data` is only called, and the event only kept, while somebody reads or just did."""
        self._last += 1
        if not self._readers and time.monotonic() > self._remembers_until:
            self._forget()
            return
        raw = _event(self._last, event, data())
        self._kept.append((self._last, raw))
        self._bytes += len(raw)
        while len(self._kept) > _KEPT or (self._bytes > _BYTES_KEPT and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft()[1])
        for reader in tuple(self._readers):
            reader.give(raw)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """`GET /simulator/events`: `hello`, then what was missed since Last-Event-ID (or `after`), then all else."""
        if len(self._readers) >= READERS_AT_MOST:
            return web.json_response({"error": "too many pages are open"}, status=503)
        asked = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        reader = _Reader()
        reader.transport = request.transport
        # From here to the loop nothing is awaited: no event falls between what is kept and what is queued.
        missed = self._missed(asked)
        hello = {
            "last_id": self._last,
            "resumed": missed is not None,
            "started_at": iso(self._started_at),
            "now": iso(now()),  # a page on another device has another clock
        }
        begin = b"retry: 1000\n" + _event(None if missed else self._last, "hello", hello) + b"".join(missed or ())
        self._readers.add(reader)
        try:
            await response.write(begin)
            await self._write(response, reader)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._readers.discard(reader)
            self._remembers_until = time.monotonic() + _REMEMBERS_SECONDS
        return response

    async def _write(self, response: web.StreamResponse, reader: _Reader) -> None:
        while not reader.lost:
            try:
                pieces = [await asyncio.wait_for(reader.waiting.get(), self._heartbeat_s)]
            except TimeoutError:
                pieces = [b": still here\n\n"]
            while not reader.waiting.empty():
                pieces.append(reader.waiting.get_nowait())
            await response.write(b"".join(pieces))

    def _missed(self, asked: str) -> list[bytes] | None:
        """Returns the events after that number; None where they are not all known."""
        if not (asked.isascii() and asked.isdecimal()):
            return None
        after = int(asked)
        first = self._kept[0][0] if self._kept else self._last + 1
        if not first - 1 <= after <= self._last:
            return None
        return [raw for number, raw in self._kept if number > after]

    def _forget(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _event(number: int | None, event: str, data: Any) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {event}\ndata: {text}\n\n".encode(errors="replace")
