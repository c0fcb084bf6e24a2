"""Work: messages/s of one worker on one core, and its CPU time per message, held against the bare loop."""

import signal
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from deploy.local.child import Child
from tests.bench.bare import THREADS
from tests.bench.figures import Figure, Goal, table
from tests.bench.ground import Ground, Sample, Talkers, ground

LLM_MS: Final = 2000
ROUNDS: Final = 3
WARM_UP: Final = THREADS
"""Answers before a window opens, as many as there are people: by then everybody talks, and a process that is new has
filled its caches and made its connections."""
_UNANSWERED: Final = "SELECT FROM turns WHERE finished_at IS NULL"
WINDOW_S: Final = 4.0


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: one short round, whose values say nothing."""
    rounds, window_s = (1, 2.0) if smoke else (ROUNDS, WINDOW_S)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), MODERATION="off") as place:
        place.remember(THREADS, load_cast(DEFAULT_PROMPTS).default.id)
        place.standin.delay(chat=LLM_MS)
        mine, loop = list[Sample](), list[Sample]()
        with place.worker(THREADS) as worker:
            for _ in range(rounds):
                mine.append(_ours(place, worker, window_s))
                # The bare loop anew: one that went on would meet all its answers at once.
                with _stopped(worker), place.bare() as bare:
                    place.wait_for_sends(bare, WARM_UP)
                    loop.append(place.sample(bare, window_s))
            if smoke:
                return [*_beside_the_bare_loop(mine, loop), _connections(mine), *place.guard.rows("work")]
            reported = _ours(place, worker, window_s, reports=True)
        with place.worker(THREADS, MODERATION="openai") as worker:
            moderated = _ours(place, worker, window_s)
    return [
        *_beside_the_bare_loop(mine, loop),
        _connections(mine),
        _more("with two status reports for each", reported, mine),
        _more("with moderation of both texts (two more calls)", moderated, mine),
        *place.guard.rows("work"),
    ]


def _beside_the_bare_loop(mine: Sequence[Sample], loop: Sequence[Sample]) -> list[Figure]:
    return [
        Figure(
            name=f"messages/s per worker core, LLM {LLM_MS / 1000:g} s, {THREADS} at once",
            unit="1/s",
            rounds=[sample.per_core for sample in mine],
            limit_name="bare loop",
            limit_rounds=[sample.per_core for sample in loop],
            goal=Goal(bound=1.0, sense="at least"),
            note="per second of CPU time, which others on the machine cannot take away",
        ),
        Figure(
            name="the same on one core by the clock",
            unit="1/s",
            rounds=[sample.rate for sample in mine],
            limit_name="bare loop",
            limit_rounds=[sample.rate for sample in loop],
            note=f"where a core does more than {1000 * THREADS / LLM_MS:g} both wait for the LLM",
        ),
        Figure(
            name="user + system CPU of worker processes per message",
            unit="ms",
            rounds=[sample.cpu_ms for sample in mine],
            limit_name="bare loop",
            limit_rounds=[sample.cpu_ms for sample in loop],
            goal=Goal(bound=1.0, sense="at most"),
            note="with the typing indicator, which the bare loop has not",
        ),
    ]


def _connections(mine: Sequence[Sample]) -> Figure:
    calls = ("chat", "send", "typing", "moderation")
    new = ("connections_llm", "connections_twilio")
    return Figure(
        name="new TCP connections to Twilio and the LLM per call",
        unit="",
        rounds=[sum(s.counts.get(k, 0) for k in new) / sum(s.counts.get(k, 0) for k in calls) for s in mine],
        goal=Goal(bound=1 / 50, sense="at most", of="value"),
    )


def _more(what: str, sample: Sample, mine: Sequence[Sample]) -> Figure:
    """What something costs that the bare loop does without."""
    return Figure(
        name=f"CPU of the worker per message {what}",
        unit="ms",
        rounds=[sample.cpu_ms],
        limit_name="without",
        limit_rounds=[median(each.cpu_ms for each in mine)],
    )


def _ours(place: Ground, worker: Child, window_s: float, *, reports: bool = False) -> Sample:
    """One worker, three hundred people who each write again when they are answered; it ends when all are."""
    with Talkers(place, THREADS, reports=reports):
        place.wait_for_sends(worker, WARM_UP)
        sample = place.sample(worker, window_s)
    worker.wait_until(lambda: not place.rows(_UNANSWERED), within=place.patience, name="the measured process")
    return sample


@contextmanager
def _stopped(process: Child) -> Generator[None]:
    """It does nothing meanwhile: who is measured has the core to itself, and it need not start anew."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


if __name__ == "__main__":
    sys.stdout.write(table(measure(smoke="--smoke" in sys.argv)) + "\n")
