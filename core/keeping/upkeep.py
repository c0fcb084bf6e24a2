"""What keeps the promise when something was left lying: signs of life, lost turns, stale inboxes."""

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from core import __version__, metrics
from core.intake import Intake, Slots
from core.store import Store

BEAT_EVERY: Final = timedelta(seconds=2)
SILENT_AFTER: Final = timedelta(seconds=8)
"""A worker without a sign of life for so long has lost its turns; swept every second: taken over within 10 s."""
INBOX_STALE_AFTER: Final = timedelta(seconds=3)
"""An inbox that waits longer than this has lost its wake-up, or whoever was draining it."""

_log = structlog.stdlib.get_logger(__name__)


class Upkeep:
    """The sweeps. Any number of workers may run them at once; none does harm to another."""

    def __init__(
        self,
        *,
        store: Store,
        intake: Intake,
        worker_id: UUID,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._intake = intake
        self._worker_id = worker_id
        self._clock = clock
        self._steady_since: float | None = None
        self._last_beat = 0.0

    def beat(self) -> None:
        """Shows a sign of life. Raises: Transient, and then this worker does not judge others for a while."""
        try:
            with self._store.alone() as statement:
                statement.run(
                    "beat",
                    worker_id=self._worker_id,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    version=__version__,
                )
        except BaseException:
            self._steady_since = None
            raise
        seen = self._clock()
        if self._steady_since is None or seen - self._last_beat > SILENT_AFTER.total_seconds():
            self._steady_since = seen
        self._last_beat = seen

    def leave(self) -> None:
        """Says that this worker is gone: what it still holds is free at once. Raises: Transient."""
        with self._store.transaction() as transaction:
            transaction.run("leave", worker_id=self._worker_id)

    def release_lost(self) -> int:
        """Frees what silent workers hold; returns how many turns and deliveries. Raises: Transient.

        After an outage of Postgres all look silent, so a worker judges only once it has itself been seen long enough.
        """
        steady = self._steady_since
        if steady is None or self._clock() - steady < SILENT_AFTER.total_seconds():
            return 0
        with self._store.together() as batch:
            lost_turns = batch.run("release_lost_turns", silence=SILENT_AFTER)
            lost_deliveries = batch.run("doubt_lost_deliveries", silence=SILENT_AFTER)
            batch.run("drop_silent_workers")
        turns, deliveries = lost_turns.get(), lost_deliveries.get()
        metrics.TAKEN_OVER.labels("turns").inc(turns)
        metrics.TAKEN_OVER.labels("deliveries").inc(deliveries)
        if turns or deliveries:
            _log.warning("taken_from_silent_workers", turns=turns, deliveries=deliveries)
        return turns + deliveries

    def drain_stale_inboxes(self, slots: Slots) -> int:
        """Stores what waits in inboxes that nobody drains; returns how many messages. Raises: Transient."""
        return self._intake.drain_waiting(slots, older_than=INBOX_STALE_AFTER)
