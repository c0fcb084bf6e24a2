"""What a turn answers: a command's text, a notice, or a character's own words; stores and sends nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from core import tracing
from core.cast.characters import Cast, normalise
from core.cast.files import WHY
from core.cast.language import detect
from core.reasons import told
from core.routing.decision import Decision
from core.routing.route import Router
from core.turns.limits import Limits
from core.turns.speech import Speech
from core.turns.voice import Voice
from core.turns.work import Answer, Attempt, Work

DELETE_WINDOW: Final = timedelta(minutes=10)
"""How long the question "really delete?" stands; the cast's texts name the same time."""


class Answerer:
    """Finds the answer to a turn: who gives it, and whether it takes the LLM."""

    def __init__(self, *, cast: Cast, router: Router, speech: Speech, limits: Limits) -> None:
        self._cast = cast
        self._router = router
        self._speech = speech
        self._limits = limits

    def answer(self, work: Work, attempt: Attempt) -> Answer:
        """Returns how the turn ends; notes in `attempt` what was asked of the LLM, also when it raises.

        Raises: Transient, Permanent when the LLM has no answer; see `failure`.
        """
        command = work.own[0].command
        if work.silenced and command not in ("start", "delete"):
            return Answer(outcome="refused", reason="silenced")
        if command:
            return self._obey(work, command)
        idle = None if work.last_message_at is None else work.own[0].received_at - work.last_message_at
        with tracing.span("route") as span:
            text = "\n".join(work.texts)
            decision = self._router.route(text, current=work.character, state=work.route_state, idle=idle)
            span.set({"sisters.route.character": decision.character, "sisters.route.tier": decision.tier})
        voice = self._voice(work, decision)
        if not work.texts:
            return voice.fixed("unsupported" if work.has_attachments else "empty", reason="fixed")
        limit = self._limits.reached(conversation_id=work.conversation_id, turn_id=work.turn_id)
        if limit and work.limit_noticed:
            return Answer(outcome="refused", reason=f"limit_{limit}")
        if limit:
            return voice.fixed("budget", reason=f"limit_{limit}", outcome="refused", limit="noticed")
        return self._speech.answer(voice, attempt)

    def failure(self, work: Work, reason: str, *, noticed: bool) -> Answer:
        """Returns the notice that nothing could be answered; no reply where this outage had its notice already."""
        if noticed or work.silenced:
            return Answer(outcome="failed", reason=reason, failure="")
        return self._voice(work, None).fixed("failure", reason=reason, outcome="failed", failure="noticed")

    def _voice(self, work: Work, decision: Decision | None) -> Voice:
        """Whom the routing named; without it whoever is talking."""
        # A command word alone ("HELP") is no sign that somebody who writes German now writes English.
        known = work.language if work.own and work.own[0].command else None
        current = self._cast.characters.get(work.character or "", self._cast.default)
        return Voice(
            cast=self._cast,
            character=self._cast.characters[decision.character] if decision else current,
            language=known or detect("\n".join(work.texts), self._cast, work.language),
            work=work,
            decision=decision,
            took_over_from=current.id if decision is not None and decision.switched else "",
        )

    def _tell_why(self, voice: Voice) -> Answer:
        """The true reason of the last decision, by whoever is talking, in the language of the question."""
        work = voice.work
        tags = self._cast.command_languages.get(normalise(work.own[0].text), ())
        if tags and voice.language not in tags:
            voice = replace(voice, language=tags[0])
        return voice.words(told(self._cast, voice.character, voice.language, work.last_decision), reason=WHY)

    def _obey(self, work: Work, command: str) -> Answer:
        """STOP, START, DELETE, HELP and "why you?", said as a whole message."""
        voice = self._voice(work, None)
        match command:
            case "stop":
                return voice.fixed("stopped", reason="stop", welcome=False, silence="on")
            case "start":
                return voice.fixed("started", reason="start", silence="off")
            case "delete" if work.delete_asked_at and work.now - work.delete_asked_at < DELETE_WINDOW:
                return voice.fixed("deleted", reason="delete", welcome=False, erase=True)
            case "delete":
                return voice.fixed("delete_ask", reason="delete_ask", welcome=False, delete_asked=True)
            case "why":
                return self._tell_why(voice)
            case _:
                return voice.fixed("help", reason="help")
