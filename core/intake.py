"""From the inbox to Postgres: stores each message once, in the order of the door, and says that an answer is owed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from core import metrics, tracing
from core.cast.characters import Cast
from core.errors import Transient
from core.model import InboundMessage, Unreadable, load_inbound
from core.ports import Inbox, Inboxes
from core.store import Store, Transaction

BATCH: Final = 100
"""Entries copied in one transaction: bounds its length, not the inbox."""
INBOXES_AT_ONCE: Final = 100
"""Asked for in one question to Redis: after an outage any number waits."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTurn:
    """A turn that this worker holds. `fence` is the number of the claim: a later claim makes it worthless."""

    turn_id: int
    conversation_id: int
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _TakenIn:
    """What one statement did, and the turn that it opened, if any."""

    known: bool
    stored: int
    turn_id: int | None
    conversation_id: int | None
    fence: int | None


class Slots(Protocol):
    """Where turns run: bounded, and asked before a turn is claimed."""

    def reserve(self) -> bool:
        """Takes one free place, if there is one."""
        ...

    def release(self) -> None:
        """Gives back a place that was reserved and not used."""
        ...

    def start(self, turn: HeldTurn) -> None:
        """Runs the turn on the place that was reserved; returns at once."""
        ...


class _Leaves(Exception):
    """The person's DELETE took effect while we waited for their conversation: their ids name nobody any more."""


class Intake:
    """Copies inboxes into Postgres."""

    def __init__(
        self, *, store: Store, inboxes: Inboxes, cast: Cast, worker_id: UUID, turn_deadline: timedelta
    ) -> None:
        self._store = store
        self._inboxes = inboxes
        self._cast = cast
        self._worker_id = worker_id
        self._turn_deadline = turn_deadline

    def drain(self, person: str, slots: Slots) -> int:
        """Copies one person's inbox until it is empty, starting turns where a place is free; returns how many messages.

        An entry is removed only after the commit that stored it, so a death in between costs a repeat, not a message.
        Raises: Transient when Redis or Postgres is away; what was not stored stays in the inbox.
        """
        stored = 0
        while (inbox := self._inboxes.read(person, limit=BATCH)).entries:
            place = slots.reserve()
            turn = None
            try:
                worker_id = self._worker_id if place else None
                try:
                    stored_now, turn = self._store_entries(inbox, worker_id)
                except _Leaves:
                    stored_now, turn = self._store_entries(inbox, worker_id)
                stored += stored_now
                metrics.STORED.inc(stored_now)
            finally:
                if place and turn is None:
                    slots.release()
            if turn is not None:
                slots.start(turn)
            if self._inboxes.remove(inbox) == 0:
                break
        return stored

    def drain_waiting(self, slots: Slots, *, older_than: timedelta, go_on: Callable[[], None] = lambda: None) -> int:
        """Drains every inbox that has waited longer; returns how many messages were stored.

        One that cannot be stored stops no other, and waits to be tried again. `go_on` is asked before each and may
        raise. Raises: Transient.
        """
        stored, failed = 0, set[str]()
        while True:
            # What failed waits longest: asked for by their number, there is always room for others behind them.
            limit = len(failed) + INBOXES_AT_ONCE
            waiting = self._inboxes.waiting(older_than=older_than, limit=limit)
            for person in waiting:
                if person in failed:
                    continue
                go_on()
                try:
                    stored += self.drain(person, slots)
                except Transient:
                    raise
                except Exception:  # noqa: BLE001 - whatever is wrong with one inbox
                    _log.exception("inbox_not_stored")
                    failed.add(person)
            if len(waiting) < limit:
                return stored

    def store_messages(self, messages: Sequence[InboundMessage], *, too_late: bool = False) -> int:
        """Stores messages of one person, oldest first, that came another way than the door; returns how many are new.

        They are owed an answer, which whoever has a free place gives; `too_late`: they are recorded and owed nothing.
        Raises: Transient.
        """
        try:
            return self._store_latecomers(messages, too_late=too_late)
        except _Leaves:
            return self._store_latecomers(messages, too_late=too_late)

    def _store_latecomers(self, messages: Sequence[InboundMessage], *, too_late: bool) -> int:
        with self._store.transaction() as transaction:
            return sum(
                self._store_group(transaction, group, None, too_late=too_late)[0] for group in _by_channel(messages)
            )

    def command(self, text: str) -> str | None:
        """Which command that text is, as a whole message."""
        return self._cast.command(text)

    def _store_entries(self, inbox: Inbox, worker_id: UUID | None) -> tuple[int, HeldTurn | None]:
        """Returns how many were new, and the turn that this worker now holds."""
        messages, unreadable = _read(inbox.entries)
        with tracing.resume("intake", (message.traceparent for message in messages)):
            return self._store_read(inbox.person, messages, unreadable, worker_id)

    def _store_read(
        self,
        person: str,
        messages: Sequence[InboundMessage],
        unreadable: Sequence[tuple[bytes, str]],
        worker_id: UUID | None,
    ) -> tuple[int, HeldTurn | None]:
        groups = _by_channel(messages)
        if len(groups) == 1 and not unreadable and (taken := self._take_in(messages, worker_id)) is not None:
            return taken
        with self._store.transaction() as transaction:
            for entry, reason in unreadable:
                transaction.run("bury_entry", person=person, payload=entry, reason=reason)
                metrics.DEAD_LETTERS.labels("inbox").inc()
            stored, held = 0, None
            for group in groups:
                new, turn = self._store_group(transaction, group, None if held else worker_id)
                stored, held = stored + new, held or turn
        return stored, held

    def _take_in(
        self, messages: Sequence[InboundMessage], worker_id: UUID | None
    ) -> tuple[int, HeldTurn | None] | None:
        """The same for messages of one channel by somebody we know, in one round trip; None: nothing was stored."""
        known, newest = _ids(messages), messages[-1]
        ids = _by_kind(known)
        with self._store.together() as batch:
            batch.run("lock_known_conversation", **ids, channel=newest.channel, **_address(newest), late=newest.late)
            done = batch.one(
                _TakenIn,
                "take_in",
                **ids,
                kinds=list(known.keys()),
                values=list(known.values()),
                worker_id=worker_id,
                deadline=self._turn_deadline,
                **self._columns(messages),
            )
        taken = done.get()
        if taken is None or not taken.known or not taken.stored:
            return None
        if worker_id is None or taken.turn_id is None or taken.conversation_id is None or taken.fence is None:
            return taken.stored, None
        held = HeldTurn(turn_id=taken.turn_id, conversation_id=taken.conversation_id, fence=taken.fence)
        return taken.stored, held

    def _store_group(
        self,
        transaction: Transaction,
        messages: Sequence[InboundMessage],
        worker_id: UUID | None,
        *,
        too_late: bool = False,
    ) -> tuple[int, HeldTurn | None]:
        newest = messages[-1]
        person_id = self._person_id(transaction, messages)
        conversation_id = transaction.value(
            "open_conversation",
            person_id=person_id,
            channel=newest.channel,
            **_address(newest),
            late=newest.late or too_late,
        )
        columns = self._columns(messages)
        new = transaction.values("store_messages", conversation_id=conversation_id, too_late=too_late, **columns)
        if len(new) < len(messages) and transaction.value("is_leaving", person_id=person_id):
            raise _Leaves
        if not new:
            transaction.run("drop_stranger", person_id=person_id)
        if too_late:
            transaction.run("heed_stop", message_ids=new)
        if not new or too_late:
            return len(new), None
        turn = transaction.one(
            HeldTurn,
            "open_turn",
            conversation_id=conversation_id,
            worker_id=worker_id,
            deadline=self._turn_deadline,
        )
        return len(new), turn if worker_id is not None else None

    def _person_id(self, transaction: Transaction, messages: Sequence[InboundMessage]) -> int:
        """Finds or makes the person, and learns every id that the messages name."""
        known = _ids(messages)
        ids = _by_kind(known)
        person_id = transaction.value("find_people", **ids)
        if person_id is None:
            transaction.run("lock_ids", values=list(known.values()))
            person_id = transaction.value("find_people", **ids) or transaction.value("create_person")
        transaction.run("learn_identities", person_id=person_id, kinds=list(known.keys()), values=list(known.values()))
        return person_id

    def _columns(self, messages: Sequence[InboundMessage]) -> dict[str, Any]:
        return {
            "channel": messages[0].channel,
            "provider_ids": [m.provider_id for m in messages],
            "texts": [_clean(m.text) for m in messages],
            "commands": [None if m.media or m.location else self._cast.command(m.text) for m in messages],
            "attachments": [_attachments(m) for m in messages],
            "quoted_ids": [m.quoted_id or None for m in messages],
            "lates": [m.late for m in messages],
            "received_ats": [m.received_at for m in messages],
            "traceparents": [m.traceparent or None for m in messages],
        }


def _read(entries: Sequence[bytes]) -> tuple[list[InboundMessage], list[tuple[bytes, str]]]:
    """Returns the messages, and the entries that are none with the reason why."""
    messages: list[InboundMessage] = []
    unreadable: list[tuple[bytes, str]] = []
    for entry in entries:
        try:
            messages.append(load_inbound(entry))
        except Unreadable as error:
            unreadable.append((entry, str(error)))
    return messages, unreadable


def _by_channel(messages: Sequence[InboundMessage]) -> list[list[InboundMessage]]:
    return [list(group) for _, group in groupby(messages, key=lambda message: message.channel)]


def _ids(messages: Sequence[InboundMessage]) -> dict[str, str]:
    """Every id that the messages name, by its kind; the newest of each kind."""
    return {kind: value for message in messages for kind, value in _identities(message).items() if value}


def _by_kind(known: Mapping[str, str]) -> dict[str, str]:
    return {kind: known.get(kind, "") for kind in ("parent", "external", "address")}


def _address(newest: InboundMessage) -> dict[str, str]:
    """Where the person writes from and to, and by which name."""
    return {"sender": newest.sender, "recipient": newest.recipient, "profile_name": newest.profile_name}


def _identities(message: InboundMessage) -> dict[str, str]:
    return {"parent": message.parent_external_id, "external": message.external_id, "address": message.sender}


def _clean(text: str) -> str:
    """Postgres text holds no NUL."""
    return text.replace("\0", "")


def _attachments(message: InboundMessage) -> Jsonb | None:
    """What came besides text; None for plain text."""
    if not (message.media or message.location or message.button):
        return None
    place, button = message.location, message.button
    return Jsonb({
        "media": [{"url": m.url, "content_type": m.content_type} for m in message.media],
        "location": None
        if place is None
        else {
            "latitude": place.latitude,
            "longitude": place.longitude,
            "address": _clean(place.address),
            "label": _clean(place.label),
        },
        "button": None if button is None else {"payload": _clean(button.payload), "text": _clean(button.text)},
    })  # fmt: skip
