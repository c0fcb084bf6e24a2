"""The typing indicator: shown when an answer takes longer than a second, off the turn's own path."""

import heapq
import threading
import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

FIRST: Final = timedelta(seconds=1)
AGAIN: Final = timedelta(seconds=20)
"""The indicator fades after 25 s. Source: Twilio docs as of 2026-11 (typing indicators, public beta)."""

_SENDERS: Final = 8
_BACKLOG: Final = 64
"""More waiting than this and new ones are left out: an indicator that comes late is worth nothing."""


class ShowsTyping(Protocol):
    """The part of a channel that is needed here."""

    def show_typing(self, provider_id: str) -> None:
        """Shows the indicator; bounded in time, never raises."""
        ...


@dataclass(order=True, slots=True)
class _Due:
    at: float
    channel: str = field(compare=False)
    provider_id: str = field(compare=False)
    over: bool = field(default=False, compare=False)


class Presence:
    """One thread that watches the clock for all turns of the process, and a few that make the calls."""

    def __init__(self, channels: Mapping[str, ShowsTyping]) -> None:
        self._channels = channels
        self._due: list[_Due] = []
        self._changed = threading.Condition()
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="typing")
        self._waiting = 0
        self._closed = False
        self._clock = threading.Thread(target=self._watch, name="presence", daemon=True)
        self._clock.start()

    @contextmanager
    def typing(self, channel: str, provider_id: str) -> Generator[None]:
        """While the block runs: shows the indicator after 1 s, and again every 20 s."""
        due = _Due(time.monotonic() + FIRST.total_seconds(), channel, provider_id)
        with self._changed:
            heapq.heappush(self._due, due)
            if self._due[0] is due:
                self._changed.notify()
        try:
            yield
        finally:
            due.over = True

    def close(self) -> None:
        """Stops the clock; what is being sent is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._clock.join(timeout=1)
        self._senders.shutdown(wait=False, cancel_futures=True)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0].at > time.monotonic()):
                    self._changed.wait(self._due[0].at - time.monotonic() if self._due else None)
                if self._closed:
                    return
                due = heapq.heappop(self._due)
                if due.over:
                    continue
                due.at += AGAIN.total_seconds()
                heapq.heappush(self._due, due)
                if self._waiting >= _BACKLOG:
                    continue
                self._waiting += 1
            self._senders.submit(self._show, due)

    def _show(self, due: _Due) -> None:
        try:
            if not due.over:
                self._channels[due.channel].show_typing(due.provider_id)
        finally:
            with self._changed:
                self._waiting -= 1
