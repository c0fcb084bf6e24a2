"""Messages found in the provider's log that we never stored: which are still answered, and how they are brought in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Final, TypeVar

import structlog

from core.delivery import folded
from core.errors import OutsideError, Permanent
from core.intake import HeldTurn, Intake
from core.model import InboundMessage, Media
from core.ports import Channel, ProviderMessage
from core.store import Store

ANSWER_WINDOW: Final = timedelta(hours=24)
"""How long after a person's message WhatsApp carries free text to them. Source: Twilio docs as of 2026-11."""
ANSWERED_AT_LEAST: Final = timedelta(hours=1)
"""However long RETRY_MAX_AGE_S is."""
INBOX_OLD_AFTER: Final = timedelta(seconds=10)
"""What the log shows and an inbox still holds is copied from there, where it has all its fields; see catchup.GRACE."""
IDS_AT_ONCE: Final = 1000
MESSAGES_AT_ONCE: Final = 100
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
TRIED_FOR: Final = timedelta(hours=1)
"""So long the log is read again from what could not be stored: with it everything since is listed every time."""
LOOK_AT: Final = 50
"""How many of the newest messages to a person are searched for an answer that we know nothing of."""

_log = structlog.stdlib.get_logger(__name__)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number of ours at a provider that keeps a log; `name` is the channel's, as in messages."""

    name: str
    channel: Channel
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the database knows of catching up; `now` is its clock, by which all ages are taken."""

    started_at: datetime
    read_until: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correspondent:
    """A person as far as catch-up needs to know them; a stranger has the defaults."""

    addresses: Sequence[str] = ()
    unnamed_bodies: Sequence[str] = ()
    last_heard_at: datetime | None = None
    silenced_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one person's missing messages; `failed_at` is when the oldest that could not be stored came."""

    late: int = 0
    too_late: int = 0
    failed: int = 0
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    name: str
    person_id: int


class _NoSlots:
    """Catch-up stores; turns are started by whoever has a place."""

    def reserve(self) -> bool:
        return False

    def release(self) -> None: ...

    def start(self, turn: HeldTurn) -> None: ...


class Latecomers:
    """Stores what is missing: as waiting messages, or as too late."""

    def __init__(self, *, store: Store, intake: Intake, line: Line, retry_max_age: timedelta) -> None:
        self._store = store
        self._intake = intake
        self._line = line
        # As long as WhatsApp carries an answer, less what trying for one may take. Not shorter: who was never
        # acknowledged never had a notice either, and late is better than silence.
        self._answered_up_to = max(ANSWER_WINDOW - retry_max_age, ANSWERED_AT_LEAST)

    def take_in(self, rows: Sequence[ProviderMessage], start: Start, go_on: Callable[[], None]) -> Iterator[Taken]:
        """Stores those rows (inbound, oldest first) that we never had, person by person, in the log's order.

        Yields after each person how many are now owed an answer, how many it is too late for, and how many could not
        be stored for a reason of our own and are worth another try. `go_on` is asked before each person, and before
        each inbox that is taken in first, and may raise. Raises: Transient, Permanent.
        """
        if not self._missing(rows):
            return
        # After an outage of Postgres the inboxes hold what the log shows: that came through the door, and in order.
        # All of them, or whoever is left over gets the log's rows, which lack button, place and quotation.
        self._intake.drain_waiting(_NoSlots(), older_than=INBOX_OLD_AFTER, go_on=go_on)
        for person_id, theirs in self._by_person(self._missing(rows)):
            go_on()
            try:
                stored = self._take_in_person(person_id, theirs, start)
            except OutsideError:
                raise
            except Exception:  # noqa: BLE001 - what is odd about one person's messages keeps nobody else's out
                _log.exception("latecomers_failed", messages=len(theirs))
                stored = self._failed(theirs, start)
            yield stored

    def _failed(self, rows: Sequence[ProviderMessage], start: Start) -> Taken:
        """What is worth another reading of the log: not what it is too late for, nor what has failed for long."""
        since = max(self._oldest(start), start.now - TRIED_FOR)
        left = [row for row in self._missing(rows) if told_at(row) >= since]
        return Taken(failed=len(left), failed_at=told_at(left[0])) if left else Taken()

    def _missing(self, rows: Sequence[ProviderMessage]) -> list[ProviderMessage]:
        known = self._known([row.provider_id for row in rows])
        return [row for row in rows if row.provider_id not in known]

    def _known(self, provider_ids: Sequence[str]) -> set[str]:
        known: set[str] = set()
        ids = iter(provider_ids)
        while some := list(islice(ids, IDS_AT_ONCE)):
            with self._store.transaction() as transaction:
                known.update(transaction.values("known_to_us", channel=self._line.name, provider_ids=some))
        return known

    def _by_person(self, rows: Sequence[ProviderMessage]) -> Sequence[tuple[int | None, Sequence[ProviderMessage]]]:
        """The rows by who wrote them; the log tells an address alone, of which a person may have several."""
        senders = list({row.sender for row in rows})
        with self._store.transaction() as transaction:
            named = {n.name: n.person_id for n in transaction.all(_Name, "people_named", names=senders)}
        grouped: dict[int | str, list[ProviderMessage]] = {}
        for row in rows:
            grouped.setdefault(named.get(row.sender, row.sender), []).append(row)
        return [(key if isinstance(key, int) else None, theirs) for key, theirs in grouped.items()]

    def _take_in_person(self, person_id: int | None, rows: Sequence[ProviderMessage], start: Start) -> Taken:
        person = self._correspondent(person_id, start)
        oldest = self._oldest(start)
        answered_at = None
        if told_at(rows[-1]) >= oldest:
            answered_at = self._answered_unknown_to_us(person, {row.sender for row in rows})
        counts = {False: 0, True: 0}
        for is_too_late, group in groupby(
            rows,
            lambda row: too_late(
                told_at(row),
                oldest=oldest,
                answered_at=answered_at,
                overtaken_at=self._overtaken_at(row, person),
            ),
        ):
            while some := list(islice(group, MESSAGES_AT_ONCE)):
                messages = [self._message(row, is_too_late=is_too_late) for row in some]
                counts[is_too_late] += self._intake.store_messages(messages, too_late=is_too_late)
        return Taken(late=counts[False], too_late=counts[True])

    def _oldest(self, start: Start) -> datetime:
        """From when on messages are answered at all."""
        return max(start.now - self._answered_up_to, start.started_at.replace(microsecond=0))  # the log has seconds

    def _correspondent(self, person_id: int | None, start: Start) -> Correspondent:
        with self._store.transaction() as transaction:
            found = transaction.one(
                Correspondent,
                "read_correspondent",
                person_id=person_id,
                channel=self._line.name,
                since=start.now - ANSWER_WINDOW,
            )
        return found or Correspondent()

    def _answered_unknown_to_us(self, person: Correspondent, senders: set[str]) -> datetime | None:
        """When the newest message went to that person of which no row of ours knows.

        Then the database is older than the world (a backup), or somebody else answers from our number.
        """
        ours = [
            message
            for address in senders.union(person.addresses)
            for message in self._sent_to(address)
            if not message.inbound and message.sender == self._line.number
        ]
        known = self._known([message.provider_id for message in ours])
        doubtful = {folded(body) for body in person.unnamed_bodies}
        return max(
            (
                message.created_at
                for message in ours
                if message.created_at and message.provider_id not in known and folded(message.body) not in doubtful
            ),
            default=None,
        )

    def _sent_to(self, address: str) -> Sequence[ProviderMessage]:
        return _unless_refused(lambda: self._line.channel.recent_to(address, limit=LOOK_AT))

    def _overtaken_at(self, row: ProviderMessage, person: Correspondent) -> datetime | None:
        """What makes a command worse than useless when it is older.

        A DELETE must not count as the confirmation of one that was written after it, nor a START undo a later STOP.
        """
        match None if row.media_count else self._intake.command(row.body):
            case "delete":
                return person.last_heard_at
            case "start":
                return person.silenced_at
            case _:
                return None

    def _message(self, row: ProviderMessage, *, is_too_late: bool) -> InboundMessage:
        """As the webhook would have told it, without what the log lacks: profile name, button, place, quotation."""
        return InboundMessage(
            channel=self._line.name,
            provider_id=row.provider_id,
            sender=row.sender,
            recipient=row.recipient,
            received_at=told_at(row),
            text=row.body,
            media=() if is_too_late or not row.media_count else self._media(row.provider_id),
            late=not is_too_late,
        )

    def _media(self, provider_id: str) -> tuple[Media, ...]:
        return tuple(_unless_refused(lambda: self._line.channel.media(provider_id)))


def too_late(
    sent_at: datetime, *, oldest: datetime, answered_at: datetime | None, overtaken_at: datetime | None
) -> bool:
    """Whether a message found in the log is recorded and not answered.

    `oldest`: the beginning of what is answered at all. `answered_at`: the newest message to that person that we know
    nothing of; in the same second counts as after, the log tells no more. `overtaken_at`: see `_overtaken_at`.
    """
    if sent_at < oldest or (answered_at is not None and answered_at >= sent_at):
        return True
    return overtaken_at is not None and overtaken_at > sent_at


def told_at(row: ProviderMessage) -> datetime:
    """When the provider called our webhook for an inbound message, as far as its log tells."""
    return row.sent_at or row.created_at or _NEVER


def _unless_refused(call: Callable[[], Sequence[_Item]]) -> Sequence[_Item]:
    """Nothing where the provider has no such thing (any more). Raises: Transient, Permanent when it is our account."""
    try:
        return call()
    except Permanent as error:
        if error.reason == "auth":
            raise
        return ()
