"""Workers come and go: killed, told to stop, joined by others."""

import time
from collections.abc import Iterator

import pytest

from tests.system.conftest import running_system
from tests.system.running import System

LLM_S = 2
LLM_TIMEOUT_S = 4
PEOPLE = [f"+1555030{number:04d}" for number in range(40)]


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    bounds = {"LLM_TIMEOUT_S": str(LLM_TIMEOUT_S), "SIMULATOR_LLM_LATENCY_MS": str(LLM_S * 1000)}
    with running_system(tmp_path_factory.mktemp("workers"), bounds, workers=2) as system:
        yield system


def held_by(system: System, pid: int) -> int:
    query = (
        "SELECT t.id FROM turns t JOIN workers w ON w.id = t.worker_id WHERE w.pid = %(pid)s AND finished_at IS NULL"
    )
    return len(system.rows(query, pid=pid))


def write_all(system: System) -> None:
    for person in PEOPLE:
        system.stack.phone.write(person, "hello")


def all_answered_once(system: System) -> bool:
    return [len(system.stack.phone.replies(person)) for person in PEOPLE] == [1] * len(PEOPLE)


@pytest.mark.timeout(180)
def test_what_a_killed_worker_held_is_answered_by_another_within_15_s_and_once(system: System) -> None:
    time.sleep(9)  # the survivor judges others only once it has itself been seen for long enough
    write_all(system)
    victim = system.stack.processes["worker"]
    assert held_by(system, victim.pid) > 0
    victim.kill()
    system.stack.processes.stop("worker")
    system.wait_until(lambda: all_answered_once(system), within_s=15 + LLM_S, what="every reply")
    time.sleep(3)
    assert all_answered_once(system)


@pytest.mark.timeout(180)
def test_sigterm_ends_a_worker_in_time_though_its_calls_hang_and_others_answer(system: System) -> None:
    system.stack.phone.set_faults({"llm": {"hang": 1}})
    write_all(system)
    held = {name: held_by(system, system.stack.processes[name].pid) for name in ("worker", "worker-2")}
    stopped = max(held, key=held.__getitem__)  # one that is up a little later may have got none
    assert held[stopped] > 0
    began = time.monotonic()
    assert system.stack.processes.stop(stopped) == 0
    assert time.monotonic() - began < LLM_TIMEOUT_S + 10
    system.stack.phone.set_faults({})
    system.wait_until(lambda: all_answered_once(system), within_s=60, what="every reply")
