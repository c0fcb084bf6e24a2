"""Catch-up: reads the provider's own log for what never reached us; when, how far, and one worker at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from core import metrics
from core.errors import OutsideError
from core.keeping.latecomers import Latecomers, Line, Start, told_at
from core.keeping.upkeep import SILENT_AFTER
from core.ports import ProviderMessage
from core.store import Store

EVERY: Final = timedelta(minutes=2)
AGAIN_AFTER: Final = timedelta(seconds=20)
"""After a reading that failed."""
OVERLAP: Final = timedelta(minutes=10)
"""Read again before the mark: a log may show a message late."""
GRACE: Final = timedelta(seconds=30)
"""What is younger may still come through the door: Twilio gives up a webhook 15 s after its first try.

Source: Twilio docs on connection overrides as of 2026-11 (`tt`).
"""
RUN_AT_MOST: Final = timedelta(seconds=60)
LEASE: Final = timedelta(seconds=60)
"""Kept anew with every stretch; a reader that dies loses it earlier, as it loses its turns."""
ROWS_AT_ONCE: Final = 5_000
"""A longer stretch of log is read in halves, the older first, so that the mark moves on in between."""
SHORTEST_STRETCH: Final = timedelta(seconds=60)

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Caught:
    """What a reading found: inbound messages in the log, those now owed an answer, those that it is too late for.

    `failed` could not be stored for a reason of our own (logged): for an hour the mark stays before them, so that every
    reading tries them again.
    """

    read: int = 0
    late: int = 0
    too_late: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class TimeIsUp(Exception):
    """The bound on one reading is reached: what is left is for the next."""


class CatchUp:
    """Reads the log of one line. Idempotent, bounded, and resumed where it was cut off."""

    def __init__(
        self, *, store: Store, latecomers: Latecomers, line: Line, worker_id: UUID, grace: timedelta = GRACE
    ) -> None:
        self._store = store
        self._latecomers = latecomers
        self._line = line
        self._ours = {"channel": line.name, "worker_id": worker_id}
        self._grace = grace
        self._at_start = True
        self._stopping = False
        self._failing = False
        self._stretch = timedelta.max
        """How much of the log to read at once; less after a reading that did not come to its end."""

    def run_due(self) -> Caught | None:
        """Reads the log from the mark when it is time, and at this worker's start; None: it is not, or another reads.

        Trouble outside is waited out: the mark stays, and the next reading begins there.
        Raises: Transient when Postgres is away.
        """
        with self._store.transaction() as transaction:
            start = transaction.one(
                Start, "begin_catch_up", **self._ours, lease=LEASE, silence=SILENT_AFTER, at_once=self._at_start
            )
        self._at_start = False
        if start is None:
            return None
        caught, wait = Caught(), AGAIN_AFTER
        try:
            wait = self._read_bounded(start, caught)
        finally:
            metrics.CAUGHT_UP.labels("late").inc(caught.late)
            metrics.CAUGHT_UP.labels("too_late").inc(caught.too_late)
            metrics.CAUGHT_UP.labels("failed").inc(caught.failed)
            with self._store.transaction() as transaction:
                transaction.run("end_catch_up", **self._ours, wait=wait)
        if caught.late or caught.too_late:
            _log.warning("caught_up", late=caught.late, too_late=caught.too_late)
        return caught

    def run(self, since: timedelta | None = None) -> Caught:
        """Reads the log by hand and to its end, from so long ago, whatever the mark says (None: from the mark).

        It moves no mark, because what lies before it may be unread. Raises: Transient, Permanent.
        """
        with self._store.transaction() as transaction:
            start = transaction.one(Start, "see_catch_up", channel=self._line.name)
        assert start is not None  # the statement makes the row where there is none
        caught = Caught()
        begin = _begin(start) if since is None else start.now - since
        self._read(start, begin, caught, keep=lambda _: None, until=float("inf"))
        return caught

    def stop(self) -> None:
        """Ends a running reading soon."""
        self._stopping = True

    def _read_bounded(self, start: Start, caught: Caught) -> timedelta:
        """Returns how long to wait for the next reading. An outage is told once when it begins."""
        failing, self._failing = self._failing, False
        until = time.monotonic() + RUN_AT_MOST.total_seconds()
        try:
            self._read(start, _begin(start), caught, keep=self._keep_mark, until=until)
        except TimeIsUp:
            metrics.CATCH_UPS.labels("cut_off").inc()
            _log.info("catch_up_goes_on", read=caught.read)
            return EVERY if caught.failed else timedelta(0)  # from a mark that stays there is nothing to hurry to
        except OutsideError as error:
            metrics.CATCH_UPS.labels("failed").inc()
            if not failing:
                _log.warning("catch_up_waits", reason=error.reason, code=error.code)
            self._failing = True
            return max(AGAIN_AFTER, getattr(error, "after", None) or AGAIN_AFTER)
        metrics.CATCH_UPS.labels("done").inc()
        return EVERY

    def _read(
        self, start: Start, begin: datetime, caught: Caught, *, keep: Callable[[datetime], None], until: float
    ) -> None:
        """Takes in one stretch of the log after the other, oldest first. Raises: TimeIsUp, Transient, Permanent."""

        def go_on() -> None:
            if self._stopping or time.monotonic() > until:
                raise TimeIsUp

        end, held_at = start.now - self._grace, datetime.max.replace(tzinfo=UTC)
        while begin < end:
            whole, width = self._stretch, min(end - begin, self._stretch)
            self._stretch = max(SHORTEST_STRETCH, width / 2)  # until it is seen to work
            stretch_end = begin + width
            if end - stretch_end < timedelta(seconds=1):  # the log knows no smaller unit
                stretch_end = end
            rows = self._listed(begin, stretch_end, go_on)
            if rows is None:
                continue
            caught.read += len(rows)
            for taken in self._latecomers.take_in(rows, start, go_on):
                caught.late += taken.late
                caught.too_late += taken.too_late
                caught.failed += taken.failed
                held_at = min(held_at, taken.failed_at or held_at)
            keep(min(stretch_end, held_at))
            begin, self._stretch = stretch_end, whole
        self._stretch = timedelta.max

    def _listed(self, since: datetime, until: datetime, go_on: Callable[[], None]) -> Sequence[ProviderMessage] | None:
        """What people sent in that stretch, oldest first; None when it is too much to be held at once."""
        rows: list[ProviderMessage] = []
        for row in self._line.channel.received(self._line.number, since=since, until=until):
            go_on()
            if row.provider_id and row.sender and told_at(row) <= until:
                rows.append(row)
            if len(rows) > ROWS_AT_ONCE and until - since > SHORTEST_STRETCH:
                return None
        return rows[::-1]

    def _keep_mark(self, read_until: datetime) -> None:
        with self._store.transaction() as transaction:
            if not transaction.run("keep_mark", **self._ours, read_until=read_until, lease=LEASE):
                raise TimeIsUp  # another took over: it goes on from the mark


def _begin(start: Start) -> datetime:
    """Where to go on; a database that never read begins at its own first start."""
    return max(start.started_at, (start.read_until or start.started_at) - OVERLAP)
