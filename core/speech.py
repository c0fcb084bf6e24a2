"""What a turn answers in a character's own words: the LLM asked, handed over where it says so, moderated both ways."""

from typing import Final

from core.characters import Cast
from core.errors import Transient
from core.formatting import clean_answer, cut_to_sentence, printable
from core.moderation import Judgement, judge
from core.ports import Choice, Completion, Llm, Moderator
from core.presence import Presence
from core.prompting import Occasion, Said, build_prompt, hand_over, own_names
from core.voice import Voice
from core.work import Answer, Attempt

_UNSURE: Final = ("stay", "default")
"""Tiers that mean that nobody was sure: only then may the model hand over."""


class _Declined(Exception):
    """The model, the vendor's filter or moderation keeps the character from saying it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Speech:
    """Asks the LLM for a character's words."""

    def __init__(self, *, cast: Cast, llm: Llm, moderator: Moderator, presence: Presence) -> None:
        self._cast = cast
        self._llm = llm
        self._moderator = moderator
        self._presence = presence

    def answer(self, voice: Voice, attempt: Attempt) -> Answer:
        """Returns the answer; a refusal of the person's words or of the model's is one of the fixed texts.

        Raises: Transient, Permanent when the LLM has none.
        """
        work = voice.work
        match judge(self._moderator.check(work.texts)):
            case Judgement.CRISIS:
                return voice.fixed("crisis", reason="crisis", outcome="refused")
            case Judgement.REFUSE:
                return voice.fixed("refusal", reason="moderation_in", outcome="refused")
            case Judgement.PASS:
                pass
        with self._presence.typing(work.channel, work.own[-1].provider_id):
            return self._alone(voice, attempt)

    def _alone(self, voice: Voice, attempt: Attempt) -> Answer:
        """One character's answer, or that of the one to whom she hands over: once a turn, so nobody is sent round."""
        unsure = voice.decision is not None and voice.decision.tier in _UNSURE
        choice = hand_over(self._cast, voice.character) if unsure else None
        completion = self._ask(voice, attempt, choice)
        if completion.chosen:
            voice = voice.handed_over(completion.chosen)
            completion = self._ask(voice, attempt)
        elif completion.chosen is not None and not completion.text:
            completion = self._ask(voice, attempt)  # a call that names nobody is no answer and no handing over
        try:
            return voice.own_words(self._say(voice, completion))
        except _Declined as declined:
            return voice.fixed("refusal", reason=declined.reason, outcome="refused")

    def _ask(self, voice: Voice, attempt: Attempt, choice: Choice | None = None) -> Completion:
        work = voice.work
        own = [Said(character=None, text=m.text, quoted=m.quoted) for m in work.own if m.text.strip()]
        occasion = Occasion(takes_over_from=voice.took_over_from, may_hand_over=choice is not None)
        prompt = build_prompt(
            self._cast, voice.character, work.history, own, language=voice.language, occasion=occasion
        )
        completion = self._llm.complete(prompt, deadline=attempt.deadline, choice=choice)
        attempt.calls.append(completion)
        return completion

    def _say(self, voice: Voice, completion: Completion) -> str:
        """Returns the words as the character says them. Raises: _Declined, Transient."""
        if completion.refused:
            raise _Declined("llm_refused")
        text = clean_answer(printable(completion.text), own_names(voice.character))
        if completion.cut:
            text = cut_to_sentence(text)
        if not text:
            raise Transient("empty")
        if judge(self._moderator.check([text])) is not Judgement.PASS:
            raise _Declined("moderation_out")
        return text
