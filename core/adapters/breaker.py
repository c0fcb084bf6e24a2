"""Whether a provider is worth asking now: one small state machine for each provider in each process.

Our own, because pybreaker 1.4 holds its lock while the call runs (a process would ask one question at a time), while
circuitbreaker 2.1 has no lock and lets every caller try at once; neither grows its pause or knows a Retry-After.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from threading import Lock
from time import monotonic
from typing import Final

import structlog

from core.errors import OutsideError, Permanent, Transient

FAILURES: Final = 5
"""So many Transient failures in a row, with no answer between them, open it."""
PAUSE: Final = timedelta(seconds=2)
LONGEST_PAUSE: Final = timedelta(seconds=30)
"""A trial costs one call; a longer pause would make everybody wait that long after the provider is back."""
LONGEST_PAUSE_PERMANENT: Final = timedelta(minutes=5)
"""A wrong key or an empty account waits for a person at the provider's console."""
TRIAL_LOOK: Final = timedelta(seconds=1)
"""When to look again while somebody else's trial is under way."""

_log = structlog.stdlib.get_logger(__name__)


class State(IntEnum):
    """What the gauge shows."""

    CLOSED = 0
    TRIAL = 1
    OPEN = 2


class Breaker:
    """Closed: everybody may ask. Open: nobody until a pause is over, then one trial, and the pause doubles if it fails.

    Each call takes a ticket from `admit` and returns it to exactly one of `worked`, `failed`, `unknown`. What calls
    that began before the last change have to tell is known already, save for a Retry-After.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._log = _log.bind(provider=name)
        self._clock = clock
        self._lock = Lock()
        self._ticket = 0
        """Another one after each opening."""
        self._failures = 0
        self._pauses = 0
        """How many of our own pauses were taken since it last closed: each is twice as long as the one before."""
        self._cause: OutsideError | None = None
        """Why it is open; None: it is closed."""
        self._until = 0.0
        self._on_trial = False

    @property
    def state(self) -> State:
        """The state now; an open one whose pause is over stays open until somebody asks."""
        with self._lock:
            if self._cause is None:
                return State.CLOSED
            return State.TRIAL if self._on_trial else State.OPEN

    def admit(self) -> int | OutsideError:
        """Returns a ticket for one call, or why none may be made: Transient with `after`, or what is Permanent."""
        with self._lock:
            if self._cause is None:
                return self._ticket
            if self._on_trial:  # how it ends decides, even where the cause was Permanent
                return Transient(self._cause.reason, code=self._cause.code, after=TRIAL_LOOK)
            if self._clock() < self._until:
                return self._told(self._cause)
            self._on_trial = True
            return self._ticket

    def worked(self, ticket: int) -> None:
        """The provider answered, be it that it rejects this one request."""
        with self._lock:
            if ticket != self._ticket:
                return
            if self._cause is not None:
                self._log.info("llm_provider_back")
            self._failures, self._pauses, self._cause, self._on_trial = 0, 0, None, False

    def unknown(self, ticket: int) -> None:
        """The call told nothing about the provider; a trial is free for the next caller."""
        with self._lock:
            if ticket == self._ticket:
                self._on_trial = False

    def failed(self, ticket: int, error: OutsideError) -> OutsideError:
        """Takes in a failure that is the provider's own; returns it as its caller should tell it, with `after`."""
        after = error.after if isinstance(error, Transient) else None
        with self._lock:
            if after:
                self._open(error, after)
            elif ticket == self._ticket:
                self._failures += 1
                if self._on_trial or isinstance(error, Permanent) or self._failures >= FAILURES:
                    self._open(error, self._next_pause(error))
            return self._told(error)

    def _open(self, cause: OutsideError, pause: timedelta) -> None:
        now = self._clock()
        # A Retry-After that was told before is kept to the end.
        self._until = max(now + pause.total_seconds(), self._until if self._cause else 0.0)
        for_s = round(self._until - now, 1)
        self._log.warning("llm_provider_pauses", reason=cause.reason, code=cause.code, for_s=for_s)
        # A copy: the error's traceback would keep the prompt alive.
        self._cause, self._on_trial, self._failures = type(cause)(cause.reason, code=cause.code), False, 0
        self._ticket += 1

    def _next_pause(self, cause: OutsideError) -> timedelta:
        longest = LONGEST_PAUSE_PERMANENT if isinstance(cause, Permanent) else LONGEST_PAUSE
        pause = min(longest, PAUSE * 2 ** min(self._pauses, 16))
        self._pauses += 1
        return pause

    def _told(self, error: OutsideError) -> OutsideError:
        """The error, raised by many threads and so a copy, with how long nobody asks this provider.

        That is never shorter than what the provider asked for.
        """
        if not isinstance(error, Transient):
            return type(error)(error.reason, code=error.code)
        rest = timedelta(seconds=max(0.0, self._until - self._clock())) if self._cause is not None else timedelta(0)
        return Transient(error.reason, code=error.code, after=max(rest, error.after or rest) or None)
