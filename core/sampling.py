"""Looks at Redis, the broker and Postgres now and then, so that a scrape of /metrics asks nobody and never hangs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from core.keeping.upkeep import SILENT_AFTER
from core.metrics import Level, Levels
from core.ports import Inboxes, Queue
from core.store import Store

LOOK_EVERY: Final = timedelta(seconds=5)
GOOD_FOR: Final = timedelta(seconds=15)
"""Three looks: older values are no longer told."""
_TURNS: Final = ("waiting", "postponed", "running")
_DELIVERIES: Final = ("waiting", "sending", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    phase: str
    number: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns(_Phase):
    due_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deliveries(_Phase):
    tried_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    senders_resting: int
    workers_alive: int
    dead_letters: int
    database_bytes: int
    clock_s: float


class Sampler:
    """Four looks that know nothing of each other. Every worker takes them: of several, ask for the maximum."""

    def __init__(
        self,
        *,
        store: Store,
        inboxes: Inboxes,
        queue: Queue,
        levels: Levels,
        budget_usd: Decimal = Decimal(0),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._inboxes = inboxes
        self._queue = queue
        self._levels = levels
        self._budget_usd = budget_usd
        self._clock = clock

    def look_at_inboxes(self) -> None:
        """Raises: Transient when Redis is away."""
        backlog = self._inboxes.backlog()
        self._levels.saw(
            "inboxes",
            [
                Level(name="sisters_inboxes_waiting", help="Inboxes that are not empty", value=backlog.inboxes),
                Level(
                    name="sisters_inboxes_oldest_seconds",
                    help="How long the one that waits longest has waited",
                    value=backlog.oldest.total_seconds(),
                ),
                Level(name="sisters_reports_waiting", help="Status reports on the list", value=backlog.reports),
            ],
        )

    def look_at_redis(self) -> None:
        """Where messages wait that were acknowledged. Raises: Transient when Redis is away."""
        if (room := self._inboxes.room()) is None:
            return
        levels = [
            Level(name="sisters_redis_used_bytes", help="Memory that Redis uses", value=room.used_bytes),
            Level(name="sisters_redis_max_bytes", help="What it may use; 0: no bound", value=room.most_bytes),
            Level(
                name="sisters_redis_cannot_write",
                help="1 while Redis' last write to its disk failed, by the file",
                value={what: float(what in room.unwritten) for what in ("aof", "rdb")},
                label="file",
            ),
        ]
        self._levels.saw("redis", levels)

    def look_at_broker(self) -> None:
        """Raises: Transient when the broker is away."""
        depth = Level(name="sisters_broker_queue_depth", help="Wake-ups in the queue", value=self._queue.depth())
        self._levels.saw("broker", [depth])

    def look_at_postgres(self) -> None:
        """Raises: Transient when Postgres is away."""
        spent: Decimal | None = None
        with self._store.transaction() as transaction:
            turns = transaction.all(_Turns, "look_at_turns")
            deliveries = transaction.all(_Deliveries, "look_at_deliveries")
            asked_at = self._clock()
            rest = transaction.one(_Rest, "look_at_the_rest", silence=SILENT_AFTER)
            answered_at = self._clock()
            if self._budget_usd:
                spent = transaction.value("spent_today")
        assert rest is not None  # it is one row of counts
        self._levels.saw(
            "postgres",
            [
                *_levels("turns", "Turns that owe an answer", _TURNS, turns),
                Level(
                    name="sisters_turns_due_oldest_seconds",
                    help="How long the turn that is longest due has waited for a free place",
                    value=max((row.due_s for row in turns if row.phase == "waiting"), default=0.0),
                ),
                *_levels("deliveries", "Pieces that are not settled", _DELIVERIES, deliveries),
                Level(
                    name="sisters_deliveries_tried_oldest_seconds",
                    help="Age of the oldest piece that was tried and has not gone out",
                    value=max((row.tried_s or 0.0 for row in deliveries), default=0.0),
                ),
                Level(name="sisters_senders_resting", help="Numbers of ours that rest now", value=rest.senders_resting),
                Level(name="sisters_workers_alive", help="Workers that show signs of life", value=rest.workers_alive),
                Level(
                    name="sisters_dead_letters",
                    help="What is kept for a person to look at, 10,000 at most",
                    value=rest.dead_letters,
                ),
                Level(name="sisters_database_bytes", help="Size of our database", value=rest.database_bytes),
                Level(
                    name="sisters_clock_skew_seconds",
                    help="How far this worker's clock is from that of Postgres, at least",
                    value=_apart(rest.clock_s, asked_at, answered_at),
                ),
                *self._budget(spent),
            ],
        )

    def _budget(self, spent: Decimal | None) -> list[Level]:
        if spent is None:
            return []
        return [
            Level(name="sisters_budget_usd", help="What may be spent in a day (UTC)", value=float(self._budget_usd)),
            Level(name="sisters_spent_today_usd", help="What was spent of it", value=float(spent)),
        ]


def _apart(there_s: float, asked_at: float, answered_at: float) -> float:
    """How far another clock, read between these moments of ours, lies outside of them."""
    return max(0.0, asked_at - there_s, there_s - answered_at)


def _levels(what: str, meaning: str, phases: tuple[str, ...], seen: Sequence[_Phase]) -> list[Level]:
    numbers = dict.fromkeys(phases, 0.0) | {row.phase: float(row.number) for row in seen}
    oldest = max((row.oldest_s for row in seen), default=0.0)
    return [
        Level(name=f"sisters_{what}_open", help=meaning, value=numbers, label="phase"),
        Level(name=f"sisters_{what}_open_oldest_seconds", help=f"Age of the oldest of these {what}", value=oldest),
    ]
