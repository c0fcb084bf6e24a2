"""What a turn answers: a fixed text or the character's own words; stores and sends nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from core.characters import Cast, Character
from core.errors import NOTHING, Spent, Transient
from core.formatting import clean_answer, cut_to_sentence, printable
from core.language import detect
from core.limits import Limits
from core.moderation import Judgement, judge
from core.ports import Completion, Llm, Moderator
from core.presence import Presence
from core.prompting import Said, build_prompt, own_names
from core.reply import compose
from core.routing.decision import Decision
from core.routing.route import Router

DELETE_WINDOW: Final = timedelta(minutes=10)
"""How long the question "really delete?" stands; the cast's texts name the same time."""

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

    @property
    def texts(self) -> list[str]:
        """The turn's own texts, oldest first, without empty ones."""
        return [message.text for message in self.own if message.text.strip()]

    @property
    def has_attachments(self) -> bool:
        """Whether something came that nobody here can read yet; a button's title is text."""
        return any(a.get("media") or a.get("location") for m in self.own if (a := m.attachments) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a turn ends. `pieces` is empty when nothing is sent; `text` is what history remembers."""

    outcome: Outcome
    reason: str
    character: str | None = None
    language: str | None = None
    text: str = ""
    pieces: Sequence[str] = ()
    decision: Decision | None = None
    completion: Completion | None = None
    welcomed: bool = False
    silence: Literal["", "on", "off"] = ""
    delete_asked: bool = False
    erase: bool = False
    failure: Literal["", "noticed", "over"] = ""
    limit: Literal["", "noticed", "over"] = ""
    wasted: Spent = NOTHING
    """What went into answers that were worth nothing; the completion's own is not in it."""

    @property
    def spent(self) -> Spent:
        """All that the turn's last attempt used up."""
        return self.wasted if self.completion is None else self.wasted + self.completion.spent


class Answerer:
    """Finds the answer to a turn. Knows the cast, the rules, the LLM and moderation."""

    def __init__(
        self, *, cast: Cast, router: Router, llm: Llm, moderator: Moderator, presence: Presence, limits: Limits
    ) -> None:
        self._cast = cast
        self._router = router
        self._llm = llm
        self._moderator = moderator
        self._presence = presence
        self._limits = limits

    def answer(self, work: Work, *, deadline: float) -> Answer:
        """Returns how the turn ends. `deadline` is on `time.monotonic()`'s clock.

        Raises: Transient, Permanent when the LLM has no answer; see `failure`.
        """
        command = work.own[0].command
        if work.silenced and command not in ("start", "delete"):
            return Answer(outcome="refused", reason="silenced")
        idle = None if work.last_message_at is None else work.own[0].received_at - work.last_message_at
        decision = self._router.route(
            "" if command else "\n".join(work.texts), current=work.character, state=work.route_state, idle=idle
        )
        voice = self._voice(work, decision)
        if command:
            return self._obey(voice, command)
        if not work.texts:
            return voice.fixed("unsupported" if work.has_attachments else "empty", reason="fixed")
        limit = self._limits.reached(conversation_id=work.conversation_id, turn_id=work.turn_id)
        if limit and work.limit_noticed:
            return Answer(outcome="refused", reason=f"limit_{limit}")
        if limit:
            return voice.fixed("budget", reason=f"limit_{limit}", outcome="refused", limit="noticed")
        return self._think(voice, deadline)

    def failure(self, work: Work, reason: str, *, noticed: bool) -> Answer:
        """Returns the notice that nothing could be answered; no pieces where this outage had its notice already."""
        character = self._cast.characters.get(work.character or "", self._cast.default)
        language = detect("\n".join(work.texts), self._cast, work.language)
        if noticed or work.silenced:
            return Answer(outcome="failed", reason=reason, failure="")
        voice = _Voice(cast=self._cast, character=character, language=language, work=work, decision=None)
        return voice.fixed("failure", reason=reason, outcome="failed", failure="noticed")

    def _voice(self, work: Work, decision: Decision) -> "_Voice":
        # A command word alone ("HELP") is no sign that somebody who writes German now writes English.
        known = work.language if work.own[0].command else None
        language = known or detect("\n".join(work.texts), self._cast, work.language)
        character = self._cast.characters[decision.character]
        return _Voice(cast=self._cast, character=character, language=language, work=work, decision=decision)

    def _obey(self, voice: "_Voice", command: str) -> Answer:
        """STOP, START, DELETE and HELP, said as a whole message."""
        work = voice.work
        match command:
            case "stop":
                return voice.fixed("stopped", reason="stop", welcome=False, silence="on")
            case "start":
                return voice.fixed("started", reason="start", silence="off")
            case "delete" if work.delete_asked_at and work.now - work.delete_asked_at < DELETE_WINDOW:
                return voice.fixed("deleted", reason="delete", welcome=False, erase=True)
            case "delete":
                return voice.fixed("delete_ask", reason="delete_ask", welcome=False, delete_asked=True)
            case _:
                return voice.fixed("help", reason="help")

    def _think(self, voice: "_Voice", deadline: float) -> Answer:
        """Moderation, the LLM, moderation again."""
        work, character = voice.work, voice.character
        match judge(self._moderator.check(work.texts)):
            case Judgement.CRISIS:
                return voice.fixed("crisis", reason="crisis", outcome="refused")
            case Judgement.REFUSE:
                return voice.fixed("refusal", reason="moderation_in", outcome="refused")
            case Judgement.PASS:
                pass
        own = [Said(character=None, text=m.text, quoted=m.quoted) for m in work.own if m.text.strip()]
        prompt = build_prompt(self._cast, character, work.history, own, language=voice.language)
        with self._presence.typing(work.channel, work.own[-1].provider_id):
            completion = self._llm.complete(prompt, deadline=deadline)
        if completion.refused:
            return voice.fixed("refusal", reason="llm_refused", outcome="refused", completion=completion)
        text = clean_answer(printable(completion.text), own_names(character))
        if completion.cut:
            text = cut_to_sentence(text)
        if not text:
            raise Transient("empty").having_spent(completion.spent)
        match judge(self._moderator.check([text])):
            case Judgement.PASS:
                return voice.own_words(text, completion)
            case Judgement.CRISIS | Judgement.REFUSE:
                return voice.fixed("refusal", reason="moderation_out", outcome="refused", completion=completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voice:
    """Who answers, in which language: makes answers out of texts."""

    cast: Cast
    character: Character
    language: str
    work: Work
    decision: Decision | None

    def own_words(self, text: str, completion: Completion) -> Answer:
        notice = self._text("unsupported") if self.work.has_attachments else ""
        shown = "\n\n".join(part for part in (text, notice) if part)
        return self._answer(
            text, shown, outcome="answered", reason="llm", completion=completion, failure="over", limit="over"
        )

    def fixed(
        self, key: str, *, reason: str, outcome: Outcome = "answered", welcome: bool = True, **rest: Any
    ) -> Answer:
        text = self._text(key)
        return self._answer(text, text, outcome=outcome, reason=reason, welcome=welcome, **rest)

    def _text(self, key: str) -> str:
        return self.cast.text(key, self.language, self.character)

    def _answer(
        self, text: str, shown: str, *, outcome: Outcome, reason: str, welcome: bool = True, **rest: Any
    ) -> Answer:
        """`text` is remembered, `shown` is sent, to a new person with the line of welcome."""
        welcomes = welcome and outcome != "failed" and not self.work.welcomed
        line = self._text("welcome") if welcomes else ""
        return Answer(
            outcome=outcome,
            reason=reason,
            character=self.character.id,
            language=self.language,
            text=text,
            pieces=compose(self.character, shown, welcome=line),
            decision=self.decision,
            welcomed=welcomes,
            **rest,
        )
