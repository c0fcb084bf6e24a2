"""When to try again: a pure rule, used by turns and by the outbox."""

from datetime import timedelta
from random import Random
from typing import Final

FROM: Final = timedelta(seconds=1)
TO: Final = timedelta(seconds=60)
ATTEMPTS_AT_MOST: Final = 100
"""Every retry is bounded twice: by this count, which at these waits takes some 70 minutes, and by RETRY_MAX_AGE_S."""


def backoff(failures: int, *, after: timedelta | None, left: timedelta, random: Random) -> timedelta:
    """Returns how long to wait after that many failures (0: the first): doubling, jittered, not less than `after`.

    `left` is what is left of the greatest age: a vendor who asks for hours must not put off the notice that is due.
    """
    full = min(TO, FROM * 2 ** min(failures, 16))
    wait = max(full * (0.5 + random.random() / 2), after or timedelta(0))
    return max(min(wait, left + timedelta(seconds=1)), timedelta(0))


def given_up(failures: int, *, age: timedelta, max_age: timedelta, at_most: int = ATTEMPTS_AT_MOST) -> bool:
    """Whether either bound is reached."""
    return failures >= at_most or age > max_age
