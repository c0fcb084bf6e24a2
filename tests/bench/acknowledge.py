"""Acknowledge: how many messages a core of the webhook takes, and that a slow LLM does not slow it."""

import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import psycopg
import redis

from deploy.local.child import Child
from deploy.local.stack import ROOT
from tests.bench.cores import OTHERS, give_way, pinned, usage
from tests.bench.figures import Figure, Goal
from tests.bench.ground import SISTERS, Ground, ground
from tests.bench.guard import NotMeasured
from tests.bench.load import Loaded, drive, spec
from tests.bench.processes import OURS, Webhook, webhook

APPS: Final[Mapping[str, str]] = {
    "ours": OURS,
    "bare view": "tests.bench.bare_webhook:validating()",
    "bare view with a raw Redis write": "tests.bench.bare_webhook:writing()",
}
CONNECTIONS: Final = 16
"""Each posts its next message as soon as its last was acknowledged: one for each thread of gunicorn."""
RATE: Final = 200.0
SLOW_LLM_MS: Final = 30_000
PLACES: Final = 100
"""Of the worker beside: full after half a second of such a load."""
SLOW_ROUNDS: Final = 7
"""Many short ones: one hiccup of the machine decides the p99 of the round that it falls into."""
_CALM_S: Final = 0.25
"""Looked at for as long; a worker that uses a tenth of it has come to rest from the load before."""
_TRIES: Final = 20
_UP_WITHIN: Final = timedelta(seconds=60)


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: one short round, whose values say nothing."""
    rounds, messages, seconds = (1, 200, 1.0) if smoke else (4, 1200, 1.8)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), MODERATION="off") as place:
        figures = [
            *_throughput(place, rounds, messages),
            *_beside_a_slow_llm(place, 1 if smoke else SLOW_ROUNDS, seconds),
        ]
        return [*figures, *place.guard.rows("acknowledge")]


def _throughput(place: Ground, rounds: int, messages: int) -> Sequence[Figure]:
    """Each message is its sender's first: the inbox is new and the wake-up is pushed, every time."""
    per_cpu_s: dict[str, list[float]] = {name: [] for name in APPS}
    loads: dict[str, list[Loaded]] = {name: [] for name in APPS}
    with ExitStack() as parts:
        webhooks = {name: parts.enter_context(webhook(place, app)) for name, app in APPS.items()}
        for served in webhooks.values():
            drive(spec(place.environ, served.port, messages // 10), None)  # modules loaded, connections made
        for _ in range(rounds):
            for name, served in webhooks.items():
                forget_everything(place)
                loaded, cpu_s = _saturate(place, served, messages)
                per_cpu_s[name].append(messages / cpu_s)
                loads[name].append(loaded)
    ours, bare, writing = per_cpu_s.values()
    return [
        Figure(
            name="acknowledgements/s per core, inbox and wake-up included",
            unit="1/s",
            rounds=ours,
            limit_name="bare view",
            limit_rounds=bare,
            goal=Goal(bound=0.60, sense="at least"),
            note="per second of CPU time, which others on the machine cannot take away",
        ),
        Figure(
            name="the same, beside one raw write",
            unit="1/s",
            rounds=ours,
            limit_name="bare view with one XADD",
            limit_rounds=writing,
        ),
        *_by_the_clock(loads["ours"], loads["bare view"], messages),
    ]


def _by_the_clock(ours: Sequence[Loaded], bare: Sequence[Loaded], messages: int) -> Sequence[Figure]:
    return [
        Figure(
            name="acknowledgements/s on one core by the clock",
            unit="1/s",
            rounds=[messages / loaded.seconds for loaded in ours],
            limit_name="bare view",
            limit_rounds=[messages / loaded.seconds for loaded in bare],
        ),
        *(
            Figure(
                name=f"ack p{percent} under full load, {CONNECTIONS} connections",
                unit="ms",
                rounds=[loaded.percentile(percent) for loaded in ours],
                limit_name="bare view",
                limit_rounds=[loaded.percentile(percent) for loaded in bare],
            )
            for percent in (50, 99)
        ),
        Figure(
            name="of its core the driver used meanwhile",
            unit="%",
            rounds=[100 * loaded.driver_share for loaded in ours],
            limit_name="with the bare view",
            limit_rounds=[100 * loaded.driver_share for loaded in bare],
        ),
    ]


def _saturate(place: Ground, served: Webhook, messages: int) -> tuple[Loaded, float]:
    """As fast as it answers; returns the CPU time that it took, too."""
    before: list[float] = []
    loaded = drive(
        spec(place.environ, served.port, messages, connections=CONNECTIONS),
        place.guard,
        began=lambda: before.append(usage([served.child.pid]).cpu_s),
    )
    return loaded, usage([served.child.pid]).cpu_s - before[0]


def _beside_a_slow_llm(place: Ground, rounds: int, seconds: float) -> Sequence[Figure]:
    p50: list[float] = []
    p99: dict[float, list[float]] = {0.0: [], SLOW_LLM_MS: []}
    with webhook(place, APPS["ours"]) as served, _worker_in_the_background(place) as worker:
        drive(spec(place.environ, served.port, int(RATE), rate=RATE), None)
        for _ in range(rounds):
            for llm_ms, found in p99.items():
                place.standin.delay(chat=0)  # what waits is answered, and meets a turn that is gone
                forget_everything(place)
                _wait_for_rest(worker)
                place.standin.delay(chat=llm_ms)
                load = spec(place.environ, served.port, int(RATE * seconds), rate=RATE, connections=50)
                loaded = drive(load, place.guard)
                found.append(loaded.percentile(99))
                p50.append(loaded.percentile(50))
    return [
        Figure(
            name=f"ack p99 at {RATE:g}/s while every LLM call takes {SLOW_LLM_MS / 1000:g} s",
            unit="ms",
            rounds=p99[SLOW_LLM_MS],
            limit_name="LLM 0 s",
            limit_rounds=p99[0.0],
            goal=Goal(bound=1.25, sense="at most"),
        ),
        Figure(name=f"ack p50 at {RATE:g}/s", unit="ms", rounds=p50),
    ]


@contextmanager
def _worker_in_the_background(place: Ground) -> Generator[Child]:
    """Gives way to the driver, with which it shares a core; at LLM 0 s it would take all of it."""
    command = [SISTERS, "worker", "--concurrency", str(PLACES)]
    with pinned(OTHERS):
        child = Child(command, log=place.logs / "worker.log", environ=place.environ, directory=ROOT)
    try:
        child.wait_until(lambda: place.rows("SELECT FROM workers") == 1, within=_UP_WITHIN, name="worker")
        give_way(child.pid, 19)
        yield child
    finally:
        child.kill()


def _wait_for_rest(worker: Child) -> None:
    def rests() -> bool:
        before = usage([worker.pid]).cpu_s
        time.sleep(_CALM_S)
        return usage([worker.pid]).cpu_s - before <= _CALM_S / 10

    worker.wait_until(rests, within=_UP_WITHIN, name="the worker's rest")


def forget_everything(place: Ground) -> None:
    """Empties Redis and Postgres, also under a worker that is at work: who loses a deadlock tries again."""
    with redis.Redis.from_url(place.redis.url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.flushdb()  # pyright: ignore[reportUnknownMemberType]
    with psycopg.connect(place.postgres.url, autocommit=True) as connection:
        for _ in range(_TRIES):
            with suppress(psycopg.errors.DeadlockDetected):
                connection.execute("TRUNCATE people, workers CASCADE")
                return
    raise NotMeasured("Postgres was never at rest")
