"""Workers come and go: killed, frozen, told to stop, joined by others."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.system.conftest import running_system
from tests.system.running import System

LLM_S = 6
LLM_TIMEOUT_S = 8
CONCURRENCY = 100
PEOPLE = [f"+1555030{number:04d}" for number in range(240)]
"""More than both workers have places for: some wait in line."""
FEW = PEOPLE[:40]
ROUNDS = 3
"""Of calls that one worker alone makes: for those whom it held already, those who waited, those of the dead one."""
SEEN_FOR_LONG_ENOUGH_S = 9
"""A worker judges others only once it has itself been seen for 8 s."""
FROZEN_FOR_S = 45
"""At most."""


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    bounds = {"LLM_TIMEOUT_S": str(LLM_TIMEOUT_S), "SIMULATOR_LLM_LATENCY_MS": str(LLM_S * 1000)}
    with running_system(tmp_path_factory.mktemp("workers"), bounds, workers=2, concurrency=CONCURRENCY) as system:
        yield system


def held_by(system: System, pid: int) -> int:
    query = (
        "SELECT t.id FROM turns t JOIN workers w ON w.id = t.worker_id WHERE w.pid = %(pid)s AND finished_at IS NULL"
    )
    return len(system.rows(query, pid=pid))


def write_all(system: System, people: Sequence[str] = PEOPLE) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(partial(system.stack.phone.write, body="hello"), people))


def replied_to(system: System) -> list[str]:
    return sorted(reply["to"].removeprefix("whatsapp:") for reply in system.stack.phone.replies())


def all_answered_once(system: System, people: Sequence[str] = PEOPLE) -> bool:
    return replied_to(system) == list(people)


def fills_the_first_worker(system: System) -> int:
    """Returns the process of a worker all of whose places are taken, while others wait."""
    time.sleep(SEEN_FOR_LONG_ENOUGH_S)
    write_all(system)
    pid = system.stack.processes["worker"].pid
    system.wait_until(lambda: held_by(system, pid) == CONCURRENCY, within_s=LLM_S, what="every place taken")
    return pid


@pytest.mark.timeout(180)
def test_what_a_killed_worker_held_is_taken_over_within_15_s_and_answered_once(system: System) -> None:
    pid = fills_the_first_worker(system)
    killed_at = time.monotonic()
    system.stack.processes["worker"].kill()
    system.stack.processes.stop("worker")
    system.wait_until(lambda: held_by(system, pid) == 0, within_s=15, what="taking over what the dead one held")
    left_s = killed_at + 15 + ROUNDS * LLM_S - time.monotonic()
    system.wait_until(lambda: all_answered_once(system), within_s=left_s, what="every reply")
    time.sleep(3)
    assert all_answered_once(system)


@pytest.mark.timeout(180)
def test_a_worker_that_was_frozen_neither_stores_nor_sends_what_another_answered_meanwhile(system: System) -> None:
    pid = fills_the_first_worker(system)
    os.kill(pid, signal.SIGSTOP)
    try:
        system.wait_until(lambda: all_answered_once(system), within_s=FROZEN_FOR_S, what="every reply of the other")
    finally:
        os.kill(pid, signal.SIGCONT)
    log = system.stack.processes["worker"].log
    lost = "turn_lost"  # told by whoever comes with an answer to a turn that is no longer its own
    system.wait_until(
        lambda: log.read_text(encoding="utf-8").count(lost) == CONCURRENCY,
        within_s=LLM_TIMEOUT_S + 5,
        what="the thawed worker's giving up of each turn",
    )
    time.sleep(2)
    assert all_answered_once(system)
    assert len(system.rows("SELECT id FROM deliveries")) == len(PEOPLE)


@pytest.mark.timeout(180)
def test_sigterm_ends_a_worker_in_time_though_its_calls_hang_and_others_answer(system: System) -> None:
    system.stack.phone.set_faults({"llm": {"hang": 1}})
    write_all(system, FEW)
    held = {name: held_by(system, system.stack.processes[name].pid) for name in ("worker", "worker-2")}
    stopped = max(held, key=held.__getitem__)  # one that is up a little later may have got none
    assert held[stopped] > 0
    began = time.monotonic()
    assert system.stack.processes.stop(stopped) == 0
    assert time.monotonic() - began < LLM_TIMEOUT_S + 10
    system.stack.phone.set_faults({})
    system.wait_until(lambda: all_answered_once(system, FEW), within_s=60, what="every reply")
