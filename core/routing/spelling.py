"""Reads misspelt words as the known word that is one slip away, so that every tier sees what was meant."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from rapidfuzz.distance import OSA

from core.cast.characters import Cast
from core.routing.phrases import Phrases
from core.routing.text import fold, replace_words, words

_FROM: Final = 5
"""Letters from which a word may be a misspelling; of shorter ones too many are one slip apart."""
_AT_MOST: Final = 30
_REMEMBERED: Final = 50_000
"""People's words kept in memory with what they were read as (about 10 MB); reading one anew takes about 50 us."""


class Spelling:
    """Knows every word of a cast's topics, examples and texts. Safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases, *, knows: Callable[[str], bool]) -> None:
        """`knows` tells of words that are right as they stand though no list spells them out, such as a plural."""
        self._knows = knows
        self._counts = _vocabulary(cast, phrases)
        self._languages: dict[str, list[str]] = defaultdict(list)
        self._alike: dict[tuple[int, str, int], list[str]] = defaultdict(list)
        for language, counts in self._counts.items():
            for word in counts:
                self._languages[word].append(language)
        for word in filter(_may_be_misspelt, self._languages):
            for end in _ends(word):
                self._alike[*end, len(word)].append(word)
        self._meant = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def mend(self, folded: str) -> str:
        """Returns a folded text with each misspelt word as it was meant; what is known or near nothing stays."""
        found = words(folded)
        if not any(word not in self._languages and _may_be_misspelt(word) for word in found):
            return folded
        language = self._language(found)
        return replace_words(folded, lambda word: self._read(word, language))

    def _language(self, found: Sequence[str]) -> str:
        """The language that most words are of, "" when none is known: a slip is not mended into another language."""
        votes = Counter(language for word in found for language in self._languages.get(word, ()))
        return max(sorted(votes), key=votes.__getitem__, default="")

    def _read(self, word: str, language: str) -> str:
        return word if word in self._languages or not _may_be_misspelt(word) else self._meant(word, language)

    def _look_up(self, word: str, language: str) -> str:
        if self._knows(word):
            return word
        near = (
            candidate
            for end in _ends(word)
            for length in (len(word) - 1, len(word), len(word) + 1)
            for candidate in self._alike.get((*end, length), ())
            if (not language or candidate in self._counts[language])
            and OSA.distance(word, candidate, score_cutoff=1) <= 1
        )
        # Of several, the one that is met most often; of these the first in the alphabet, the same at every start.
        return min(near, key=lambda each: (-self._often(each, language), each), default=word)

    def _often(self, word: str, language: str) -> int:
        return self._counts[language][word] if language else sum(each[word] for each in self._counts.values())


def _may_be_misspelt(word: str) -> bool:
    return _FROM <= len(word) <= _AT_MOST and word.isascii() and word.isalpha()


def _ends(word: str) -> tuple[tuple[int, str], tuple[int, str]]:
    """The first two letters and the last two: one slip leaves either as they are, in words of five letters or more."""
    return (0, word[:2]), (-1, word[-2:])


def _vocabulary(cast: Cast, phrases: Phrases) -> Mapping[str, Counter[str]]:
    """By language, how often each word is met."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for language, text in _texts(cast, phrases):
        counts[language].update(words(fold(text)))
    return dict(counts)


def _texts(cast: Cast, phrases: Phrases) -> Iterable[tuple[str, str]]:
    for language in cast.languages:
        for character in cast.characters.values():
            yield from ((language, alias) for alias in character.aliases)
            if topics := character.topics.get(language):
                yield from ((language, text) for text in (*topics.keywords, *topics.triggers))
        yield from ((language, text) for text in phrases.neutral.get(language, ()))
        yield from ((language, texts[language]) for texts in cast.texts.values() if language in texts)
    yield from ((cast.languages[0], character.prompt) for character in cast.characters.values())
    yield from ((language, word) for word, votes in cast.word_votes.items() for language, _ in votes)
    yield from ((example.language, example.text) for example in cast.examples)
