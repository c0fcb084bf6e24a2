"""The rules of a delivery: which status report counts, and what an error code of the provider asks of us."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from random import Random
from typing import Final

RANKS: Final[Mapping[str, int]] = {
    "accepted": 0,
    "scheduled": 0,
    "queued": 1,
    "sending": 2,
    "sent": 3,
    "delivered": 4,
    "read": 5,
}
"""Reports come doubled and out of order: only a rising rank counts. Source: Twilio docs as of 2026-11."""
FAILURES: Final = frozenset({"failed", "undelivered", "canceled"})
"""Nothing follows them. They do not count once the message was delivered or read."""


class Remedy(StrEnum):
    """What to do about a delivery that the provider refused or reported as failed."""

    NEVER = "never"
    AGAIN = "again"
    ONCE_MORE = "once_more"
    """Again, but a second failure with such a code is final."""
    PAUSE_SENDER = "pause_sender"
    """Again, and nothing at all goes out from our number meanwhile: see `pause`."""


_OPTED_OUT: Final = frozenset({"21610"})
_AGAIN: Final[Mapping[str, timedelta]] = {
    "20429": timedelta(seconds=1),  # too many requests at once
    "21611": timedelta(minutes=2),  # the sender's queue is full
    "30001": timedelta(minutes=2),  # the same, told later
    "63010": timedelta(seconds=10),  # error inside the channel
    "63012": timedelta(seconds=10),  # the same
    "63018": timedelta(seconds=10),  # Meta's rate limit for the sender or for the pair
}
_ONCE_MORE: Final = frozenset({"30008", "63019"})  # unknown error; media could not be fetched
REFUSED_FOR: Final = timedelta(minutes=5)
"""How long our number rests when the provider refuses us, whatever code it gives or without one."""
_PAUSES: Final[Mapping[str, timedelta]] = {
    "20003": REFUSED_FOR,  # our credentials are not accepted
    "60728": timedelta(minutes=10),  # hourly limit
    "63001": timedelta(minutes=10),  # the channel's own credentials
    "63007": timedelta(minutes=10),  # our number is not set up for WhatsApp
    "63017": timedelta(seconds=5),  # rate of all senders together
    "63038": timedelta(minutes=30),  # the account's messages of a rolling 24 h are used up
    "63051": timedelta(minutes=30),  # our number is locked
}
# Source of all codes: Twilio error dictionary as of 2026-11. Twilio splits codes from time to time, so the HTTP status
# decides first (core/adapters/twilio.py) and an unknown code means "never".


def advances(old: str, new: str) -> bool:
    """Whether a report of `new` changes a delivery at `old` ("" before the first); an unknown status never does."""
    if old in FAILURES:
        return False
    if new in FAILURES:
        return old not in ("delivered", "read")
    return new in RANKS and RANKS[new] > RANKS.get(old, -1)


def went_out(status: str) -> bool:
    """Whether WhatsApp has the message: sent or later."""
    return RANKS.get(status, -1) >= RANKS["sent"]


def remedy(code: str) -> Remedy:
    """What to do about that error code, also one from a status report."""
    if code in _PAUSES:
        return Remedy.PAUSE_SENDER
    if code in _AGAIN:
        return Remedy.AGAIN
    return Remedy.ONCE_MORE if code in _ONCE_MORE else Remedy.NEVER


def pause(code: str) -> timedelta | None:
    """How long to wait before another try where the code says it; for PAUSE_SENDER how long the number rests."""
    return _PAUSES.get(code) or _AGAIN.get(code)


RESENDS_AT_MOST: Final = 4
"""Times that one piece goes anew because it was reported failed: at the waits below a little over two minutes."""
REPORTS_SETTLE: Final = timedelta(seconds=10)
"""Reports come out of order: in so long a "sent" that was overtaken by its "undelivered" arrives and forbids to send
anew what somebody may have seen."""


def goes_anew(code: str, *, failed_before: int) -> bool:
    """Whether a piece that was reported failed with that code deserves another attempt, having failed so often before.

    Whether it may have one (nobody saw it, nothing overtook it, it is not too old) only the rows know.
    """
    match remedy(code):
        case Remedy.NEVER:
            return False
        case Remedy.ONCE_MORE:
            return failed_before == 0
        case Remedy.AGAIN | Remedy.PAUSE_SENDER:
            return failed_before < RESENDS_AT_MOST


def anew_after(code: str, *, failed_before: int, random: Random) -> timedelta:
    """How long after the report the next attempt goes: doubling, jittered upwards. A resting number adds its own."""
    named = None if remedy(code) is Remedy.PAUSE_SENDER else pause(code)
    return max(named or REPORTS_SETTLE, REPORTS_SETTLE) * 2**failed_before * (1 + random.random() / 4)


def opted_out(code: str) -> bool:
    """Whether the person told Twilio itself to stop: nothing more may be sent until they write START."""
    return code in _OPTED_OUT


def folded(text: str) -> str:
    """Whether the provider trims or folds white space in its log is not documented: compare without it."""
    return "".join(text.split())
