"""The threads of turns: bounded, reused, and closed without waiting for the stuck."""

import threading
import time
from datetime import timedelta

from core.intake import HeldTurn
from worker.pool import TurnPool


def turn(number: int) -> HeldTurn:
    return HeldTurn(turn_id=number, conversation_id=number, fence=1)


def test_no_more_turns_are_reserved_than_there_are_places() -> None:
    pool = TurnPool(lambda _: None, size=2)
    assert [pool.reserve() for _ in range(3)] == [True, True, False]
    pool.release()
    assert pool.reserve()


def test_turns_run_side_by_side_and_free_their_places() -> None:
    both = threading.Barrier(2, timeout=5)

    def meet(_: HeldTurn) -> None:
        both.wait()

    pool = TurnPool(meet, size=2)
    for number in range(2):
        assert pool.reserve()
        pool.start(turn(number))
    assert pool.wait(timedelta(seconds=5))
    assert pool.reserve()


def test_threads_are_used_again() -> None:
    names: set[str] = set()
    pool = TurnPool(lambda _: names.add(threading.current_thread().name), size=8)
    for number in range(20):
        assert pool.reserve()
        pool.start(turn(number))
        assert pool.wait(timedelta(seconds=5))
    assert len(names) == 1


def test_a_closed_pool_takes_nothing_and_says_when_a_turn_is_stuck() -> None:
    go = threading.Event()

    def be_stuck(_: HeldTurn) -> None:
        go.wait(5)

    pool = TurnPool(be_stuck, size=2)
    assert pool.reserve()
    pool.start(turn(1))
    pool.close()
    assert not pool.reserve()
    began = time.monotonic()
    assert not pool.wait(timedelta(seconds=0.1))
    assert time.monotonic() - began < 2
    go.set()
    assert pool.wait(timedelta(seconds=5))


def test_a_turn_that_raises_frees_its_place() -> None:
    def fail(_: HeldTurn) -> None:
        raise ZeroDivisionError

    pool = TurnPool(fail, size=1)
    assert pool.reserve()
    pool.start(turn(1))
    assert pool.wait(timedelta(seconds=5))
