"""What happened to one message, in order of time: from the door to the report that it was read."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from core.delivery import FAILURES
from core.store import Store, Transaction

_OURS: Final = re.compile(r"([mtd]?)(\d{1,19})")
_KINDS: Final = {"": "message", "m": "message", "t": "turn", "d": "delivery"}
_LARGEST_ID: Final = 2**63 - 1
_OVER: Final = frozenset({"accepted", "failed", "cancelled"})
_NAMED_ELSEWHERE: Final = ("turn", "message", "newest", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, or is planned. `about`: the rows do not hold the time itself, it is worked out.

    `received` and the provider's reports carry the webhook's clock, all others the database's. Events: received,
    stored, owed (a turn opens), claimed, routed, moderated (each way), asked, replied, merged, refused, failed; of a
    piece: waiting, sending, doubted, accepted, given_up, cancelled, and the provider's own sent, delivered, read,
    failed, undelivered; sent_anew (that sid failed in a way that is worth another try); retry_planned, retry_due.
    Of things that repeat (claims, attempts) the last is kept, with its number.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a turn came to. Of a turn that still runs most is None."""

    turn: int
    message: int | None
    """The one that was asked for, if any."""
    outcome: str | None
    reason: str
    decision: Mapping[str, Any] | None
    moderation: Sequence[Mapping[str, Any]] | None
    prompt_messages: int | None
    prompt_characters: int | None
    provider: str | None
    model: str | None
    tokens_in: int
    tokens_out: int
    cost_usd: str
    llm_ms: int | None
    cut: bool
    claims: int
    failures: int
    superseded: bool
    newest: int | None
    """The message that ends answered where others end merged."""
    sends: Sequence[Mapping[str, Any]]

    @property
    def ending(self) -> str | None:
        """How the message ended as far as this turn tells; None while something is still under way."""
        states = {send["state"] for send in self.sends}
        if self.outcome == "answered" and "failed" in states:
            return "failed"
        if self.outcome is None or not states <= _OVER:
            return None
        merged = self.message is not None and self.newest is not None and self.message < self.newest
        return "merged" if merged and self.outcome == "answered" else self.outcome

    def as_json(self) -> dict[str, Any]:
        """Returns them with the ending; ids that the caller knows already are left out."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NAMED_ELSEWHERE}
        merged_into = self.newest if self.ending == "merged" else None
        return {"ending": self.ending, "merged_into": merged_into, **told, "moderation": self.moderation or []}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unanswered:
    message: int
    too_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is known of a message, a turn or a delivery."""

    message: int | None
    turn: int | None
    events: Sequence[Event]
    facts: Facts | None
    """None where there is no turn."""
    too_late: bool = False

    def as_json(self) -> dict[str, Any]:
        """Returns `{message, turn, events, facts}`."""
        facts = self.facts.as_json() if self.facts else {"ending": "too_late" if self.too_late else None}
        events = [event.as_json() for event in self.events]
        return {"message": self.message, "turn": self.turn, "events": events, "facts": facts}


def timeline(store: Store, name: str, *, channels: Sequence[str], texts: bool = False) -> Sequence[Event] | None:
    """Returns the events of the turn that the id belongs to, oldest first; None for an id that nothing bears.

    `name` is m12 or 12 (a message), t3 (a turn), d9 (a delivery), or an id of the provider on one of `channels`.
    A message that has no turn yet has only its own events. No text is read unless `texts`, nor the reason of the
    routing, which quotes the words that told. Raises: Transient.
    """
    with _read(store) as transaction:
        subject = _find(transaction, name, channels)
        return None if subject is None else _events(transaction, subject, texts=texts)


def story(store: Store, name: str, *, channels: Sequence[str], texts: bool = False) -> Story | None:
    """As `timeline`, with what the turn came to. Raises: Transient."""
    with _read(store) as transaction:
        subject = _find(transaction, name, channels)
        if subject is None:
            return None
        ids = {"turn_id": subject.turn_id, "message_id": subject.message_id}
        unanswered = None if subject.turn_id else transaction.one(_Unanswered, "read_unanswered", **ids)
        return Story(
            message=subject.message_id,
            turn=subject.turn_id,
            events=_events(transaction, subject, texts=texts),
            facts=transaction.one(Facts, "read_facts", **ids),
            too_late=unanswered is not None and unanswered.too_late,
        )


@contextmanager
def _read(store: Store) -> Generator[Transaction]:
    with store.transaction() as transaction:
        transaction.run("one_snapshot")
        yield transaction


def _find(transaction: Transaction, name: str, channels: Sequence[str]) -> _Subject | None:
    ours = _OURS.fullmatch(name)
    number = int(ours[2]) if ours else None
    if "\0" in name or (number is not None and number > _LARGEST_ID):
        return None
    return transaction.one(
        _Subject,
        "find_timeline",
        kind=_KINDS[ours[1]] if ours else "sid",
        number=number,
        sid=None if ours else name,
        channels=list(channels),
    )


def _events(transaction: Transaction, subject: _Subject, *, texts: bool) -> Sequence[Event]:
    return transaction.all(
        Event,
        "read_timeline",
        turn_id=subject.turn_id,
        message_id=subject.message_id,
        texts=texts,
        failures=sorted(FAILURES),
    )
