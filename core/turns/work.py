"""What a turn has to answer, and how it ends: the values between reading a turn and storing its replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from core.errors import NOTHING, Spent
from core.moderation import Judgement
from core.ports import ChatMessage, Completion, Verdict
from core.prompting import Said
from core.routing.decision import Decision

Outcome = Literal["answered", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage:
    """One of the turn's own messages. `quoted` is the text that it replies to, where we know it."""

    id: int
    provider_id: str
    text: str
    command: str | None
    attachments: Mapping[str, Any] | None
    received_at: datetime
    quoted: str
    traceparent: str | None = None
    """The trace that it came in, if any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A turn with all that is needed to answer it."""

    turn_id: int
    conversation_id: int
    channel: str
    character: str | None
    language: str | None
    route_state: str
    last_message_at: datetime | None
    welcomed: bool
    silenced: bool
    delete_asked_at: datetime | None
    limit_noticed: bool
    now: datetime
    own: Sequence[OwnMessage]
    history: Sequence[Said]
    last_decision: Mapping[str, Any] | None = None
    """The newest stored decision of this conversation; read only for the command that asks for it."""

    @property
    def texts(self) -> list[str]:
        """The turn's own texts, oldest first, without empty ones."""
        return [message.text for message in self.own if message.text.strip()]

    @property
    def has_attachments(self) -> bool:
        """Whether something came that nobody here can read yet; a button's title is text."""
        return any(a.get("media") or a.get("location") for m in self.own if (a := m.attachments) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What moderation said of a turn's texts ("in") or of an answer ("out"), and what followed from it."""

    direction: Literal["in", "out"]
    verdict: Verdict
    judgement: Judgement

    def as_json(self) -> dict[str, Any]:
        """Returns what is stored with the turn."""
        return {
            "direction": self.direction,
            "checked": self.verdict.checked,
            "flagged": self.verdict.flagged,
            "categories": list(self.verdict.categories),
            "judgement": self.judgement.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at an answer: until when, and what was asked of the LLM so far, which is paid for in any case."""

    deadline: float
    """On `time.monotonic()`'s clock; all calls of the attempt share it."""
    calls: list[Completion] = field(default_factory=list[Completion])
    wasted: list[Spent] = field(default_factory=list[Spent])
    """What went into calls that brought nothing."""
    checks: list[Check] = field(default_factory=list[Check])
    prompts: list[Sequence[ChatMessage]] = field(default_factory=list[Sequence[ChatMessage]])
    """What was asked, one entry a call."""

    @property
    def spent(self) -> Spent:
        """All that the attempt used up."""
        return sum((*(call.spent for call in self.calls), *self.wasted), start=NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one character says: `text` is what history remembers, `pieces` what is sent."""

    character: str
    text: str
    pieces: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a turn ends. Without `replies` nothing is sent; `character` is who the person talks with from then on."""

    outcome: Outcome
    reason: str
    character: str | None = None
    language: str | None = None
    replies: Sequence[Reply] = ()
    decision: Decision | None = None
    took_over_from: str = ""
    """Id of whoever was talking before, when that changed with this answer."""
    welcomed: bool = False
    silence: Literal["", "on", "off"] = ""
    delete_asked: bool = False
    erase: bool = False
    failure: Literal["", "noticed", "over"] = ""
    limit: Literal["", "noticed", "over"] = ""
