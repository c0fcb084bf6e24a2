"""What goes wrong, and when: a seeded schedule, and the faults of the outside world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Literal

Action = Literal["kill worker", "freeze worker", "kill beat", "restart redis", "restart postgres"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """One thing that goes wrong, so long after the first message. `pick` chooses whom it befalls; `lasts` how long."""

    at: timedelta
    action: Action
    pick: float
    lasts: timedelta


def mishaps(
    random: Random, *, during: timedelta, kills: int, freezes: int, restarts: int, beat_kills: int
) -> Sequence[Mishap]:
    """Returns what goes wrong, in order of time, spread over the given while."""
    counts: Mapping[Action, tuple[int, float]] = {
        "kill worker": (kills, 0.0),
        "freeze worker": (freezes, 12.0),
        "restart redis": (restarts, 3.0),
        "restart postgres": (restarts, 3.0),
        "kill beat": (beat_kills, 0.0),
    }
    planned = [
        Mishap(
            at=during * random.random(),
            action=action,
            pick=random.random(),
            lasts=timedelta(seconds=lasts * (0.5 + random.random())),
        )
        for action, (count, lasts) in counts.items()
        for _ in range(count)
    ]
    return sorted(planned, key=lambda mishap: mishap.at)


def outside_faults(rate: float, *, seed: int) -> Mapping[str, Any]:
    """Returns the simulator's document: about `rate` of all calls to Twilio and to the LLM go wrong, in every way."""
    part = rate / 5
    return {
        "seed": seed,
        "twilio": {
            "status": 429,
            "code": 20429,
            "rate": part,
            "retry_after": 1,
            "slow_ms": 1500,
            "slow_rate": part,
            "cut_before": part,
            "accept_then_cut": part,
            "accept_then_hang": part / 2,
            "calls": ["create", "list"],
            "callbacks": {"drop": rate, "duplicate": rate, "reorder": rate},
        },
        "llm": {
            "status": 500,
            "rate": part,
            "hang": part / 2,
            "cut": part,
            "trickle": part / 2,
            "empty": part,
            "malformed": part,
        },
        "moderation": {"status": 500, "rate": rate},
        "webhook": {"duplicate": rate},
    }
