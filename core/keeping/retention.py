"""Retention: deletes what is older than the operator wants to keep, a little at a time."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from core.config import RetentionSettings
from core.store import Store

EVERY: Final = timedelta(minutes=1)
RUN_AT_MOST: Final = timedelta(seconds=30)
AT_ONCE: Final = 500
"""Rows of one batch, which is one transaction: some ten milliseconds, in which no turn of anybody waits for it."""
IN_LOG: Final = timedelta(days=400)
"""So long the provider's log shows a message. Source: Twilio, "Message data retention period", as of 2026-11 (`tt`)."""
_BY_AGE: Final = ("drop_old_turns", "drop_old_unanswered", "drop_old_reports", "drop_old_dead_letters")

_log = structlog.stdlib.get_logger(__name__)


class Retention:
    """Any number of workers may do it at once: each passes over the rows that another has in hand."""

    def __init__(
        self,
        *,
        store: Store,
        settings: RetentionSettings,
        at_once: int = AT_ONCE,
        run_at_most: timedelta = RUN_AT_MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keep = settings.keep
        self._at_once = at_once
        self._run_at_most = run_at_most
        self._clock = clock
        self._stopping = threading.Event()

    def drop_old(self) -> int:
        """Deletes until nothing is too old, for 30 s at most; returns how many turns and other rows went.

        People stay, and with them their language and a STOP. It rests after each batch for as long as that took, so
        that it never has more than half of what one connection can do. Raises: Transient.
        """
        until, dropped = self._clock() + self._run_at_most.total_seconds(), 0
        if self._keep is not None:
            for name in _BY_AGE:
                dropped += self._drop(name, until, keep=self._keep)
        dropped += self._drop("drop_old_hashes", until, in_log=IN_LOG)
        if dropped:
            _log.info("old_rows_dropped", rows=dropped)
        return dropped

    def stop(self) -> None:
        """Ends a running round after the batch that it is at."""
        self._stopping.set()

    def _drop(self, name: str, until: float, **age: timedelta) -> int:
        dropped = 0
        while not self._stopping.is_set() and (began := self._clock()) < until:
            with self._store.alone() as statement:
                count = statement.run(name, limit=self._at_once, **age)
            dropped += count
            if count < self._at_once:
                break
            self._stopping.wait(self._clock() - began)
        return dropped
