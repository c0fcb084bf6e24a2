"""What a turn answers in a character's own words: the LLM asked, handed over where it says so, moderated both ways."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Final, Literal

import structlog

from core import tracing
from core.cast.characters import Cast
from core.errors import EMPTY, OutsideError, Permanent, Transient
from core.moderation import Judgement, judge
from core.ports import Completion, Llm, Moderator
from core.prompting import Occasion, Said, build_prompt, hand_over, own_names
from core.reply.formatting import clean_answer, cut_to_sentence, printable, shows
from core.turns.presence import Presence
from core.turns.voice import Voice
from core.turns.work import Answer, Attempt, Check

_UNSURE: Final = ("stay", "default")
"""Tiers that mean that nobody was sure: only then may the model hand over."""


_log = structlog.stdlib.get_logger(__name__)


class _Declined(Exception):
    """The model, the vendor's filter or moderation keeps the character from saying it."""

    def __init__(self, reason: str, voice: Voice) -> None:
        super().__init__(reason)
        self.reason = reason
        self.voice = voice


class Speech:
    """Asks the LLM for a character's words."""

    def __init__(
        self, *, cast: Cast, llm: Llm, moderator: Moderator, presence: Presence, call_takes_at_most: timedelta
    ) -> None:
        self._cast = cast
        self._llm = llm
        self._moderator = moderator
        self._presence = presence
        self._call_takes_s = call_takes_at_most.total_seconds()

    def answer(self, voice: Voice, attempt: Attempt) -> Answer:
        """Returns the answer; a refusal of the person's words or of the model's is one of the fixed texts.

        Raises: Transient, Permanent when the LLM has none.
        """
        work = voice.work
        match self._check("in", work.texts, attempt):
            case Judgement.CRISIS:
                return voice.fixed("crisis", reason="crisis", outcome="refused")
            case Judgement.REFUSE:
                return voice.fixed("refusal", reason="moderation_in", outcome="refused")
            case Judgement.PASS:
                pass
        voices = voice.together()
        with self._presence.typing(work.channel, work.own[-1].provider_id):
            try:
                return self._together(voice, voices, attempt) if len(voices) > 1 else self._alone(voice, attempt)
            except _Declined as declined:
                return declined.voice.fixed("refusal", reason=declined.reason, outcome="refused")

    def _alone(self, voice: Voice, attempt: Attempt) -> Answer:
        """One character's answer, or that of the one to whom she hands over: once a turn, so nobody is sent round."""
        unsure = voice.decision is not None and voice.decision.tier in _UNSURE and len(self._cast.characters) > 1
        takes_over = Occasion(takes_over_from=voice.took_over_from)
        completion = self._ask(voice, attempt, replace(takes_over, may_hand_over=unsure))
        if completion.chosen:
            voice = voice.handed_over(completion.chosen)
            completion = self._ask(voice, attempt, Occasion(takes_over_from=voice.took_over_from))
        elif completion.chosen is not None and not completion.text:
            completion = self._ask(voice, attempt, takes_over)  # a call that names nobody is no answer
        return voice.own_words(self._say(voice, completion, attempt))

    def _together(self, voice: Voice, voices: Sequence[Voice], attempt: Attempt) -> Answer:
        """Each one's answer, one after the other, knowing those before; who has none, or no time left, is left out.

        Raises: Transient (then all are asked again: nothing was sent); what the first one met, when nobody has any.
        """
        said: list[Said] = []
        silent: list[Exception] = []
        for each in voices:
            if (said or silent) and attempt.deadline - monotonic() < self._call_takes_s:
                _log.info("left_out", turn=voice.work.turn_id, character=each.character.id, reason="deadline")
                break
            occasion = Occasion(together=[v.character.id for v in voices], said=tuple(said))
            try:
                text = self._say(each, self._ask(each, attempt, occasion), attempt)
            except (_Declined, Permanent, Transient) as error:
                if isinstance(error, Transient) and error.reason != EMPTY:
                    raise
                silent.append(error)
                _log.info("left_out", turn=voice.work.turn_id, character=each.character.id, reason=error.reason)
            else:
                said.append(Said(character=each.character.id, text=text))
        if not said:
            raise silent[0]
        return voice.several_words(said)

    def _ask(self, voice: Voice, attempt: Attempt, occasion: Occasion) -> Completion:
        work = voice.work
        own = [Said(character=None, text=m.text, quoted=m.quoted) for m in work.own if m.text.strip()]
        choice = hand_over(self._cast, voice.character) if occasion.may_hand_over else None
        prompt = build_prompt(
            self._cast, voice.character, work.history, own, language=voice.language, occasion=occasion
        )
        attempt.prompts.append(prompt)
        try:
            completion = self._llm.complete(prompt, deadline=attempt.deadline, choice=choice)
        except OutsideError as error:
            attempt.wasted.append(error.spent)
            raise
        attempt.calls.append(completion)
        return completion

    def _check(self, direction: Literal["in", "out"], texts: Sequence[str], attempt: Attempt) -> Judgement:
        with tracing.span("moderate", {"sisters.moderation.direction": direction}, kind="client") as span:
            verdict = self._moderator.check(texts)
            judgement = judge(verdict)
            span.set({"sisters.moderation.checked": verdict.checked, "sisters.moderation.judgement": judgement.value})
        attempt.checks.append(Check(direction=direction, verdict=verdict, judgement=judgement))
        return judgement

    def _say(self, voice: Voice, completion: Completion, attempt: Attempt) -> str:
        """Returns the words as the character says them. Raises: _Declined, Transient."""
        if completion.refused:
            raise _Declined("llm_refused", voice)
        text = clean_answer(printable(completion.text), own_names(voice.character))
        if completion.cut:
            text = cut_to_sentence(text)
        if not shows(text):
            raise Transient(EMPTY)
        if self._check("out", [text], attempt) is not Judgement.PASS:
            raise _Declined("moderation_out", voice)
        return text
