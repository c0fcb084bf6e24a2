from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from core.adapters.breaker import FAILURES, LONGEST_PAUSE, LONGEST_PAUSE_PERMANENT, PAUSE, TRIAL_LOOK, Breaker, State
from core.errors import OutsideError, Permanent, Transient
from tests.core.logged import logged

SERVER = Transient("server", code="500")
AUTH = Permanent("auth", code="invalid_api_key")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, time: timedelta) -> None:
        self.now += time.total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("first", clock=clock)


def ticket(breaker: Breaker) -> int:
    admitted = breaker.admit()
    assert isinstance(admitted, int), admitted
    return admitted


def refusal(breaker: Breaker) -> OutsideError:
    admitted = breaker.admit()
    assert isinstance(admitted, OutsideError)
    return admitted


def fail(breaker: Breaker, error: OutsideError = SERVER, *, times: int = FAILURES) -> OutsideError:
    return [breaker.failed(ticket(breaker), error) for _ in range(times)][-1]


def after(error: OutsideError) -> timedelta | None:
    assert isinstance(error, Transient)
    return error.after


def test_it_stays_closed_below_so_many_failures_in_a_row(breaker: Breaker) -> None:
    told = fail(breaker, times=FAILURES - 1)
    assert (after(told), breaker.state) == (None, State.CLOSED)
    breaker.worked(ticket(breaker))
    fail(breaker, times=FAILURES - 1)
    assert breaker.state is State.CLOSED


def test_so_many_failures_in_a_row_open_it_for_a_pause(breaker: Breaker, clock: Clock) -> None:
    assert after(fail(breaker)) == PAUSE
    clock.passes(PAUSE / 2)
    why = refusal(breaker)
    assert (after(why), why.reason, why.code, breaker.state) == (PAUSE / 2, "server", "500", State.OPEN)


@pytest.mark.parametrize("reason", ["auth", "insufficient_quota", "misconfigured"])
def test_what_a_person_must_mend_opens_it_at_once(breaker: Breaker, reason: str) -> None:
    fail(breaker, Permanent(reason), times=1)
    assert isinstance(refusal(breaker), Permanent)
    assert refusal(breaker).reason == reason


def test_after_the_pause_one_caller_tries_while_the_others_look_again_soon(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.passes(PAUSE)
    trial = ticket(breaker)
    assert (after(refusal(breaker)), breaker.state) == (TRIAL_LOOK, State.TRIAL)
    breaker.worked(trial)
    assert (ticket(breaker), breaker.state) == (trial, State.CLOSED)


def test_of_many_threads_one_gets_the_trial(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.passes(PAUSE)
    together = Barrier(20)

    def ask(_: int) -> bool:
        together.wait()
        return isinstance(breaker.admit(), int)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 1


@pytest.mark.parametrize(("error", "longest"), [(SERVER, LONGEST_PAUSE), (AUTH, LONGEST_PAUSE_PERMANENT)])
def test_the_pause_doubles_up_to_a_bound_and_begins_anew_after_an_answer(
    breaker: Breaker, clock: Clock, error: OutsideError, longest: timedelta
) -> None:
    fail(breaker, error, times=FAILURES if isinstance(error, Transient) else 1)
    pauses: list[timedelta] = []
    for _ in range(12):
        began = clock.now
        while isinstance(trial := breaker.admit(), OutsideError):
            clock.passes(timedelta(seconds=1))
        pauses.append(timedelta(seconds=clock.now - began))
        breaker.failed(trial, error)
    assert pauses[:4] == [PAUSE, PAUSE * 2, PAUSE * 4, PAUSE * 8]
    assert pauses[-1] == longest
    clock.passes(longest)
    breaker.worked(ticket(breaker))
    assert after(fail(breaker)) == PAUSE


def test_a_trial_under_way_may_mend_even_what_was_permanent(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, AUTH, times=1)
    clock.passes(PAUSE)
    ticket(breaker)
    assert after(refusal(breaker)) == TRIAL_LOOK


def test_retry_after_opens_it_at_once_and_until_then(breaker: Breaker, clock: Clock) -> None:
    busy = Transient("rate", after=timedelta(seconds=90))
    assert after(fail(breaker, busy, times=1)) == timedelta(seconds=90)
    clock.passes(timedelta(seconds=89.5))
    assert after(refusal(breaker)) == timedelta(seconds=0.5)
    clock.passes(timedelta(seconds=0.5))
    # Told again on the trial: the vendor knows better than our doubling.
    assert after(fail(breaker, Transient("rate", after=timedelta(seconds=1)), times=1)) == timedelta(seconds=1)


def test_no_failure_undercuts_a_retry_after_told_before(breaker: Breaker, clock: Clock) -> None:
    early = [ticket(breaker) for _ in range(3)]
    breaker.failed(early[0], Transient("rate", after=timedelta(seconds=90)))
    assert after(breaker.failed(early[1], Transient("rate", after=timedelta(seconds=2)))) == timedelta(seconds=90)
    assert after(breaker.failed(early[2], SERVER)) == timedelta(seconds=90)
    clock.passes(timedelta(seconds=89))
    assert after(refusal(breaker)) == timedelta(seconds=1)


def test_a_longer_retry_after_counts_even_from_a_call_that_began_before_it_opened(
    breaker: Breaker, clock: Clock
) -> None:
    early = [ticket(breaker) for _ in range(2)]
    breaker.failed(early[0], AUTH)
    breaker.failed(early[1], Transient("rate", after=timedelta(seconds=90)))
    clock.passes(timedelta(seconds=89))
    assert after(refusal(breaker)) == timedelta(seconds=1)


def test_who_just_met_a_retry_after_is_told_all_of_it_although_time_went_by() -> None:
    week = timedelta(days=7)
    assert after(fail(Breaker("first"), Transient("rate", after=week), times=1)) == week


def test_calls_that_began_before_it_opened_change_nothing_more(breaker: Breaker, clock: Clock) -> None:
    early = [ticket(breaker) for _ in range(FAILURES + 40)]
    for one in early[:-1]:
        breaker.failed(one, SERVER)
    assert after(refusal(breaker)) == PAUSE  # not doubled 40 times
    breaker.worked(early[-1])
    assert breaker.state is State.OPEN
    clock.passes(PAUSE)
    trial = ticket(breaker)
    breaker.unknown(early[-1])
    assert isinstance(breaker.admit(), OutsideError)
    breaker.worked(trial)
    assert breaker.state is State.CLOSED


def test_a_trial_that_tells_nothing_is_free_for_the_next(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.passes(PAUSE)
    breaker.unknown(ticket(breaker))
    ticket(breaker)


def test_it_says_once_that_it_opens_and_once_that_it_is_over(clock: Clock) -> None:
    with logged() as lines:
        breaker = Breaker("first", clock=clock)
        early = [ticket(breaker) for _ in range(FAILURES * 3)]
        for one in early:
            breaker.failed(one, SERVER)
        clock.passes(PAUSE)
        breaker.worked(ticket(breaker))
        breaker.worked(ticket(breaker))
    told = [(line["event"], line["provider"]) for line in lines.told()]
    assert told == [("llm_provider_pauses", "first"), ("llm_provider_back", "first")]
