"""Growth: a turn costs Postgres the same with a million messages as with a thousand, in a long talk as in a short.

And it goes on while retention deletes half of them. No guard: nobody drives and nobody stands in here, one turn
follows the other in this process, and what it takes is told by Postgres.
"""

import itertools
import random
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
from psycopg import sql

from core.config import DatabaseSettings, RetentionSettings
from core.keeping.retention import Retention
from core.store import Store, load_queries, migrate
from tests.bench.cores import unpinned, usage
from tests.bench.figures import Figure, Goal
from tests.bench.ground import Ground, ground
from tests.bench.guard import NotMeasured
from tests.fakes import Bot
from tests.filling import fill, indexes_later

TURNS_EACH: Final = 20
FILLING: Final = 2
"""Sessions at once that fill a database."""
LONG_TURNS: Final = 10_000
"""20,000 messages of one person."""
SIZES: Final = (1_000, 100_000, 1_000_000)
FULL_SIZE: Final = 5_000_000
KEEP_DAYS: Final = 30
"""What is filled in is up to 60 days old."""
_LOOKS: Final = ("look_at_turns", "look_at_deliveries", "look_at_the_rest")
_ACTIVE: Final = "SELECT active_time FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """Of one turn, in ms: as Postgres's clock saw its statements, and as CPU time of its processes."""

    active: float
    cpu: float


def measure(*, smoke: bool = False, full: bool = False) -> Sequence[Figure]:
    """Returns the rows; `full`: with five million messages too; `smoke`: few, whose values say nothing."""
    sizes = (200, 2_000) if smoke else (*SIZES, FULL_SIZE) if full else SIZES
    rounds, turns = (1, 5) if smoke else (4, 50)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory)) as place:
        long_turns = 200 if smoke else LONG_TURNS
        grown = [_Grown(place, size, long_turns=long_turns if size == sizes[-1] else 0) for size in sizes]
        found: dict[str, list[_Cost]] = {}
        looks: dict[int, list[float]] = {size: [] for size in sizes}
        for number in range(-1, rounds):
            for it in grown:
                costs = {str(it.size): it.cost(turns, whose="any")}
                if it.size == sizes[-1]:
                    costs |= {"short": it.cost(turns, whose="short"), "long": it.cost(turns, whose="long")}
                if number >= 0:  # the first round filled the caches
                    looks[it.size].append(it.look())
                    for name, cost in costs.items():
                        found.setdefault(name, []).append(cost)
        deleting = grown[-1].while_deleting(rounds, turns)
    return [*_figures(sizes, found, looks, long_messages=2 * long_turns), *deleting]


def _figures(
    sizes: Sequence[int], found: dict[str, list[_Cost]], looks: dict[int, list[float]], *, long_messages: int
) -> Sequence[Figure]:
    least = found[str(sizes[0])]
    rows: list[Figure] = []
    for size in sizes[1:]:
        costs = found[str(size)]
        limit = f"with {sizes[0]:,}"
        rows.append(
            Figure(
                name=f"database time of a turn with {size:,} stored messages",
                unit="ms",
                rounds=[cost.active for cost in costs],
                limit_name=limit,
                limit_rounds=[cost.active for cost in least],
                goal=Goal(bound=1.2, sense="at most"),
            )
        )
        rows.append(
            Figure(
                name=f"the same as CPU time of Postgres, {size:,}",
                unit="ms",
                rounds=[cost.cpu for cost in costs],
                limit_name=limit,
                limit_rounds=[cost.cpu for cost in least],
            )
        )
    rows.append(
        Figure(
            name=f"database time of a turn in a conversation of {long_messages:,} messages",
            unit="ms",
            rounds=[cost.active for cost in found["long"]],
            limit_name=f"of {2 * TURNS_EACH}",
            limit_rounds=[cost.active for cost in found["short"]],
            goal=Goal(bound=1.2, sense="at most"),
        )
    )
    rows.append(
        Figure(
            name=f"what a look for /metrics costs with {sizes[-1]:,} stored messages",
            unit="ms",
            rounds=looks[sizes[-1]],
            limit_name=f"with {sizes[0]:,}",
            limit_rounds=looks[sizes[0]],
        )
    )
    return rows


class _Grown:
    """A database with so many messages, and a worker's parts on it, with the outside world faked."""

    def __init__(self, place: Ground, size: int, *, long_turns: int) -> None:
        self.size: Final = size
        self._place = place
        name = f"grown_{size}"
        with psycopg.connect(place.postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self._url: Final = place.postgres.database_url(name)
        migrate(DatabaseSettings.model_validate({"DATABASE_URL": self._url}))
        with unpinned(place.postgres.pid), indexes_later(self._url):  # nothing is measured yet
            fill(self._url, people=max(1, size // (2 * TURNS_EACH)), turns=TURNS_EACH, sessions=FILLING)
        if long_turns:
            fill(self._url, people=1, turns=long_turns)
        with psycopg.connect(self._url) as connection:
            found = connection.execute("SELECT sender FROM conversations ORDER BY id").fetchall()
        self._senders: Final = [sender for (sender,) in found]
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._random = random.Random(1)

    def cost(self, turns: int, *, whose: str) -> _Cost:
        """Of so many turns of different people, or of one whose conversation is short or long."""
        before, cpu_before = self._active_ms(), usage([self._place.postgres.pid]).cpu_s
        bot = Bot(self._url, self._place.redis.url, PERSON_TOKENS_PER_DAY=10**9)
        bot.channel.ids = self._ids  # they go on where the last round ended
        for _ in range(turns):
            sender = {"short": self._senders[0], "long": self._senders[-1]}.get(whose) or self._random.choice(
                self._senders[1:-1]
            )
            self._say(bot, sender)
        if len(bot.channel.sent) != turns:
            raise NotMeasured(f"{len(bot.channel.sent)} answers to {turns} messages")
        cpu_s = usage([self._place.postgres.pid]).cpu_s - cpu_before  # while its connections still live
        bot.close()
        return _Cost(active=(self._active_ms() - before) / turns, cpu=1000 * cpu_s / turns)

    def while_deleting(self, rounds: int, turns: int) -> Sequence[Figure]:
        """Each round without and with retention at work; it never comes to its end in them."""
        took: dict[bool, list[list[float]]] = {False: [], True: []}
        dropped: list[float] = []
        for _ in range(rounds):
            took[False].append(self._turns_ms(turns))
            with self._retention(dropped):
                took[True].append(self._turns_ms(turns))
        if not all(dropped):
            raise NotMeasured("retention deleted nothing")
        with_it, without = took[True], took[False]
        return [
            Figure(
                name="a turn, all its statements by the clock, while retention deletes",
                unit="ms",
                rounds=[median(times) for times in with_it],
                limit_name="while it does not",
                limit_rounds=[median(times) for times in without],
                note=f"{median(dropped):,.0f} rows/s deleted beside it, on the same core of Postgres",
            ),
            Figure(
                name="the slowest turn while retention deletes",
                unit="ms",
                rounds=[max(times) for times in with_it],
                goal=Goal(bound=500, sense="at most", of="value"),
                expected=False,
            ),
        ]

    @contextmanager
    def _retention(self, dropped_per_s: list[float]) -> Generator[None]:
        """Deletes as a worker does, round after round, until the block ends."""
        store = Store(DatabaseSettings.model_validate({"DATABASE_URL": self._url}), connections=1)
        settings = RetentionSettings.model_validate({"RETENTION_DAYS": KEEP_DAYS})
        retention, dropped = Retention(store=store, settings=settings), list[int]()
        deleting = threading.Thread(target=lambda: dropped.append(retention.drop_old()))
        began = time.monotonic()
        deleting.start()
        try:
            yield
        finally:
            retention.stop()
            deleting.join()
            store.close()
        dropped_per_s.append(sum(dropped) / (time.monotonic() - began))

    def _turns_ms(self, turns: int) -> list[float]:
        """How long each of so many turns took by the clock, from the door to the report."""
        bot, took = Bot(self._url, self._place.redis.url, PERSON_TOKENS_PER_DAY=10**9), list[float]()
        bot.channel.ids = self._ids
        for _ in range(turns):
            began = time.perf_counter()
            self._say(bot, self._random.choice(self._senders[1:-1]))
            took.append(1000 * (time.perf_counter() - began))
        bot.close()
        return took

    def _say(self, bot: Bot, sender: str) -> None:
        bot.say("and what do you think of the next one?", sender=sender, provider_id=f"SMnew{next(self._numbers)}")
        bot.report("delivered", provider_id=bot.channel.log[0].provider_id)

    def look(self) -> float:
        """What a worker asks every few seconds for its metrics."""
        before = self._active_ms()
        with psycopg.connect(self._url) as connection:
            for name in _LOOKS:
                connection.execute(load_queries()[name], {"silence": "8 s"})
        return self._active_ms() - before

    def _active_ms(self) -> float:
        """Counted when a session ends."""
        with psycopg.connect(self._url) as connection:
            row: tuple[Any, ...] | None = connection.execute(_ACTIVE).fetchone()
        return float(row[0]) if row else 0.0
