"""Finds whole phrases in a message by their words, without patterns: fast enough to look for hundreds of them."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from core.routing.text import fold, is_unspaced, words

_WORDS_BEFORE: Final = 4
_LETTERS_BEFORE: Final = 3


class Spotter:
    """Phrases in their exact words; in scripts without spaces, wherever their characters stand."""

    def __init__(self, texts: Iterable[str], *, but_not_after: Iterable[str] = ()) -> None:
        """`but_not_after` are words that undo a phrase when they stand shortly before it ("not all of you")."""
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        folded = sorted({fold(text) for text in texts}, key=lambda text: (-len(text), text))
        self._unspaced = tuple(text for text in folded if is_unspaced(text))
        for text in folded:
            if not is_unspaced(text):
                first, *rest = words(text)
                self._phrases[first].append((tuple(rest), text))
        undoing = {fold(text) for text in but_not_after}
        self._undoing = frozenset(text for text in undoing if not is_unspaced(text))
        self._undoing_unspaced = tuple(text for text in undoing if is_unspaced(text))

    def first(self, folded: str) -> str | None:
        """Returns the first phrase in a folded message as the cast spells it, folded; None when there is none."""
        said = words(folded)
        for place, word in enumerate(said):
            for rest, text in self._phrases.get(word, ()):
                before = said[max(0, place - _WORDS_BEFORE) : place]
                if said[place + 1 : place + 1 + len(rest)] == rest and self._undoing.isdisjoint(before):
                    return text
        return None if folded.isascii() else self._first_unspaced(folded)

    def _first_unspaced(self, folded: str) -> str | None:
        for text in self._unspaced:
            place = folded.find(text)
            if place >= 0:
                before = folded[max(0, place - _LETTERS_BEFORE) : place]
                if not any(undoing in before for undoing in self._undoing_unspaced):
                    return text
        return None
