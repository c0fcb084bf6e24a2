"""What the use cases need from the outside, as Protocols; core/adapters/ holds what meets them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, Protocol, TypeAlias

from core.errors import Spent
from core.model import InboundMessage, Media, StatusReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One entry of a prompt."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A function that the model may call instead of answering: its one argument names one of `options`."""

    name: str
    description: str
    argument: str
    options: Mapping[str, str]
    """What may be named > what that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the LLM answered. `cut` is true when the answer ended at the token limit.

    Tokens and cost are those of this question to whoever was asked, also where another's answer was worth nothing.
    """

    text: str
    cut: bool
    refused: bool
    """True when the model or the vendor's filter declined to answer; `text` is then not for the person."""
    provider: str
    model: str
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal
    took: timedelta
    chosen: str | None = None
    """Which option of the choice the model named; "" when it called without naming one, None without a call."""

    @property
    def spent(self) -> Spent:
        """What the answer used up."""
        return Spent(tokens_in=self.tokens_in, tokens_out=self.tokens_out, cost_usd=self.cost_usd)


class Llm(Protocol):
    """A language model behind a bound on the whole call."""

    def complete(self, prompt: Sequence[ChatMessage], *, deadline: float, choice: Choice | None = None) -> Completion:
        """Returns the answer, never empty unless `refused` or `chosen`. `deadline` is on `time.monotonic()`'s clock.

        `choice` is a wish: a provider that knows no functions answers without it.

        Raises: Transient (worth another try later), Permanent (never with this configuration); both say what was
        `spent` on answers that were worth nothing.
        """
        ...


Vector: TypeAlias = Sequence[float]
"""32-bit floats in an `array`."""


class Embedder(Protocol):
    """Gives texts places in a space where like lies near like."""

    @property
    def model(self) -> str:
        """Vectors of different models cannot be compared."""
        ...

    def vectors(self, texts: Sequence[str], *, timeout: timedelta) -> Sequence[Vector]:
        """Returns one vector for each text, in order, all of one length. Raises: Transient, Permanent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What moderation says of some texts. `checked` is false when it could not be asked (which passes)."""

    flagged: bool = False
    self_harm: bool = False
    categories: tuple[str, ...] = ()
    checked: bool = True


class Moderator(Protocol):
    """Judges texts; fails open."""

    def check(self, texts: Sequence[str]) -> Verdict:
        """Returns within 2 s; never raises: what could not be judged passes with `checked=False`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One piece of a reply, ready for the channel. `sender` is our number, `recipient` the person."""

    delivery_id: int
    sender: str
    recipient: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMessage:
    """One row of the provider's own message log."""

    provider_id: str
    sender: str
    recipient: str
    body: str
    inbound: bool
    status: str
    error_code: str
    created_at: datetime | None
    sent_at: datetime | None = None
    """Of an inbound message: when the provider called our webhook."""
    media_count: int = 0


class Channel(Protocol):
    """A messaging provider: one adapter each."""

    def send(self, message: Outgoing) -> str:
        """Returns the provider's id once it accepted the message.

        Raises: Transient (not accepted, may be tried again), Permanent (never), Ambiguous (may have been accepted).
        """
        ...

    def recent_to(self, recipient: str, *, limit: int) -> Sequence[ProviderMessage]:
        """Returns the newest messages to that person, newest first, for finding out what an Ambiguous send did.

        Raises: Transient, Permanent.
        """
        ...

    def received(self, recipient: str, *, since: datetime, until: datetime) -> Iterator[ProviderMessage]:
        """Yields what people sent to that number of ours between these times, newest first, page by page.

        Raises: Transient, Permanent, also in the middle of the iteration.
        """
        ...

    def fetch(self, provider_id: str) -> ProviderMessage:
        """Returns one message of the log as it is now. Raises: Transient, Permanent."""
        ...

    def media(self, provider_id: str) -> Sequence[Media]:
        """Returns the attachments of an inbound message. Raises: Transient, Permanent."""
        ...

    def show_typing(self, provider_id: str) -> None:
        """Shows "typing" in answer to that inbound message for up to 25 s; returns within 2 s, never raises."""
        ...


class MessageLog(Protocol):
    """The provider's own record of what it carried, to compare ours with."""

    def log(self, since: datetime, until: datetime) -> Iterator[ProviderMessage]:
        """Yields all messages of the account between these times, both ways, page by page.

        Raises: Transient, Permanent, also in the middle of the iteration.
        """
        ...

    def fetch(self, provider_id: str) -> ProviderMessage:
        """Returns the message with that id as the provider sees it now.

        Raises: Transient, Permanent (also when there is none: `code` is then 20404).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What waits in one person's inbox: raw entries, oldest first, as the door wrote them."""

    person: str
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was erased of a person: the keys of their inboxes, and what waited there."""

    persons: Sequence[str]
    entries: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much waits in Redis; `oldest` is how long the inbox that waits longest has waited."""

    inboxes: int
    oldest: timedelta
    reports: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How full Redis is; `most_bytes` is 0 without a bound. `unwritten`: its files whose last write failed."""

    used_bytes: int
    most_bytes: int
    unwritten: Sequence[str]


class Queue(Protocol):
    """The queue of wake-ups."""

    def depth(self) -> int:
        """Returns how many wait in it. Raises: Transient."""
        ...


class Door(Protocol):
    """The webhook's side of Redis: order is fixed here. Every call is bounded to 1 s in all.

    Both raise Transient when Redis did not answer in time: the caller then answers 503.
    """

    def accept(self, message: InboundMessage) -> None:
        """Appends the message to its person's inbox and wakes a worker."""
        ...

    def report(self, report: StatusReport) -> None:
        """Appends a status report to the list of reports and wakes a worker."""
        ...

    def ready(self) -> bool:
        """Whether Redis answers. Never raises."""
        ...


class Inboxes(Protocol):
    """The worker's side of Redis. All raise Transient when Redis does not answer."""

    def read(self, person: str, *, limit: int) -> Inbox:
        """Returns the oldest entries of the inbox that the wake-up names; removes nothing."""
        ...

    def remove(self, inbox: Inbox) -> int:
        """Removes exactly these entries, whoever else did so meanwhile, and returns how many still wait."""
        ...

    def waiting(self, *, older_than: timedelta, limit: int) -> Sequence[str]:
        """Returns the persons whose inbox has waited longer, longest first."""
        ...

    def backlog(self) -> Backlog:
        """Returns how much waits."""
        ...

    def room(self) -> Room | None:
        """Returns how much room Redis has; None where it does not let us ask."""
        ...

    def read_reports(self, *, reader: str, limit: int) -> tuple[bytes, ...]:
        """Returns the oldest status reports, none while another reader has them; removes nothing.

        They are a reader's until it has removed the last one, or for a few seconds after it has read.
        """
        ...

    def remove_reports(self, entries: Sequence[bytes], *, reader: str) -> int:
        """Removes those of these reports that are still there, whoever took others, and returns how many wait."""
        ...

    def put_back(self, person: str, entry: bytes) -> None:
        """Appends an entry to the inbox of that person key; the sweep takes it in."""
        ...

    def put_back_report(self, entry: bytes) -> None:
        """Appends an entry to the list of status reports; the sweep takes it in."""
        ...

    def forget(self, ids: Sequence[str]) -> Forgotten:
        """Erases the inboxes and aliases of a person named by these ids."""
        ...
