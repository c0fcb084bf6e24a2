"""What goes wrong, and when: the sizes of a run, a seeded schedule, and the faults of the outside world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Literal

Action = Literal[
    "kill worker",
    "freeze worker",
    "kill beat",
    "restart redis",
    "redis away",
    "flush redis",
    "cut redis connections",
    "restart postgres",
    "postgres away",
]
LONG_ANSWERS = 0.1
"""No fault: how many answers need two messages, whose sequence must hold too."""
PART_OF_A_MISHAP = 0.5
"""What lasts, lasts between this and 1.5 times as long as named; an absence lasts exactly as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is written, within which seconds, and how often each thing goes wrong. 0 seconds: not at all."""

    messages: int
    people: int
    over_s: float
    kills: int
    restarts: int
    """Of Redis, and as many of Postgres."""
    freezes_s: Sequence[float]
    redis_away_s: float
    postgres_away_s: float
    beat_away_s: float
    flushes: int
    cuts: int


SHORT = Size(
    messages=900,
    people=100,
    over_s=60,
    kills=8,
    restarts=1,
    freezes_s=(9, 20),
    redis_away_s=15,
    postgres_away_s=0,
    beat_away_s=10,
    flushes=1,
    cuts=1,
)
LONG = Size(
    messages=2000,
    people=200,
    over_s=160,
    kills=20,
    restarts=3,
    freezes_s=(9, 20, 60),
    redis_away_s=60,
    postgres_away_s=30,
    beat_away_s=40,
    flushes=2,
    cuts=2,
)
SMALL = Size(
    messages=600,
    people=60,
    over_s=45,
    kills=3,
    restarts=0,
    freezes_s=(11, 11, 24),
    redis_away_s=0,
    postgres_away_s=0,
    beat_away_s=0,
    flushes=0,
    cuts=1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """One thing that goes wrong, so long after the first message. `pick` chooses whom it befalls; `lasts` how long."""

    at: timedelta
    action: Action
    pick: float
    lasts: timedelta


def mishaps(random: Random, size: Size) -> Sequence[Mishap]:
    """Returns what goes wrong, in order of time, spread over the time in which people write.

    Absences begin in its first part, so that people write meanwhile and afterwards.
    """

    def at(action: Action, lasts_s: float = 0.0, *, from_part: float = 0.0, to_part: float = 1.0) -> Mishap:
        part = from_part + (to_part - from_part) * random.random()
        lasts = timedelta(seconds=lasts_s)
        return Mishap(at=timedelta(seconds=size.over_s * part), action=action, pick=random.random(), lasts=lasts)

    def about(seconds: float) -> float:
        return seconds * (PART_OF_A_MISHAP + random.random())

    planned = [
        *(at("kill worker") for _ in range(size.kills)),
        *(at("freeze worker", lasts_s, to_part=0.6) for lasts_s in size.freezes_s),
        *(at("restart redis", about(3)) for _ in range(size.restarts)),
        *(at("restart postgres", about(3)) for _ in range(size.restarts)),
        *(at("flush redis") for _ in range(size.flushes)),
        *(at("cut redis connections") for _ in range(size.cuts)),
    ]
    if size.redis_away_s:
        planned.append(at("redis away", size.redis_away_s, from_part=0.1, to_part=0.4))
    if size.postgres_away_s:
        planned.append(at("postgres away", size.postgres_away_s, from_part=0.1, to_part=0.6))
    if size.beat_away_s:
        planned.append(at("kill beat", size.beat_away_s, to_part=0.6))
    return sorted(planned, key=lambda mishap: mishap.at)


def outside_faults(rate: float, *, seed: int) -> Mapping[str, Any]:
    """Returns the simulator's document: `rate` of all calls to Twilio and to the LLM go wrong, in every way."""
    return {
        "seed": seed,
        "twilio": {
            "status": [429, 500, 503],
            "rate": rate * 0.35,
            "retry_after": 1,
            "slow_ms": 1500,
            "slow_rate": rate * 0.2,
            "cut_before": rate * 0.1,
            "hang": rate * 0.05,
            "accept_then_cut": rate * 0.15,
            "accept_then_hang": rate * 0.05,
            "accept_then_status": rate * 0.1,
            "callbacks": {"drop": rate, "duplicate": rate, "reorder": rate, "delay_ms": 4000, "delay_rate": rate},
        },
        "llm": {
            "status": [429, 500, 503],
            "rate": rate * 0.3,
            "retry_after": 1,
            "slow_ms": 3000,
            "slow_rate": rate * 0.1,
            "hang": rate * 0.1,
            "cut_before": rate * 0.05,
            "cut": rate * 0.1,
            "trickle": rate * 0.1,
            "empty": rate * 0.15,
            "malformed": rate * 0.1,
            "overlong": LONG_ANSWERS,
        },
        "moderation": {
            "status": [429, 500],
            "rate": rate * 0.5,
            "slow_ms": 2500,
            "slow_rate": rate * 0.3,
            "hang": rate * 0.1,
            "cut_before": rate * 0.1,
        },
        "webhook": {"duplicate": rate, "reorder": rate, "delay_ms": 2000, "delay_rate": rate},
    }
