"""What happened to one message, in order of time: from the door to the report that it was read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from core.delivery import FAILURES
from core.store import Store

_OURS: Final = re.compile(r"([mtd]?)(\d{1,19})")
_KINDS: Final = {"": "message", "m": "message", "t": "turn", "d": "delivery"}
_LARGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, or is planned. `about`: the rows do not hold the time itself, it is worked out.

    `received` and the provider's reports carry the webhook's clock, all others the database's. Events: received,
    stored, owed (a turn opens), claimed, routed, asked, replied, merged, refused, failed; of a piece: waiting,
    sending, doubted, accepted, given_up, cancelled, and the provider's own sent, delivered, read, failed,
    undelivered; sent_anew (that sid failed in a way that is worth another try); retry_planned, retry_due. Of things
    that repeat (claims, attempts) the last is kept, with its number.
    """

    at: datetime
    event: str
    about: bool
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Returns one flat object, `at` and `event` first; times in UTC."""
        about = {"about": True} if self.about else {}
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return {"at": at, "event": self.event, **about, **self.facts}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    message_id: int | None
    turn_id: int | None


def timeline(store: Store, name: str, *, channels: Sequence[str], texts: bool = False) -> Sequence[Event] | None:
    """Returns the events of the turn that the id belongs to, oldest first; None for an id that nothing bears.

    `name` is m12 or 12 (a message), t3 (a turn), d9 (a delivery), or an id of the provider on one of `channels`.
    A message that has no turn yet has only its own events. No text is read unless `texts`, nor the reason of the
    routing, which quotes the words that told. Raises: Transient.
    """
    ours = _OURS.fullmatch(name)
    number = int(ours[2]) if ours else None
    if "\0" in name or (number is not None and number > _LARGEST_ID):
        return None
    with store.transaction() as transaction:
        transaction.run("one_snapshot")
        subject = transaction.one(
            _Subject,
            "find_timeline",
            kind=_KINDS[ours[1]] if ours else "sid",
            number=number,
            sid=None if ours else name,
            channels=list(channels),
        )
        if subject is None:
            return None
        return transaction.all(
            Event,
            "read_timeline",
            turn_id=subject.turn_id,
            message_id=subject.message_id,
            texts=texts,
            failures=sorted(FAILURES),
        )
