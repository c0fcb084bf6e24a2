"""One way of reading letters for people's messages and the cast's own words, so that both always meet."""

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Final

import opencc
import regex

READ_AT_MOST: Final = 4000
"""Characters of a message that routing reads; what stands further down does not change the subject."""

_APOSTROPHES: Final = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4\u0060\uff07", "'"))
# NUL, zero-width characters, direction marks, variation selectors: invisible, in the middle of words on phones.
_INVISIBLE: Final = regex.compile(r"[\x00\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
# The Latin, Greek and Cyrillic accents only: U+3099 is part of a kana, and a letter of its own in Japanese.
_ACCENTS: Final = regex.compile(r"[\u0300-\u036f]")
UNSPACED: Final = r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u30fc"
_WORD: Final = regex.compile(
    rf"(?V1)[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+(?:'[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+)*"
)
_HAS_UNSPACED: Final = regex.compile(rf"[{UNSPACED}]")
_TEXTS_KEPT: Final = 1 << 8
"""Of one message every tier asks for the words, eight times in all."""


def fold(text: str) -> str:
    """Returns the text in one spelling: compatibility forms, case, accents and invisible characters taken out.

    Traditional Chinese characters become simplified ones, in Japanese too.
    """
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text.translate(_APOSTROPHES))).casefold()
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return text.translate(_simplified()) if _HAS_UNSPACED.search(text) else text


@cache
def _simplified() -> Mapping[int, str]:
    """Each traditional character's simplified one, by itself: a phrase cut in two still meets itself. Takes 10 ms."""
    characters = [chr(point) for point in range(0x4E00, 0xA000)]
    # The library carries no types.
    converted = str(opencc.OpenCC("t2s").convert("\n".join(characters)))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    spelled = converted.split("\n")
    return {ord(a): b for a, b in zip(characters, spelled, strict=True) if a != b}


@lru_cache(maxsize=_TEXTS_KEPT)
def words(folded: str) -> tuple[str, ...]:
    """Returns the words of scripts that put spaces between them, in order, an English possessive taken off."""
    return tuple(word.removesuffix("'s") for word in _WORD.findall(folded))


def replace_words(folded: str, by: Callable[[str], str]) -> str:
    """Returns the text with each such word as `by` returns it; what stands between and around stays."""
    return _WORD.sub(lambda found: by(found[0]), folded)


def is_unspaced(folded: str) -> bool:
    """Whether it holds a character of a script without spaces (Chinese, Japanese), or no word at all (an emoji)."""
    return _HAS_UNSPACED.search(folded) is not None or _WORD.search(folded) is None


def length(folded: str) -> float:
    """Returns how long a message is in words; two characters of Chinese or Japanese count as one."""
    return len(_WORD.findall(folded)) + len(_HAS_UNSPACED.findall(folded)) / 2
