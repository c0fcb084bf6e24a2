"""Asks LLM providers in order of preference: who fails is passed over to the next, who keeps failing is left alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Final, Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core.adapters.breaker import Breaker
from core.errors import EMPTY, NOTHING, OutsideError, Permanent, Spent, Transient
from core.ports import ChatMessage, Choice, Completion, Llm

FAIR: Final = timedelta(seconds=10)
"""A call that the turn's deadline ended after less than this tells nothing about the provider."""
_ABOUT_THE_REQUEST: Final = ("rejected", EMPTY)
"""The provider works: somebody may ask for nothing, and five who did would close it to everybody."""
_NEVER_ASKED: Final = "encoding"

_SECONDS: Final = Histogram(
    "sisters_llm_seconds",
    "One call to a provider",
    ["provider", "outcome"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 15, 30, 45, 60, 120),
)
_TOKENS: Final = Counter(
    "sisters_llm_tokens", "Tokens used, also by answers that were worth nothing", ["provider", "direction"]
)
_COST: Final = Counter("sisters_llm_cost_usd", "What these tokens cost, at the configured prices", ["provider"])
_ERRORS: Final = Counter("sisters_llm_errors", "Calls without an answer", ["provider", "reason"])
_STATE: Final = Gauge("sisters_llm_breaker", "0 closed, 1 on trial, 2 open", ["provider"])

_log = structlog.stdlib.get_logger(__name__)


class Provider(Llm, Protocol):
    """An LLM with a name."""

    @property
    def name(self) -> str:
        """As configured; it labels metrics."""
        ...

    def close(self) -> None:
        """Closes its connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    provider: Provider
    breaker: Breaker


class Failover:
    """An `Llm` made of others. Safe to use from many threads. With one provider: that one, behind its breaker."""

    def __init__(self, providers: Sequence[Provider], *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._routes = [_Route(provider=p, breaker=Breaker(p.name, clock=clock)) for p in providers]
        for route in self._routes:
            _STATE.labels(route.provider.name).set_function(lambda breaker=route.breaker: float(breaker.state))

    def complete(self, prompt: Sequence[ChatMessage], *, deadline: float, choice: Choice | None = None) -> Completion:
        """Returns the answer of the first provider that has one.

        Raises: Transient with `after`, the earliest time when one may be asked again; Permanent when none can answer
        before a person sees to it.
        """
        failures: list[OutsideError] = []
        for route in self._routes:
            if failures and self._clock() >= deadline:
                failures.append(Transient("deadline"))
                break
            ticket = route.breaker.admit()
            if isinstance(ticket, OutsideError):
                failures.append(ticket)
                continue
            answer = self._ask(route, ticket, prompt, deadline, choice)
            if isinstance(answer, Completion):
                spent = sum((failure.spent for failure in failures), start=answer.spent)
                return replace(answer, tokens_in=spent.tokens_in, tokens_out=spent.tokens_out, cost_usd=spent.cost_usd)
            failures.append(answer)
        raise _summed_up(failures)

    def close(self) -> None:
        """Closes all providers' connections."""
        for route in self._routes:
            route.provider.close()

    def _ask(
        self, route: _Route, ticket: int, prompt: Sequence[ChatMessage], deadline: float, choice: Choice | None
    ) -> Completion | OutsideError:
        name, started = route.provider.name, self._clock()
        try:
            completion = route.provider.complete(prompt, deadline=deadline, choice=choice)
        except (Transient, Permanent) as error:
            _SECONDS.labels(name, "failed").observe(self._clock() - started)
            _ERRORS.labels(name, error.reason).inc()
            _count(error.spent, name)
            _log.info("llm_failed", provider=name, reason=error.reason, code=error.code)
            granted, left = deadline - started, deadline - self._clock()
            # A copy, as many threads raise it; what was spent is this call's alone.
            return self._settle(route.breaker, ticket, error, granted=granted, left=left).having_spent(error.spent)
        except BaseException:
            route.breaker.unknown(ticket)
            raise
        route.breaker.worked(ticket)
        outcome = "refused" if completion.refused else "answered"
        _SECONDS.labels(name, outcome).observe(completion.took.total_seconds())
        _count(completion.spent, name)
        return completion

    def _settle(
        self, breaker: Breaker, ticket: int, error: OutsideError, *, granted: float, left: float
    ) -> OutsideError:
        """Tells the breaker what the failure says of its provider; seconds."""
        if error.reason == _NEVER_ASKED or (left <= 0 and granted < FAIR.total_seconds()):
            breaker.unknown(ticket)
        elif error.reason in _ABOUT_THE_REQUEST:
            breaker.worked(ticket)
        else:
            return breaker.failed(ticket, error)
        return error


def _summed_up(failures: Sequence[OutsideError]) -> OutsideError:
    """What the failures of all providers come to: the first of those that may end by themselves, if any may.

    Where one answered with nothing, that it is: so often as it is asked again, so often it is paid.
    """
    spent = sum((failure.spent for failure in failures), start=NOTHING)
    passing = [failure for failure in failures if isinstance(failure, Transient)]
    if not passing:
        return failures[0].having_spent(spent)
    waits = [failure.after or timedelta(0) for failure in passing]
    told = next((failure for failure in passing if failure.reason == EMPTY), passing[0])
    return Transient(told.reason, code=told.code, after=min(waits) or None).having_spent(spent)


def _count(spent: Spent, name: str) -> None:
    _TOKENS.labels(name, "in").inc(spent.tokens_in)
    _TOKENS.labels(name, "out").inc(spent.tokens_out)
    _COST.labels(name).inc(float(spent.cost_usd))
