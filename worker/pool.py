"""The threads on which turns run, apart from Celery's own: storing and sending never wait for an LLM."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from queue import SimpleQueue

import structlog

from core.intake import HeldTurn

_log = structlog.stdlib.get_logger(__name__)


class TurnPool:
    """At most `size` turns at once. Threads are made when needed; as daemons they cannot hold up an exit."""

    def __init__(self, run: Callable[[HeldTurn], None], *, size: int) -> None:
        self._run = run
        self._size = size
        self._free = size
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._refused = False
        self._changed = threading.Condition()
        self.freed = threading.Event()
        """Set when a place comes free after one was asked for in vain: turns wait in Postgres then."""
        self._work: SimpleQueue[HeldTurn] = SimpleQueue()

    def in_flight(self) -> int:
        """How many places are taken."""
        with self._changed:
            return self._size - self._free

    def reserve(self) -> bool:
        """Takes one free place, if there is one."""
        with self._changed:
            if self._closed or self._free == 0:
                self._refused = True
                return False
            self._free -= 1
            return True

    def release(self) -> None:
        """Gives back a place."""
        with self._changed:
            self._release()

    def caught_up(self) -> None:
        """Nothing waits any more: a place that comes free need not be told."""
        with self._changed:
            self._refused = False
            self.freed.clear()

    def start(self, turn: HeldTurn) -> None:
        """Runs the turn on a place that was reserved; returns at once."""
        with self._changed:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._threads += 1
                name = f"turn-{self._threads}"
                try:
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
                except RuntimeError:  # no more threads to be had: the turn's row frees itself, the place stays good
                    _log.error("no_thread", turn=turn.turn_id)
                    self._release()
                    return
        self._work.put(turn)

    def close(self) -> None:
        """No more turns are taken."""
        with self._changed:
            self._closed = True

    def wait(self, timeout: timedelta) -> bool:
        """Waits until every turn has ended; returns whether that was within the time."""
        end = time.monotonic() + timeout.total_seconds()
        with self._changed:
            return self._changed.wait_for(lambda: self._free == self._size, timeout=max(0.0, end - time.monotonic()))

    def _serve(self) -> None:
        while True:
            turn = self._work.get()
            try:
                self._run(turn)
            except Exception:  # noqa: BLE001 - logged; the pool outlives whatever a turn does
                _log.exception("turn_thread", turn=turn.turn_id)
            finally:
                with self._changed:
                    self._idle += 1
                    self._release()

    def _release(self) -> None:
        self._free += 1
        self._changed.notify_all()
        if self._refused:
            self.freed.set()
