"""Scale: what more worker processes bring, and what a message costs the parts that all workers share."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import redis

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from tests.bench.figures import Figure, Goal
from tests.bench.ground import Ground, Talkers, ground
from tests.bench.guard import NotMeasured
from tests.bench.processes import workers

LLM_MS: Final = 2000
PLACES: Final = 12
"""Turns at once of each worker: so few that eight of them wait for the LLM and not for a core."""
COUNTS: Final = (1, 2, 4, 8)
WINDOWS: Final = 2
LINEAR: Final = 0.9
IDLE_S: Final = 10.0
"""The longest of a worker's periods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What Redis and Postgres have done so far, and who is connected."""

    at: float
    sent: int
    redis_commands: int
    transactions: int
    redis_connections: int
    postgres_connections: int


_Span = tuple[_Shared, _Shared]
"""Before and after."""


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: one worker for a moment, whose values say nothing."""
    counts, window_s, windows = ((1,), 1.0, 1) if smoke else (COUNTS, 4.0, WINDOWS)
    rates: dict[int, list[float]] = {}
    costs: list[Figure] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        ground(Path(directory), MODERATION="off") as place,
        ExitStack() as parts,
    ):
        place.remember(max(counts) * PLACES * 2, load_cast(DEFAULT_PROMPTS).default.id)
        place.standin.delay(chat=100 if smoke else LLM_MS)
        for before, count in pairwise((0, *counts)):
            parts.enter_context(workers(place, count - before, PLACES))
            idle = _over(place, window_s if smoke else IDLE_S) if count == counts[-1] else None
            busy = _busy(place, count, window_s, windows)
            rates[count] = [_rate(span) for span in busy]
            if idle:
                costs = _costs(idle, busy, count)
    one = rates[counts[0]]
    rows = [
        Figure(
            name=f"messages/s with {count} worker(s) of {PLACES} places, LLM {LLM_MS / 1000:g} s",
            unit="1/s",
            rounds=rates[count],
            limit_name=f"{count} times one",
            limit_rounds=[count * rate for rate in one],
            goal=Goal(bound=LINEAR, sense="at least") if count > 1 else None,
        )
        for count in counts
    ]
    return [*rows, *costs, *place.guard.rows("scale")]


def _busy(place: Ground, count: int, window_s: float, windows: int) -> Sequence[_Span]:
    """What `count` workers, which run, do while more people write than they have places."""
    with Talkers(place, int(count * PLACES * 1.4)):
        time.sleep(2 * LLM_MS / 1000 + 1)
        with place.guard.watching():
            return [_over(place, window_s) for _ in range(windows)]


def _over(place: Ground, seconds: float) -> _Span:
    before = _look(place)
    time.sleep(seconds)
    return before, _look(place)


def _rate(span: _Span) -> float:
    before, after = span
    if after.sent == before.sent:
        raise NotMeasured(f"nothing was sent within {after.at - before.at:.1f} s")
    return (after.sent - before.sent) / (after.at - before.at)


def _look(place: Ground) -> _Shared:
    with redis.Redis.from_url(place.redis.url) as client:  # pyright: ignore[reportUnknownMemberType]
        stats: dict[str, Any] = client.info("commandstats")  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
        clients: dict[str, Any] = client.info("clients")  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    return _Shared(
        at=time.monotonic(),
        sent=place.standin.counts().get("send", 0),
        # What Lua calls within a script is counted too.
        redis_commands=sum(int(stat["calls"]) for name, stat in stats.items() if name != "cmdstat_info"),
        transactions=_count(place, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"),
        redis_connections=int(clients["connected_clients"]),
        postgres_connections=_count(place, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sisters'"),
    )


def _count(place: Ground, query: LiteralString) -> int:
    with psycopg.connect(place.postgres.url) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _costs(idle: _Span, busy: Sequence[_Span], count: int) -> list[Figure]:
    """Per message, without what idle workers do anyway; and that."""
    calm, after = idle
    calm_s = after.at - calm.at
    figures: list[Figure] = []
    for what, name in (("redis_commands", "Redis commands"), ("transactions", "Postgres transactions")):
        idle_per_s = (getattr(after, what) - getattr(calm, what)) / calm_s
        per_message = [
            (getattr(b, what) - getattr(a, what) - idle_per_s * (b.at - a.at)) / max(1, b.sent - a.sent)
            for a, b in busy
        ]
        figures.append(Figure(name=f"{name} for each message", unit="", rounds=per_message))
        figures.append(Figure(name=f"{name} of an idle worker", unit="1/s", rounds=[idle_per_s / count]))
    last = busy[-1][1]
    figures.append(Figure(name="Redis connections of a busy worker", unit="", rounds=[last.redis_connections / count]))
    figures.append(
        Figure(name="Postgres connections of a busy worker", unit="", rounds=[last.postgres_connections / count])
    )
    return figures
