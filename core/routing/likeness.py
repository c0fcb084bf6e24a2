"""The tier of likeness: asks a model learnt from the cast's examples whom a message sounds like, or whether nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.cast.characters import Cast
from core.routing.decision import Evidence, Opinion, Tier
from core.routing.features import features, groups, place, places_of_word, single_words
from core.routing.lexicon import Term
from core.routing.model import Model
from core.routing.phrases import LikenessThresholds, Phrases
from core.routing.route import Situation
from core.routing.text import fold
from core.routing.words import Vocabulary

NOBODY: Final = ""
POINTS: Final = 10.0
"""What certainty is worth, so that scores stand beside those of the words."""
_REASONS: Final = 4
_LEAST_REASON: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What the model makes of a message."""

    probabilities: Mapping[str, float]
    """By id, "" for nobody."""
    mended: str
    """The message as it was read, misspelt words as they were meant."""
    terms: Sequence[Term]
    """The cast's words in it."""

    @property
    def chosen(self) -> str:
        """Whoever is likeliest."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


class Likeness:
    """Tells whom a message sounds like. Safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases, model: Model, vocabulary: Vocabulary) -> None:
        self._characters = tuple(cast.characters)
        self._thresholds = phrases.likeness
        self._model = model
        self._vocabulary = vocabulary
        self._known = _known_by_character(cast)
        self._nobody = dict.fromkeys(self._characters, 0.0) | {NOBODY: 1.0}

    def __call__(self, situation: Situation, /) -> Opinion | None:
        """Returns who is meant, sure or not; None when it sounds like nobody's subject."""
        guess = self.guess(situation.folded)
        if guess.chosen == NOBODY:
            return None
        return opinion(
            tier="likeness",
            likely=guess.probabilities,
            thresholds=self._thresholds,
            evidence=self.evidence(guess, guess.chosen),
            characters=self._characters,
        )

    def guess(self, folded: str) -> Guess:
        """Returns what the model makes of a folded message."""
        mended, terms = self._vocabulary.read(folded)
        seen = features(mended, terms)
        likely = self._model.probabilities(seen) if seen.pieces or terms else self._nobody
        return Guess(probabilities=likely, mended=mended, terms=terms)

    def evidence(self, guess: Guess, chosen: str) -> tuple[Evidence, ...]:
        """Returns the cast's words and those words of the examples that speak for her; of the message nothing else."""
        found = {term.text: term.points for term in guess.terms if term.character == chosen}
        weights = self._model.weights.pieces[self._model.classes.index(chosen)]
        known = self._known[chosen]
        for word in single_words(guess.mended):
            if word in known and word not in found:
                found[word] = sum(map(weights.__getitem__, places_of_word(word)))
        for group in groups(guess.mended):
            if group in known and group not in found:
                found[group] = weights[place(group)]
        strongest = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:_REASONS]
        return tuple(
            Evidence(term=text, character=chosen, points=round(points, 2))
            for text, points in strongest
            if points >= _LEAST_REASON
        )


def opinion(
    *,
    tier: Tier,
    likely: Mapping[str, float],
    thresholds: LikenessThresholds,
    evidence: tuple[Evidence, ...],
    characters: Sequence[str],
) -> Opinion:
    """Returns what follows from probabilities of which a character's is the highest."""
    (chosen, best), (_, second) = sorted(likely.items(), key=lambda each: -each[1])[:2]
    told = "; ".join(map(str, evidence)) or "as a whole"
    return Opinion(
        tier=tier,
        characters=(chosen,),
        sure=best >= thresholds.sure_at and best - second >= thresholds.lead,
        confidence=round(best, 3),
        scores={each: round(POINTS * likely.get(each, 0.0), 3) for each in characters},
        evidence=evidence,
        why=f"sounds like {chosen}'s examples ({best:.2f}): {told}",
    )


def _known_by_character(cast: Cast) -> dict[str, frozenset[str]]:
    known: dict[str, set[str]] = {each: set() for each in cast.characters}
    for example in cast.examples:
        if example.character != NOBODY:
            folded = fold(example.text)
            known[example.character].update(single_words(folded), groups(folded))
    return {each: frozenset(text for text in texts if len(text) > 1) for each, texts in known.items()}
