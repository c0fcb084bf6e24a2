"""The tier of words: each of the cast's topic words in a message counts for its character, a strong one for five."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from core.cast.characters import Cast
from core.routing.decision import Evidence, Opinion
from core.routing.lexicon import Lexicon, Term
from core.routing.phrases import Phrases
from core.routing.spelling import Spelling
from core.routing.text import length

KEYWORD_POINTS: Final = 1.0
TRIGGER_POINTS: Final = 5.0
_LENGTH_FACTOR: Final = (0.5, 1.5)
"""Bounds of the adjustment to a message's length."""
_DOUBT: Final = 1.0
"""Points that stand for what was not recognised: they keep a lone keyword's confidence at one half."""
_REASONS_TOLD: Final = 4
_MESSAGES_KEPT: Final = 1 << 6
"""The next tier reads the same message; meanwhile other threads may read a few dozen others."""


class Vocabulary:
    """All that a cast has words for: reads a message with its slips mended. Safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases) -> None:
        terms = (*topic_terms(cast), *_neutral(phrases))
        self._lexicon = Lexicon(terms, endings=phrases.endings, compounds=phrases.compounds)
        self._spelling = Spelling(cast, phrases, knows=self._lexicon.knows)
        self._read = lru_cache(maxsize=_MESSAGES_KEPT)(self._read_anew)

    def read(self, folded: str) -> tuple[str, Sequence[Term]]:
        """Returns a folded message as it was meant, and the topic words in it."""
        return self._read(folded)

    def _read_anew(self, folded: str) -> tuple[str, Sequence[Term]]:
        mended = self._spelling.mend(folded)
        return mended, tuple(self._lexicon.find(mended))


class Words:
    """Scores a message by the cast's topic words. Compiled once, safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases, vocabulary: Vocabulary | None = None) -> None:
        self._characters = tuple(cast.characters)
        self._thresholds = phrases.thresholds
        # With examples, what is less clear is for the tier of likeness, which knows these words and the others too.
        self._lead = phrases.likeness.words_lead if cast.examples else 0.0
        self._vocabulary = vocabulary or Vocabulary(cast, phrases)

    def opinion(self, folded: str, *, favoured: tuple[str, ...]) -> Opinion | None:
        """Returns what the words say, None when none is known; of equals, the first of `favoured` is chosen."""
        terms = sorted(self._vocabulary.read(folded)[1], key=lambda term: (-term.points, term.text, term.character))
        if not terms:
            return None
        factor = self._factor(folded)
        scores = dict.fromkeys(self._characters, 0.0)
        for term in terms:
            scores[term.character] += term.points
        scores = {each: round(points * factor, 3) for each, points in scores.items()}
        best = max(scores.values())
        chosen = next(each for each in (*favoured, *self._characters) if scores.get(each) == best)
        second = max((points for each, points in scores.items() if each != chosen), default=0.0)
        evidence = tuple(Evidence(term=t.text, character=t.character, points=t.points) for t in terms)
        return Opinion(
            tier="words",
            characters=(chosen,),
            sure=best >= self._thresholds.sure_at and best - second >= self._lead,
            confidence=round(best / (best + second + _DOUBT), 3),
            scores=scores,
            evidence=evidence,
            why="; ".join(map(str, evidence[:_REASONS_TOLD])),
        )

    def _factor(self, folded: str) -> float:
        low, high = _LENGTH_FACTOR
        return min(high, max(low, math.sqrt(self._thresholds.full_length_words / max(length(folded), 1.0))))


def topic_terms(cast: Cast) -> Iterable[Term]:
    """Returns every topic word of every character."""
    for character in cast.characters.values():
        for language, topics in character.topics.items():
            for texts, points in ((topics.triggers, TRIGGER_POINTS), (topics.keywords, KEYWORD_POINTS)):
                for text in texts:
                    yield Term(text=text, language=language, character=character.id, points=points)


def _neutral(phrases: Phrases) -> Iterable[Term]:
    for language, texts in phrases.neutral.items():
        for text in texts:
            yield Term(text=text, language=language, character="", points=0.0)
