"""Many write at once: who writes little does not wait for who writes much, nor for workers that come and go."""

import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest

from tests.system.conftest import running_system
from tests.system.running import System

LLM_MS = 500
LLM_TIMEOUT_S = 4
CONCURRENCY = 20
PEOPLE = 50
WRITTEN_BY_ONE = 200
ROUNDS = 3
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    bounds = {"LLM_TIMEOUT_S": str(LLM_TIMEOUT_S), "SIMULATOR_LLM_LATENCY_MS": str(LLM_MS)}
    with running_system(tmp_path_factory.mktemp("load"), bounds, workers=2, concurrency=CONCURRENCY) as system:
        yield system


def people(count: int) -> list[str]:
    return [f"+1555040{next(_numbers):04d}" for _ in range(count)]


def write_over(system: System, persons: Sequence[str], seconds: float) -> None:
    """Each writes one message at some moment of that time."""
    began = time.monotonic()

    def write(person: str, at: float) -> None:
        time.sleep(max(0.0, began + at - time.monotonic()))
        system.stack.phone.write(person, "hello")

    moments = [random.random() * seconds for _ in persons]
    with ThreadPoolExecutor(len(persons)) as pool:
        list(pool.map(write, persons, moments))


def delays_s(system: System, persons: Sequence[str], *, within_s: float) -> list[float]:
    """How long each of them waited for the one reply."""
    wanted = {f"whatsapp:{person}" for person in persons}

    def seen(direction: str) -> dict[str, datetime]:
        sides = [m for m in system.stack.phone.messages() if (m["direction"] == "inbound") == (direction == "in")]
        side = "from" if direction == "in" else "to"
        return {m[side]: datetime.fromisoformat(m["created_at"]) for m in sides if m[side] in wanted}

    system.wait_until(lambda: seen("out").keys() == wanted, within_s=within_s, what="every reply")
    asked, answered = seen("in"), seen("out")
    return [(answered[person] - asked[person]).total_seconds() for person in wanted]


def p95(delays: Sequence[float]) -> float:
    return statistics.quantiles(delays, n=20)[-1]


@pytest.mark.timeout(180)
def test_one_person_with_200_messages_makes_50_others_wait_at_most_half_as_long_again(system: System) -> None:
    write_over(system, people(PEOPLE), 2)  # connections are made and modules loaded by now
    alone, beside = list[float](), list[float]()
    for _ in range(ROUNDS):
        few = people(PEOPLE)
        write_over(system, few, 2)
        alone.append(p95(delays_s(system, few, within_s=20)))
        (talker,), few = people(1), people(PEOPLE)
        with ThreadPoolExecutor(1) as background:
            flood = background.submit(_flood, system, talker)
            write_over(system, few, 2)
            flood.result()
        beside.append(p95(delays_s(system, few, within_s=20)))
    assert statistics.median(beside) <= 1.5 * statistics.median(alone), f"alone {alone}, beside {beside}"


def _flood(system: System, person: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(system.stack.phone.write, person), [f"and {n}" for n in range(WRITTEN_BY_ONE)]))


@pytest.mark.timeout(180)
def test_restarting_one_worker_after_the_other_delays_no_reply_by_more_than_5_s(system: System) -> None:
    quiet = people(PEOPLE)
    write_over(system, quiet, 5)
    usual = statistics.median(delays_s(system, quiet, within_s=20))
    busy = people(200)
    with ThreadPoolExecutor(1) as background:
        load = background.submit(write_over, system, busy, 15)
        for name in ("worker", "worker-2"):
            time.sleep(2)
            grace = timedelta(seconds=LLM_TIMEOUT_S + 10)
            assert system.stack.processes.stop(name, grace=grace) == 0
            system.stack.start_worker(name, concurrency=CONCURRENCY)
            system.wait_until(lambda: _alive(system) == 2, within_s=30, what="the worker's successor")
        load.result()
    slowest = max(delays_s(system, busy, within_s=20))
    assert slowest <= usual + 5
    replies = [m["to"] for m in system.stack.phone.replies() if m["to"].removeprefix("whatsapp:") in busy]
    assert len(replies) == len(set(replies)) == len(busy)


def _alive(system: System) -> int:
    return len(system.rows("SELECT id FROM workers WHERE beat_at > now() - interval '5 seconds'"))
