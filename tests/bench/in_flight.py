"""In flight: a thousand conversations that wait for the LLM in one worker: its memory, and what a new message meets."""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from deploy.local.child import Child
from tests.bench.cores import usage
from tests.bench.figures import Figure, Goal, table
from tests.bench.ground import Ground, Talkers, ground
from tests.bench.guard import NotMeasured
from tests.bench.talk import person

IN_FLIGHT: Final = 1000
NEW: Final = 10
"""Messages of other people meanwhile, one after the other."""
LLM_MS: Final = 120_000
"""Longer than the run: whoever waits goes on waiting."""
COMES_WITHIN_S: Final = 180.0


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: a small number, whose values say nothing."""
    waiting, new = (30, 2) if smoke else (IN_FLIGHT, NEW)
    bounds = {"MODERATION": "off", "LLM_TIMEOUT_S": "300", "TURN_DEADLINE_S": "600"}
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), **bounds) as place:
        place.remember(waiting + 2 * new, load_cast(DEFAULT_PROMPTS).default.id)
        place.standin.delay(chat=LLM_MS)
        with place.worker(waiting + 2 * new) as worker, Talkers(place, 0) as talkers:
            empty_mb = usage([worker.pid]).rss_bytes / 1e6
            with place.guard.watching():
                alone = [_asked_after_ms(place, talkers, waiting + number) for number in range(new)]
            with place.guard.watching():
                for number in range(waiting):
                    talkers.write(person(number))
                _wait_for_calls(place, worker, new + waiting)
            full_mb = usage([worker.pid]).rss_bytes / 1e6
            with place.guard.watching():
                beside = [_asked_after_ms(place, talkers, waiting + new + number) for number in range(new)]
            worker.kill()  # its calls would hold it for as long as they last
    return [
        Figure(
            name=f"memory of one worker, {waiting} conversations in flight",
            unit="MB",
            rounds=[full_mb],
            limit_name="the same worker, idle",
            limit_rounds=[empty_mb],
            goal=Goal(bound=400, sense="at most", of="value"),
            note="resident",
        ),
        Figure(
            name=f"from the inbox to the LLM, {waiting} others in flight",
            unit="ms",
            rounds=[median(beside)],
            limit_name="nobody else",
            limit_rounds=[median(alone)],
            note=f"median of {new}",
        ),
        *place.guard.rows("in_flight"),
    ]


def _asked_after_ms(place: Ground, talkers: Talkers, number: int) -> float:
    """How long after that person's message the LLM is asked."""
    before, began = place.standin.counts().get("chat", 0), time.monotonic()
    talkers.write(person(number))
    while place.standin.counts().get("chat", 0) == before:
        if time.monotonic() - began > COMES_WITHIN_S:
            raise NotMeasured("a new message did not come to the LLM")
        time.sleep(0.001)
    return 1000 * (time.monotonic() - began)


def _wait_for_calls(place: Ground, worker: Child, count: int) -> None:
    end = time.monotonic() + COMES_WITHIN_S
    while (asked := place.standin.counts().get("chat", 0)) < count:
        if time.monotonic() > end:
            raise NotMeasured(f"{asked} of {count} are in flight; {worker.log} ends with:\n{worker.tail()}")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.stdout.write(table(measure(smoke="--smoke" in sys.argv)) + "\n")
