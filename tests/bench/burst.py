"""Burst: 5,000 messages of 1,000 people within 5 s are acknowledged, answered in order, and leave no memory behind."""

import json
import subprocess
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import correlation
from typing import Any, Final

import psycopg

from core.adapters.redis_inbox import inboxes
from deploy.local.child import Child
from deploy.local.stack import ROOT
from tests.bench.cores import MEASURED, OTHERS, usage
from tests.bench.figures import Figure, Goal, percentile
from tests.bench.ground import SISTERS, Ground, ground
from tests.bench.guard import NotMeasured
from tests.bench.load import Loaded, drive, spec
from tests.bench.processes import Webhook, webhook, workers

LLM_MS: Final = 1000
WORKERS: Final = 2
PLACES: Final = 250
SECONDS: Final = 5.0
DRAINED_WITHIN_S: Final = 150.0
IN_ORDER: Final = 0.95
"""Of the rank correlation: 0.999 was measured, also on a machine loaded ten times over. Random order gives about 0,
and it is 0.46 when the first tenth of the people is answered last."""
_OPEN: Final = (
    "SELECT (SELECT count(*) FROM turns WHERE finished_at IS NULL)"
    " + (SELECT count(*) FROM messages WHERE direction = 'in' AND turn_id IS NULL)"
    " + (SELECT count(*) FROM deliveries WHERE state <> 'accepted')"
)
_FIRSTS: Final = (
    "SELECT extract(epoch FROM min(m.received_at))::float, extract(epoch FROM min(d.accepted_at))::float"
    " FROM messages m JOIN deliveries d USING (conversation_id)"
    " WHERE m.direction = 'in' AND m.received_at >= %(since)s AND d.created_at >= %(since)s GROUP BY conversation_id"
)


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: few people, whose values say nothing."""
    messages, people, seconds = (50, 10, 1.0) if smoke else (5000, 1000, SECONDS)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), MODERATION="off") as place:
        place.standin.delay(chat=LLM_MS if not smoke else 100)
        with (
            webhook(place, cores=(MEASURED, OTHERS)) as served,
            workers(place, 1 if smoke else WORKERS, PLACES) as children,
        ):
            bursts = [_burst(place, served, children, messages, people, seconds) for _ in range(2)]
            audit = _audit(place)
    held = {name: [burst.rss[name] / 1e6 for burst in bursts] for name in ("webhook", "workers")}
    named = f"{messages:,} messages of {people:,} people within {seconds:g} s"
    return [
        Figure(
            name=f"{named}: not acknowledged",
            unit="messages",
            rounds=[float(messages - burst.loaded.statuses.get("200", 0)) for burst in bursts],
            goal=Goal(bound=0, sense="at most", of="value"),
        ),
        Figure(name="burst: ack p99", unit="ms", rounds=[burst.loaded.percentile(99) for burst in bursts]),
        Figure(
            name="burst: answered out of order, or not at all",
            unit="messages",
            rounds=[float(len(audit["out_of_order"]) + 2 * messages - audit["answered"] - audit["merged"])],
            goal=Goal(bound=0, sense="at most", of="value"),
            note=f"{audit['answered']:,} answered, {audit['merged']:,} merged with their neighbours",
        ),
        Figure(name="burst: until all is answered", unit="s", rounds=[burst.drained_s for burst in bursts]),
        Figure(
            name="burst: wait for the first answer, 99th percentile of people",
            unit="s",
            rounds=[percentile(burst.waits_s, 99) for burst in bursts],
            limit_name="median of people",
            limit_rounds=[percentile(burst.waits_s, 50) for burst in bursts],
        ),
        Figure(
            name="burst: who wrote first was answered first, rank correlation over people",
            unit="",
            rounds=[rank_correlation(burst.arrived_s, burst.answered_s) for burst in bursts],
            goal=Goal(bound=IN_ORDER, sense="at least", of="value"),
            note="1 in order of arrival, 0 in any order, -1 the last one first",
        ),
        *(
            Figure(
                name=f"burst: memory of the {name} after a second burst",
                unit="MB",
                rounds=[after],
                limit_name="after the first",
                limit_rounds=[before],
                goal=Goal(bound=1.1, sense="at most"),
            )
            for name, (before, after) in held.items()
        ),
        *place.guard.rows("burst"),
    ]


def rank_correlation(some: Sequence[float], others: Sequence[float]) -> float:
    """Spearman's: how far the order of the one is that of the other, from 1 to -1; equal values share their rank."""
    return correlation(_ranks(some), _ranks(others))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in values]


class _Burst:
    """One burst and what it left."""

    def __init__(
        self, loaded: Loaded, drained_s: float, firsts: Sequence[tuple[float, ...]], rss: dict[str, int]
    ) -> None:
        self.loaded = loaded
        self.drained_s = drained_s
        self.arrived_s = [arrived for arrived, _ in firsts]
        self.answered_s = [answered for _, answered in firsts]
        """Of each person, in the same order: the first message received, the first answer accepted by Twilio."""
        self.rss = rss

    @property
    def waits_s(self) -> list[float]:
        """Of each person, for the first answer."""
        return [answered - arrived for arrived, answered in zip(self.arrived_s, self.answered_s, strict=True)]


def _burst(
    place: Ground, served: Webhook, children: Sequence[Child], messages: int, people: int, seconds: float
) -> _Burst:
    with psycopg.connect(place.postgres.url, autocommit=True) as connection:
        since = _value(connection, "SELECT now()", {})
        began = time.monotonic()
        load = spec(place.environ, served.port, messages, people=people, rate=messages / seconds, connections=64)
        loaded = drive(load, place.guard, strict=False)
        with place.guard.watching(drives=False):
            while _value(connection, _OPEN, {}) or _inboxes_waiting(place):
                if time.monotonic() - began > DRAINED_WITHIN_S:
                    raise NotMeasured(f"not drained within {DRAINED_WITHIN_S:g} s")
                time.sleep(0.2)
        drained_s = time.monotonic() - began
        firsts = connection.execute(_FIRSTS.encode(), {"since": since}).fetchall()
    rss = {
        "webhook": usage([served.child.pid]).rss_bytes,
        "workers": usage([child.pid for child in children]).rss_bytes,
    }
    return _Burst(loaded, drained_s, firsts, rss)


def _inboxes_waiting(place: Ground) -> bool:
    with closing(inboxes(place.redis.url)) as within:
        return within.backlog().inboxes > 0


def _value(connection: psycopg.Connection[Any], query: str, params: dict[str, Any]) -> Any:
    row = connection.execute(query.encode(), params).fetchone()
    return row[0] if row else None


def _audit(place: Ground) -> dict[str, Any]:
    done = subprocess.run([SISTERS, "audit"], env=dict(place.environ), cwd=ROOT, capture_output=True, check=False)
    return json.loads(done.stdout)
