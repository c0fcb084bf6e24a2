"""The values that travel: what a person sent, what Twilio reported; and how they are written into Redis."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

TWILIO: Final = "twilio"
"""The channel's name, in messages and deliveries."""
WIRE_VERSION: Final = 1
"""Version of everything we put into Redis. A worker reads its own and older ones; see `Unreadable`."""


LONGEST_ID: Final = 512
"""In characters; real ones have up to about 160. What is longer than an index entry may be could never be stored."""
Id = Annotated[str, Field(max_length=LONGEST_ID)]


def person_key(identity: str) -> str:
    """The name under which Redis knows an id, so that no address stands in a key, a queue or a log."""
    return blake2b(identity.encode(), digest_size=16).hexdigest()


class Unreadable(ValueError):
    """An entry in Redis that this release cannot read (a newer version, or damaged)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One attachment as the channel announced it; nothing has been fetched."""

    url: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place that a person shared; degrees as the channel wrote them."""

    latitude: str
    longitude: str
    address: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A tapped reply button or list item: `payload` is ours, `text` is what the person saw."""

    payload: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """One message from a person, as it came through the door. All ids are opaque strings.

    `sender` is what to reply to; `external_id` and `parent_external_id` name the person beyond their
    phone number (FACTS: Twilio's `ExternalUserId`, `ParentExternalUserId`) and may be empty.
    """

    channel: str
    provider_id: Id
    sender: Id
    recipient: Id
    received_at: datetime
    text: str = ""
    external_id: Id = ""
    parent_external_id: Id = ""
    profile_name: str = ""
    media: tuple[Media, ...] = ()
    location: Location | None = None
    button: Button | None = None
    quoted_id: Id = ""
    late: bool = False
    """True when the provider itself delivered it late (catch-up), which exempts it from the order at the door."""
    traceparent: str = ""
    """The trace that it came in, as W3C's header has it; "" where nothing is traced."""
    version: int = WIRE_VERSION

    @property
    def person_ids(self) -> tuple[str, ...]:
        """The ids that name the person, strongest first, without repeats or blanks."""
        return tuple(dict.fromkeys(i for i in (self.parent_external_id, self.external_id, self.sender) if i))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What the provider says became of one delivery. `delivery_id` is ours, from the callback URL (0: absent)."""

    channel: str
    provider_id: Id
    status: Id
    received_at: datetime
    delivery_id: int = 0
    error_code: Id = ""
    version: int = WIRE_VERSION


_Wire = TypeVar("_Wire", InboundMessage, StatusReport)
_inbound = TypeAdapter(InboundMessage)
_report = TypeAdapter(StatusReport)


def dump_inbound(message: InboundMessage) -> bytes:
    """The message as one JSON document for a person's inbox."""
    return _inbound.dump_json(message)


def load_inbound(raw: bytes) -> InboundMessage:
    """Raises: Unreadable."""
    return _load(_inbound, raw)


def dump_report(report: StatusReport) -> bytes:
    """The report as one JSON document for the list of reports."""
    return _report.dump_json(report)


def load_report(raw: bytes) -> StatusReport:
    """Raises: Unreadable."""
    return _load(_report, raw)


def _load(adapter: TypeAdapter[_Wire], raw: bytes) -> _Wire:
    try:
        value = adapter.validate_json(raw)
    except ValidationError as error:
        # The error's own text would repeat the input: only the places are named.
        places = sorted({".".join(map(str, e["loc"])) for e in error.errors(include_input=False)})
        raise Unreadable(f"fields {places}") from None
    if value.version > WIRE_VERSION:
        raise Unreadable(f"version {value.version}, this release reads up to {WIRE_VERSION}")
    return value
