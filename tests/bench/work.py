"""Work: messages/s of one worker on one core, and its CPU time per message, held against the bare loop."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from core.characters import load_cast
from core.config import DEFAULT_PROMPTS
from tests.bench.bare import THREADS
from tests.bench.figures import Figure, Goal, table, write
from tests.bench.ground import Ground, Sample, Talkers, ground

LLM_MS: Final = 2000
ROUNDS: Final = 3
WARM_UP: Final = 2 * THREADS
"""Messages: each person's first ones meet caches that are empty and connections that are not made yet."""
WINDOW_S: Final = 12.0


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: one short round, whose values say nothing."""
    rounds, warm_up, window_s = (1, THREADS, 2.0) if smoke else (ROUNDS, WARM_UP, WINDOW_S)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), MODERATION="off") as place:
        place.remember(THREADS, load_cast(DEFAULT_PROMPTS).default.id)
        place.standin.delay(chat=LLM_MS)
        pairs = [(ours(place, warm_up, window_s), bare(place, warm_up, window_s)) for _ in range(rounds)]
        for pair in pairs:
            sys.stdout.write(f"{pair}\n")
    return [
        Figure(
            name=f"messages/s per worker core, LLM {LLM_MS / 1000:g} s, {THREADS} at once",
            unit="1/s",
            rounds=[mine.rate for mine, _ in pairs],
            limit_name="bare loop",
            limit_rounds=[bare.rate for _, bare in pairs],
            goal=Goal(bound=1.0, sense="at least"),
        ),
        Figure(
            name="user + system CPU of worker processes per message",
            unit="ms",
            rounds=[mine.cpu_ms for mine, _ in pairs],
            limit_name="bare loop",
            limit_rounds=[bare.cpu_ms for _, bare in pairs],
            goal=Goal(bound=1.0, sense="at most"),
        ),
    ]


def ours(place: Ground, warm_up: int, window_s: float, *, reports: bool = False, **more: str) -> Sample:
    """One worker, three hundred people who each write again when they are answered."""
    with place.worker(THREADS, **more) as worker, Talkers(place, THREADS, reports=reports):
        place.wait_for_sends(worker, warm_up)
        return place.sample(worker, window_s)


def bare(place: Ground, warm_up: int, window_s: float) -> Sample:
    """The bare loop with as many."""
    with place.bare() as loop:
        place.wait_for_sends(loop, warm_up)
        return place.sample(loop, window_s)


if __name__ == "__main__":
    figures = measure(smoke="--smoke" in sys.argv)
    sys.stdout.write(f"{table(figures)}\n")
    write(figures, Path("work.json"))
