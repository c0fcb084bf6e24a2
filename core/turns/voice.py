"""Who answers a turn, and in which language: makes answers out of the cast's fixed texts and out of the LLM's words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.cast.characters import Cast, Character
from core.prompting import Said
from core.reply.composing import compose
from core.routing.decision import Decision
from core.turns.work import Answer, Outcome, Reply, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One character who answers one turn."""

    cast: Cast
    character: Character
    language: str
    work: Work
    decision: Decision | None
    took_over_from: str = ""
    """Id of whoever was talking before, "" when she goes on or begins."""

    def handed_over(self, to: str) -> "Voice":
        """Returns the voice of the sister whom the model named; the decision is then the model's."""
        decision = self.decision and replace(
            self.decision,
            character=to,
            characters=(to,),
            tier="model",
            why=f"handed over by {self.character.id} ({self.decision.why})",
            switched=self.decision.tier == "stay",
        )
        character = self.cast.characters[to]
        return replace(self, character=character, decision=decision, took_over_from=self.character.id)

    def together(self) -> Sequence["Voice"]:
        """Returns the voices of all who answer this turn, in order."""
        ids = dict.fromkeys(self.decision.characters if self.decision else (self.character.id,))
        return [replace(self, character=self.cast.characters[each]) for each in ids]

    def several_words(self, said: Sequence[Said]) -> Answer:
        """Returns the answer out of what several said, each a reply of her own; notice and welcome are the first one's.

        The person goes on with whoever was talking, if she is one of them, else with the default, else with the first:
        to ask them all is no farewell.
        """
        spoke = {each.character or "": each.text for each in said}
        first, *others = [voice for voice in self.together() if voice.character.id in spoke]
        answer = first.own_words(spoke[first.character.id])
        replies = [
            Reply(
                character=o.character.id, text=spoke[o.character.id], pieces=compose(o.character, spoke[o.character.id])
            )
            for o in others
        ]
        host = next(each for each in (self.work.character, self.cast.default.id, *spoke) if each in spoke)
        return replace(answer, character=host, replies=(*answer.replies, *replies))

    def own_words(self, text: str) -> Answer:
        """Returns the answer out of what the LLM said; what nobody could open is not passed over."""
        notice = self._text("unsupported") if self.work.has_attachments else ""
        shown = "\n\n".join(part for part in (text, notice) if part)
        return self._answer(text, shown, outcome="answered", reason="llm", failure="over", limit="over")

    def fixed(
        self, key: str, *, reason: str, outcome: Outcome = "answered", welcome: bool = True, **rest: Any
    ) -> Answer:
        """Returns the answer that is one of the cast's fixed texts."""
        return self.words(self._text(key), reason=reason, outcome=outcome, welcome=welcome, **rest)

    def words(
        self, text: str, *, reason: str, outcome: Outcome = "answered", welcome: bool = True, **rest: Any
    ) -> Answer:
        """Returns the answer that is this text, which the LLM has no part in."""
        return self._answer(text, text, outcome=outcome, reason=reason, welcome=welcome, **rest)

    def _text(self, key: str) -> str:
        return self.cast.text(key, self.language, self.character)

    def _answer(
        self, text: str, shown: str, *, outcome: Outcome, reason: str, welcome: bool = True, **rest: Any
    ) -> Answer:
        """`text` is remembered, `shown` is sent, to a new person with the line of welcome."""
        welcomes = welcome and outcome != "failed" and not self.work.welcomed
        pieces = compose(self.character, shown, welcome=self._text("welcome") if welcomes else "")
        return Answer(
            outcome=outcome,
            reason=reason,
            character=self.character.id,
            language=self.language,
            replies=(Reply(character=self.character.id, text=text, pieces=pieces),),
            decision=self.decision,
            took_over_from=self.took_over_from,
            welcomed=welcomes,
            **rest,
        )
