"""Who is asked in which order, and what all failures together come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest
from prometheus_client import REGISTRY

from core.adapters.breaker import FAILURES, PAUSE, TRIAL_LOOK
from core.adapters.failover import FAIR, Failover
from core.errors import OutsideError, Permanent, Spent, Transient
from core.ports import ChatMessage, Choice, Completion
from tests.core.logged import logged
from tests.fakes import completion

SECRET = "my sister must not see this"
PROMPT = (ChatMessage(role="user", text=SECRET),)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeProvider:
    """Answers, or fails as told: the list is used up first, then `always`; each call takes `takes_s`."""

    name: str
    clock: Clock
    outcomes: list[Exception | None] = field(default_factory=list[Exception | None])
    always: Exception | None = None
    takes_s: float = 0.0
    asked: int = 0
    closed: bool = False
    refuses: bool = False
    wished: list[Choice | None] = field(default_factory=list["Choice | None"])
    meanwhile: Callable[[], None] = lambda: None

    def complete(self, prompt: Sequence[ChatMessage], *, deadline: float, choice: Choice | None = None) -> Completion:
        assert prompt is PROMPT
        self.asked += 1
        self.wished.append(choice)
        self.meanwhile()
        self.clock.now = min(self.clock.now + self.takes_s, max(deadline, self.clock.now))
        outcome = self.outcomes.pop(0) if self.outcomes else self.always
        if outcome is not None:
            raise outcome
        return completion("" if self.refuses else "Hello!", refused=self.refuses, provider=self.name)

    def close(self) -> None:
        self.closed = True


class Scene:
    """Providers called first, second, ... behind one failover."""

    def __init__(self, *always: Exception | None) -> None:
        self.clock = Clock()
        names = ["first", "second", "third"]
        self.providers = [
            FakeProvider(name=name, clock=self.clock, always=outcome)
            for name, outcome in zip(names, always, strict=False)
        ]
        self.failover = Failover(self.providers, clock=self.clock)

    def ask(self, *, within_s: float = 120) -> str:
        return self.failover.complete(PROMPT, deadline=self.clock.now + within_s).provider

    def fails(self, *, within_s: float = 120) -> OutsideError:
        with pytest.raises((Transient, Permanent)) as raised:
            self.ask(within_s=within_s)
        return raised.value

    @property
    def asked(self) -> list[int]:
        return [provider.asked for provider in self.providers]


def after(error: OutsideError) -> timedelta | None:
    assert isinstance(error, Transient), error
    return error.after


SERVER = Transient("server", code="500")
BUSY = Transient("rate", after=timedelta(seconds=90))
AUTH = Permanent("auth", code="invalid_api_key")
QUOTA = Permanent("insufficient_quota", code="insufficient_quota")
REJECTED = Permanent("rejected", code="context_length_exceeded")


def test_the_first_answers_and_nobody_else_is_asked() -> None:
    scene = Scene(None, None)
    assert scene.ask() == "first"
    assert scene.asked == [1, 0]


@pytest.mark.parametrize("failure", [SERVER, BUSY, AUTH, QUOTA, REJECTED, Transient("empty"), Transient("malformed")])
def test_whoever_fails_is_passed_over_to_the_next(failure: Exception) -> None:
    scene = Scene(failure, failure, None)
    assert scene.ask() == "third"
    assert scene.asked == [1, 1, 1]


def test_who_keeps_failing_is_left_alone_and_asked_again_once_after_a_pause() -> None:
    scene = Scene(SERVER, None)
    for _ in range(FAILURES + 3):
        assert scene.ask() == "second"
    assert scene.asked == [FAILURES, FAILURES + 3]
    scene.clock.now += PAUSE.total_seconds()
    scene.providers[0].always = None
    assert scene.ask() == scene.ask() == "first"


@pytest.mark.parametrize("failure", [AUTH, QUOTA, Permanent("misconfigured")])
def test_what_is_wrong_with_the_account_is_not_asked_twice(failure: Exception) -> None:
    scene = Scene(failure, None)
    assert [scene.ask(), scene.ask()] == ["second", "second"]
    assert scene.asked == [1, 2]


def test_a_vendor_that_asks_for_time_gets_it() -> None:
    scene = Scene(BUSY, None)
    scene.ask()
    scene.clock.now += 89
    scene.ask()
    assert scene.asked == [1, 2]
    scene.clock.now += 1
    scene.ask()
    assert scene.asked == [2, 3]


@pytest.mark.parametrize("failure", [REJECTED, Permanent("encoding"), Transient("empty")])
def test_a_request_rejected_for_its_own_content_opens_nothing(failure: Exception) -> None:
    scene = Scene(failure)
    for _ in range(FAILURES * 2):
        assert scene.fails().reason == failure.args[0].split()[0]
    assert scene.asked == [FAILURES * 2]


def test_while_one_tries_the_others_pass_over_to_the_next() -> None:
    scene = Scene(SERVER, None)
    for _ in range(FAILURES):
        scene.ask()
    scene.clock.now += PAUSE.total_seconds()
    others: list[str] = []
    scene.providers[0].meanwhile = lambda: others.append(scene.ask())
    scene.ask()
    assert others == ["second"]


def test_a_crash_in_the_trial_leaves_it_to_the_next_caller() -> None:
    scene = Scene(SERVER)
    for _ in range(FAILURES):
        scene.fails()
    scene.clock.now += PAUSE.total_seconds()
    scene.providers[0].outcomes = [ZeroDivisionError()]
    scene.providers[0].always = None
    with pytest.raises(ZeroDivisionError):
        scene.ask()
    assert scene.ask() == "first"


@pytest.mark.parametrize(
    ("failures", "wait"),
    [
        ([SERVER, SERVER], None),
        ([BUSY, SERVER], None),  # the second may be asked at once
        ([BUSY, Transient("rate", after=timedelta(seconds=30))], timedelta(seconds=30)),
        ([BUSY, AUTH], timedelta(seconds=90)),  # a wrong key does not mend by itself in 2 s
        ([REJECTED, BUSY], timedelta(seconds=90)),
    ],
)
def test_when_all_fail_it_tells_when_the_earliest_may_be_asked_again(
    failures: list[Exception], wait: timedelta | None
) -> None:
    assert after(Scene(*failures).fails()) == wait


def test_when_all_are_left_alone_it_tells_so_without_asking_anybody() -> None:
    scene = Scene(BUSY, Transient("rate", after=timedelta(seconds=30)))
    scene.fails()
    scene.clock.now += 10
    error = scene.fails()
    assert (after(error), error.reason, scene.asked) == (timedelta(seconds=20), "rate", [1, 1])


def test_somebody_elses_trial_is_looked_at_again_soon() -> None:
    scene = Scene(SERVER)
    for _ in range(FAILURES):
        scene.fails()
    scene.clock.now += PAUSE.total_seconds()
    others: list[OutsideError] = []
    scene.providers[0].meanwhile = lambda: others.append(scene.fails())
    scene.fails()
    assert [after(other) for other in others] == [TRIAL_LOOK]
    assert others[0].reason == "server"


@pytest.mark.parametrize("failures", [[AUTH], [QUOTA, AUTH], [AUTH, REJECTED], [REJECTED, REJECTED]])
def test_it_is_permanent_only_when_nobody_can_mend_by_itself(failures: list[Exception]) -> None:
    scene = Scene(*failures)
    for _ in range(2):  # the second time most are not even asked
        error = scene.fails()
        assert isinstance(error, Permanent)
        assert (error.reason, error.code) == (str(failures[0]).split()[0], str(failures[0]).split()[1])


def test_one_provider_alone_fails_as_it_would_without_us() -> None:
    for failure in (SERVER, BUSY, AUTH, QUOTA, REJECTED):
        error = Scene(failure).fails()
        assert (type(error), str(error)) == (type(failure), str(failure))
        assert getattr(error, "after", None) == getattr(failure, "after", None)


def test_the_deadline_is_over_all_providers() -> None:
    scene = Scene(Transient("timeout"), Transient("timeout"), None)
    for provider in scene.providers:
        provider.takes_s = 45
    error = scene.fails(within_s=90)
    assert isinstance(error, Transient)
    assert (error.reason, scene.asked) == ("timeout", [1, 1, 0])
    assert scene.clock.now == 1090


def test_a_call_that_the_deadline_cut_short_is_not_held_against_the_provider() -> None:
    short, long = FAIR.total_seconds() - 1, FAIR.total_seconds()
    scene = Scene(Transient("timeout"))
    scene.providers[0].takes_s = 45
    for _ in range(FAILURES * 2):
        scene.fails(within_s=short)
    assert scene.asked == [FAILURES * 2]
    for _ in range(FAILURES * 2):
        scene.fails(within_s=long)
    assert scene.asked == [FAILURES * 3]


def test_all_are_closed_at_the_end() -> None:
    scene = Scene(None, None)
    scene.failover.close()
    assert all(provider.closed for provider in scene.providers)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_calls_tokens_cost_errors_and_breakers_are_counted_by_provider() -> None:
    def counted() -> list[float]:
        return [
            sample("sisters_llm_errors_total", provider="first", reason="auth"),
            sample("sisters_llm_seconds_count", provider="first", outcome="failed"),
            sample("sisters_llm_seconds_count", provider="second", outcome="answered"),
            sample("sisters_llm_tokens_total", provider="second", direction="in"),
            sample("sisters_llm_tokens_total", provider="second", direction="out"),
            round(sample("sisters_llm_cost_usd_total", provider="second"), 6),
        ]

    before = counted()
    scene = Scene(AUTH, None)
    assert sample("sisters_llm_breaker", provider="first") == 0
    scene.ask()
    assert [now - then for now, then in zip(counted(), before, strict=True)] == pytest.approx(
        [1, 1, 1, 10, 5, float(Decimal("0.001"))]
    )
    assert sample("sisters_llm_breaker", provider="first") == 2
    assert sample("sisters_llm_breaker", provider="second") == 0


def test_a_refusal_is_an_answer_and_nobody_else_is_asked_for_a_kinder_one() -> None:
    scene = Scene(None, None)
    before = sample("sisters_llm_seconds_count", provider="first", outcome="refused")
    scene.providers[0].refuses = True
    assert scene.failover.complete(PROMPT, deadline=scene.clock.now + 1).refused
    assert scene.asked == [1, 0]
    assert sample("sisters_llm_seconds_count", provider="first", outcome="refused") == before + 1


def test_no_text_is_logged() -> None:
    with logged() as lines:
        Scene(SERVER, AUTH).fails()
    assert [line["event"] for line in lines.told()] == ["llm_failed", "llm_failed", "llm_provider_pauses"]
    assert SECRET not in lines.getvalue()


def test_every_provider_is_told_what_may_be_chosen() -> None:
    scene = Scene(Transient("server"), None)
    choice = Choice(name="hand_over", description="", argument="to", options={"ana": "Ana"})
    scene.failover.complete(PROMPT, deadline=scene.clock.now + 1, choice=choice)
    assert [provider.wished for provider in scene.providers] == [[choice], [choice]]


@pytest.mark.parametrize("failures", [(SERVER, Transient("empty")), (Transient("empty"), SERVER)])
def test_an_answer_that_shows_nothing_is_told_as_one_whoever_else_failed(failures: Sequence[Exception]) -> None:
    assert Scene(*failures).fails().reason == "empty"


PAID = Spent(tokens_in=100, tokens_out=7, cost_usd=Decimal("0.02"))


def test_an_answer_costs_what_the_worthless_ones_before_it_did_as_well() -> None:
    scene = Scene(Transient("empty").having_spent(PAID), None)
    before = sample("sisters_llm_tokens_total", provider="first", direction="in")
    answered = scene.failover.complete(PROMPT, deadline=scene.clock.now + 60)
    assert answered.spent == PAID + completion().spent
    assert sample("sisters_llm_tokens_total", provider="first", direction="in") == before + 100


@pytest.mark.parametrize("second", [Transient("malformed"), Permanent("auth")])
def test_failures_of_all_providers_cost_what_each_of_them_did(second: OutsideError) -> None:
    scene = Scene(Permanent("rejected").having_spent(PAID), second.having_spent(PAID))
    assert scene.fails().spent == PAID + PAID


def test_a_provider_that_is_left_alone_costs_nothing_more() -> None:
    scene = Scene(Permanent("auth").having_spent(PAID))
    assert scene.fails().spent == PAID
    assert scene.fails().spent == Spent()
