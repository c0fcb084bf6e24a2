"""What the model of likeness sees of a message: pieces of its words, as places in a table, and the cast's own words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zlib import crc32

import regex

from core.routing.lexicon import Term
from core.routing.text import UNSPACED, words

PLACES: Final = 1 << 18
"""Of the table of pieces; two pieces may share a place, which costs less than keeping their names."""
HINT_PLACES: Final = 1 << 8
_PIECES: Final = (3, 4, 5)
"""Letters of a word's pieces, its beginning and end marked: they survive inflection and misspelling."""
_CHARACTERS: Final = (1, 2, 3)
"""Lengths of pieces where no spaces tell the words."""
_MOST_WORDS: Final = 300
"""Words of a message that are looked at, and as many characters of unspaced writing."""
_LONGEST_WORD: Final = 40
_COUNTED_TO: Final = 3
_STRONG: Final = 1.0
"""Points above which a term of the cast is a trigger."""
_WORDS_KEPT: Final = 1 << 14
"""Words whose places are remembered: most words of a message were in others before it."""
_VOWELS: Final = regex.compile("[aeiouyh]")
_REPEATED: Final = regex.compile(r"(.)\1+")
_LEAST_SKELETON: Final = 2
_RUN: Final = regex.compile(rf"[{UNSPACED}]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """One message: places in the two tables, sorted, each once."""

    pieces: Sequence[int]
    hints: Sequence[int]


def features(folded: str, terms: Sequence[Term]) -> Features:
    """Returns what a folded message shows; `terms` are the cast's words that a lexicon found in it."""
    pieces = set(map(place, groups(folded)))
    pieces.update(*map(places_of_word, set(single_words(folded))))
    return Features(
        pieces=sorted(pieces),
        hints=sorted({crc32(hint.encode()) % HINT_PLACES for hint in _hints(terms)}),
    )


def single_words(folded: str) -> list[str]:
    """Returns the words of scripts with spaces, in order."""
    return [word[:_LONGEST_WORD] for word in words(folded)[:_MOST_WORDS]]


@lru_cache(maxsize=_WORDS_KEPT)
def places_of_word(word: str) -> frozenset[int]:
    """Returns where the table keeps what stands for one word: itself and its pieces."""
    marked = f"<{word}>"
    found = [f"={word}"]
    for size in _PIECES:
        found += [marked[start : start + size] for start in range(len(marked) - size + 1)]
    if skeleton := _skeleton(word):
        found.append(f"~{skeleton}")
    return frozenset(map(place, found))


def _skeleton(word: str) -> str:
    """What is left of a word where people leave out vowels and double letters ("pyr", "pyaar"); "" of too little."""
    if not word.isascii() or not word.isalpha():
        return ""
    bare = _REPEATED.sub(r"\1", word[:1] + _VOWELS.sub("", word[1:]))
    return bare if len(bare) >= _LEAST_SKELETON else ""


def groups(folded: str) -> list[str]:
    """Returns what stands for itself alone: pairs of neighbouring words, and short runs of unspaced characters."""
    found = single_words(folded)
    names = [f"{one} {other}" for one, other in pairwise(found)]
    left = _MOST_WORDS
    for run in _RUN.findall(folded):
        for size in _CHARACTERS:
            names += [run[start : start + size] for start in range(min(len(run), left) - size + 1)]
        left = max(0, left - len(run))
    return names


def place(piece: str) -> int:
    """Returns where the table keeps a piece."""
    return crc32(piece.encode("utf-8", "replace")) % PLACES


def _hints(terms: Sequence[Term]) -> Iterable[str]:
    """What the cast's words say without naming them, so that one weight holds for all words of a character."""
    strong = Counter(term.character for term in terms if term.points > _STRONG)
    weak = Counter(term.character for term in terms if term.points <= _STRONG)
    for kind, counts in (("strong", strong), ("weak", weak)):
        for character, count in counts.items():
            yield f"{kind} {character}"
            yield f"{kind} {character} {min(count, _COUNTED_TO)}"
    points: dict[str, float] = {}
    for term in terms:
        points[term.character] = points.get(term.character, 0.0) + term.points
    if not points:
        yield "nothing"
        return
    best = max(points.values())
    leading = [character for character, each in points.items() if each == best]
    if len(leading) == 1:
        yield f"leads {leading[0]}"
    if len(points) == 1:
        yield f"alone {leading[0]}"
