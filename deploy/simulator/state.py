"""The simulated world's memory: every message that was carried, in order, and the people."""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import uuid4

Direction = Literal["inbound", "outbound-api", "outbound-reply"]
Carried = Literal["waiting", "acknowledged", "refused", "dropped", "found"]
"""How an inbound message's webhook went: not over yet, taken with a 2xx, not taken after all tries, never sent; of the
last two: the bot has found the message in the provider's log since."""
_TEXTS_KNOWN: Final = 2_000
"""Of how many texts it is known who wrote them last."""


def now() -> datetime:
    """The present, with its zone."""
    return datetime.now(UTC)


def new_sid(prefix: str) -> str:
    """Returns a fresh id as Twilio writes them: two letters and 32 hexadecimal digits."""
    return prefix + uuid4().hex


def user_id_of(address: str) -> str:
    """Returns the business-scoped user id of a phone number: always the same one, so that tests can compute it."""
    digits = int.from_bytes(hashlib.sha256(address.encode()).digest()[:8]) % 10**19
    return f"whatsapp:US.1{digits:019}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One attachment of a message."""

    sid: str
    content_type: str
    size_bytes: int
    url: str
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class Message:
    """One row of the provider's log. Only `Log` writes to it after it was added."""

    sid: str
    direction: Direction
    sender: str
    recipient: str
    body: str
    status: str
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None = None
    error_code: int | None = None
    error_message: str | None = None
    media: tuple[Media, ...] = ()
    status_callback: str = ""
    service_sid: str | None = None
    form: dict[str, str] | None = None
    """The webhook's fields, of an inbound message: kept so that the very same webhook can be sent again."""
    token: str = ""
    """Its I-Twilio-Idempotency-Token."""
    number: int = 0
    """Its place in the log; never given twice."""
    carried: Carried = "waiting"
    forged: bool = False
    """Whether it never passed the provider: its webhook was a stranger's, and its log does not tell of it."""
    read_at: datetime | None = None
    """When the bot marked an inbound message read."""


Change = Literal["message", "removed"]
Watcher = Callable[[Change, Message], None]
"""Is told of each message that is new or changed, or gone because the bot removed it."""


class Log:
    """All messages, oldest first, found by id and by address; the oldest go when there are too many."""

    def __init__(
        self, *, messages_kept: int, media_bytes_kept: int, watcher: Watcher = lambda _change, _message: None
    ) -> None:
        self._kept = messages_kept
        self._watcher = watcher
        self._media_kept = media_bytes_kept
        self._number = 0
        self.clear()

    def clear(self) -> None:
        """Forgets everything; numbers go on, so that an old page token finds nothing instead of something else."""
        self._rows: list[Message] = []
        self._by_sid: dict[str, Message] = {}
        self._by_address: dict[str, list[Message]] = {}
        self._person_of: dict[str, str] = {}
        self._addresses_of: dict[str, list[str]] = {}
        self._last_inbound: dict[str, datetime] = {}
        self._media: dict[str, tuple[bytes, str]] = {}
        self._media_bytes = 0
        self._wrote: dict[str, str] = {}

    def add(self, message: Message) -> None:
        """Appends a message."""
        self._number += 1
        message.number = self._number
        self._rows.append(message)
        self._by_sid[message.sid] = message
        for address in (message.sender, message.recipient):
            self._by_address.setdefault(address, []).append(message)
        if message.direction == "inbound":
            self._last_inbound[self.person(message.sender)] = message.created_at
            self._remember(message)
        # Cut in blocks: dropping one row at a time would move the whole list for every message.
        if len(self._rows) > self._kept + self._kept // 20:
            self._drop_oldest(len(self._rows) - self._kept)
        self._watcher("message", message)

    def move(self, message: Message, status: str, *, error_code: int | None = None, error: str | None = None) -> None:
        """Gives a message its next status."""
        at = now()
        message.status, message.updated_at = status, at
        message.error_code, message.error_message = error_code, error
        if message.sent_at is None:
            message.sent_at = at
        self._watcher("message", message)

    def carry(self, message: Message, carried: Carried) -> None:
        """Notes how an inbound message's webhook went; what was taken once stays so when it is sent again."""
        if message.carried != "acknowledged":
            message.carried = carried
            self._watcher("message", message)

    def mark_read(self, message: Message) -> None:
        """Notes that the bot has read an inbound message and what the person wrote before it, as WhatsApp does.

        Source: Meta's WhatsApp Cloud API docs on marking messages as read, as of 2026-11.
        """
        for earlier in self.newest_first(sender=message.sender, before=message.number + 1):
            if earlier.read_at is not None:
                return
            earlier.read_at = now()
            self._watcher("message", earlier)

    def find_later(self, message: Message) -> None:
        """Notes that the bot has found a message in the log whose webhook had not come to it."""
        if message.carried in ("refused", "dropped"):
            self.carry(message, "found")

    def redact(self, message: Message) -> None:
        """Blanks a message's text."""
        message.body, message.updated_at = "", now()
        self._watcher("message", message)

    def remove(self, message: Message) -> None:
        """Takes a message and its media out of the log."""
        self._rows.remove(message)
        del self._by_sid[message.sid]
        for address in {message.sender, message.recipient}:
            self._by_address[address] = [m for m in self._by_address[address] if m is not message]
        for media in message.media:
            self.remove_media(media.sid)
        self._watcher("removed", message)

    def find(self, sid: str) -> Message | None:
        """The message of that id."""
        return self._by_sid.get(sid)

    def wrote(self, text: str) -> Message | None:
        """The newest message in which somebody wrote exactly that: what a call that names no message is about."""
        return self._by_sid.get(self._wrote.get(text.strip(), ""))

    def newest_first(self, *, sender: str = "", recipient: str = "", before: int | None = None) -> Iterator[Message]:
        """Yields matching messages; `before` is the number from which on they are left out."""
        rows = self._rows
        for address in (sender, recipient):
            if address and len(found := self._by_address.get(address, [])) <= len(rows):
                rows = found
        stop = len(rows) if before is None else bisect_left(rows, before, key=lambda m: m.number)
        for place in range(stop - 1, -1, -1):
            message = rows[place]
            if (not sender or message.sender == sender) and (not recipient or message.recipient == recipient):
                yield message

    def thread(self, address: str) -> Sequence[Message]:
        """Returns one person's messages, or all for an empty address, oldest first; any of their ids will do."""
        if not address:
            return self._rows
        person = self.person(address)
        found: dict[int, Message] = {}
        for each in self._addresses_of.get(person, [person]):
            found.update((m.number, m) for m in self._by_address.get(each, ()))
        return [found[number] for number in sorted(found)]

    def know(self, person: str, *others: str) -> None:
        """Learns that these addresses are one person."""
        for address in (person, *others):
            if address and self._person_of.setdefault(address, person) == person:
                known = self._addresses_of.setdefault(person, [])
                if address not in known:
                    known.append(address)

    def person(self, address: str) -> str:
        """Returns the address by which this person is known best, the given one for a stranger."""
        return self._person_of.get(address, address)

    def user_id(self, address: str) -> str:
        """Returns the person's business-scoped user id, made from the number when none was given."""
        known = self._addresses_of.get(self.person(address), [])
        return next((a for a in known if ":+" not in a), user_id_of(address) if ":+" in address else address)

    def last_inbound(self, address: str) -> datetime | None:
        """When that person wrote last."""
        return self._last_inbound.get(self.person(address))

    def keep_media(self, sid: str, data: bytes, content_type: str) -> None:
        """Stores the bytes of an attachment; the oldest go when all together are too large."""
        self._media[sid] = (data, content_type)
        self._media_bytes += len(data)
        while self._media_bytes > self._media_kept and len(self._media) > 1:
            self.remove_media(next(iter(self._media)))

    def media(self, sid: str) -> tuple[bytes, str] | None:
        """The bytes of an attachment and their type."""
        return self._media.get(sid)

    def remove_media(self, sid: str) -> None:
        """Erases an attachment's bytes."""
        if found := self._media.pop(sid, None):
            self._media_bytes -= len(found[0])

    def _remember(self, message: Message) -> None:
        text = message.body.strip()
        self._wrote.pop(text, None)
        self._wrote[text] = message.sid
        if len(self._wrote) > _TEXTS_KNOWN:
            del self._wrote[next(iter(self._wrote))]

    def _drop_oldest(self, count: int) -> None:
        dropped, self._rows = self._rows[:count], self._rows[count:]
        first = self._rows[0].number
        for message in dropped:
            self._by_sid.pop(message.sid, None)
            for media in message.media:
                self.remove_media(media.sid)
        for address in {a for m in dropped for a in (m.sender, m.recipient)}:
            rows = self._by_address[address]
            if left := rows[bisect_left(rows, first, key=lambda m: m.number) :]:
                self._by_address[address] = left
            else:
                del self._by_address[address]
                self._forget(self.person(address))

    def _forget(self, person: str) -> None:
        """Drops what is known of a person of whom no message is left."""
        addresses = self._addresses_of.get(person, [])
        if not any(address in self._by_address for address in addresses):
            self._addresses_of.pop(person, None)
            self._last_inbound.pop(person, None)
            for address in addresses:
                self._person_of.pop(address, None)


def iso(at: datetime) -> str:
    """A moment with milliseconds, as our own JSON writes it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
