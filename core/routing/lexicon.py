"""Finds the cast's words in a message: inflected, in phrases, in compounds, and in scripts without spaces."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

import Stemmer

from core.routing.text import fold, is_unspaced, words

_STEMMERS: Final = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nl": "dutch", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip
"""Snowball's algorithms by primary language; a language without one is matched in its exact forms."""

_STEM_FROM: Final = 3
"""Letters from which a word is stemmed: shorter ones are their own stem or another language's word."""
_SHARED_FROM: Final = 4
"""Letters that a word shares with the term that it is a form of, where the term has as many."""
_ENDING_OF_SHORT: Final = 2
"""Letters by which a word may be longer than a term that is shorter than these."""
_COMPOUND_PART_FROM: Final = 5
"""Letters of a term from which it counts as part of a compound."""
_COMPOUND_REST_FROM: Final = 3
"""Letters that a compound has beyond the term."""
_HEAD: Final = 3
"""First letters that a word shares with its stem; comparing them first spares most stemming (20 us a language)."""
_PREFIXING: Final = frozenset({"ar", "id", "nl"})
"""Languages whose stemmer takes off prefixes, so that a stem need not begin like its word."""
_HIRAGANA_FROM: Final = 3
"""Letters from which a katakana word is known in hiragana too."""
_KATAKANA_AFTER: Final = 0x60
"""Places of Unicode between a hiragana and its katakana."""
_SCRIPT_SUBTAG: Final = 4
"""Letters of a script in a language tag ("hi-Latn")."""
_LONGEST_WORD: Final = 60
"""Letters beyond which nothing is a word: it is neither looked up nor kept."""
_REMEMBERED_WORDS: Final = 50_000
"""People's words whose meaning is kept in memory (about 10 MB); looking one up anew costs about 0.1 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One word or phrase of one character in one language; `character` "" is a phrase without a subject."""

    text: str
    language: str
    character: str
    points: float


@dataclass(frozen=True, slots=True)
class _Form:
    """What a person's word may stand for: parts of terms as (language, word), and terms of this one word."""

    parts: frozenset[tuple[str, str]]
    terms: tuple[Term, ...]


_UNKNOWN: Final = _Form(frozenset(), ())


class _Stemmer(Protocol):
    def stemWord(self, word: str, /) -> str: ...  # noqa: N802 (the library's own name)


class Lexicon:
    """All terms of a cast, compiled once. Safe to share between threads."""

    def __init__(
        self, terms: Iterable[Term], *, endings: Mapping[str, Sequence[str]], compounds: Sequence[str]
    ) -> None:
        self._endings = {language: frozenset(map(fold, each)) for language, each in endings.items()}
        self._compounds = frozenset(compounds)
        self._singles: dict[tuple[str, str], list[Term]] = defaultdict(list)
        self._phrases: dict[tuple[str, str], list[tuple[tuple[str, ...], Term]]] = defaultdict(list)
        self._unspaced: dict[str, list[Term]] = defaultdict(list)
        self._languages: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, dict[str, list[str]]] = {}
        self._heads: dict[str, set[str]] = {}
        # A Snowball stemmer keeps the word it works on in itself: two threads in one would mix their words.
        self._stemming = threading.Lock()
        self._stemmers: dict[str, _Stemmer] = {}
        for term in terms:
            self._add(term)
        self._lengths = _lengths_by_head(self._unspaced)
        self._form = lru_cache(maxsize=_REMEMBERED_WORDS)(self._look_up)

    def find(self, folded: str) -> list[Term]:
        """Returns the characters' terms in a folded message, each once; a word inside a phrase counts with it only."""
        forms = [self._form(word) if len(word) <= _LONGEST_WORD else _UNKNOWN for word in words(folded)]
        spans = sorted(self._spans(forms), key=lambda span: (span[0] - span[1], span[0]))
        found: dict[tuple[str, str], Term] = {}
        taken: set[int] = set()
        accepted: set[tuple[int, int]] = set()
        for start, end, term in spans:
            # Two characters may share a phrase: the second meets its own span, already taken.
            if (start, end) in accepted or taken.isdisjoint(range(start, end)):
                accepted.add((start, end))
                taken.update(range(start, end))
                _keep(found, term)
        for place, form in enumerate(forms):
            if place not in taken:
                for term in form.terms:
                    _keep(found, term)
        for term in self._find_unspaced(folded):
            _keep(found, term)
        return list(found.values())

    def knows(self, word: str) -> bool:
        """Whether a folded word is a term, a part of one, or a form of either."""
        return self._form(word) is not _UNKNOWN

    def _add(self, term: Term) -> None:
        folded = fold(term.text)
        if is_unspaced(folded):
            for spelled in {folded, _in_hiragana(folded)}:
                self._unspaced[spelled].append(term)
            return
        parts = words(folded)
        for part in parts:
            self._learn(part, term.language)
        if len(parts) == 1:
            self._singles[term.language, parts[0]].append(term)
        else:
            self._phrases[term.language, parts[0]].append((tuple(parts[1:]), term))

    def _learn(self, word: str, language: str) -> None:
        if language in self._languages[word]:
            return
        self._languages[word].append(language)
        if len(word) >= _STEM_FROM and (stem := self._stem(word, language)):
            self._stems.setdefault(language, defaultdict(list))[stem].append(word)
            self._heads.setdefault(language, set()).add(stem[:_HEAD])

    def _stem(self, word: str, language: str) -> str:
        algorithm = _STEMMERS.get(_primary(language))
        if algorithm is None:
            return ""
        with self._stemming:
            if algorithm not in self._stemmers:
                self._stemmers[algorithm] = Stemmer.Stemmer(algorithm)  # pyright: ignore[reportUnknownMemberType]  # no types
            return self._stemmers[algorithm].stemWord(word)

    def _look_up(self, word: str) -> _Form:
        exact = [(language, word) for language in self._languages.get(word, ())]
        inflected = self._inflections(word) if len(word) >= _STEM_FROM else []
        # A word that the cast names itself is not taken for the inflection of another.
        terms = self._named(exact) or self._named(inflected) or self._named(self._in_compound(word))
        return _Form(frozenset((*exact, *inflected)), _best(terms)) if exact or inflected or terms else _UNKNOWN

    def _named(self, parts: Iterable[tuple[str, str]]) -> list[Term]:
        return [term for part in parts for term in self._singles.get(part, ())]

    def _inflections(self, word: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for language, stems in self._stems.items():
            if _primary(language) not in _PREFIXING and word[:_HEAD] not in self._heads[language]:
                continue
            candidates = stems.get(self._stem(word, language), ())
            endings = self._endings.get(language)
            same = _lengthens if _primary(language) in _PREFIXING else _inflects
            found += [(language, term) for term in candidates if same(word, term, endings)]
        return found

    def _in_compound(self, word: str) -> list[tuple[str, str]]:
        """The longest known word that a compound begins or ends with; the end, its head, first."""
        for size in range(len(word) - _COMPOUND_REST_FROM, _COMPOUND_PART_FROM - 1, -1):
            for part in (word[-size:], word[:size]):
                known = [(each, part) for each in self._compounds if (each, part) in self._singles]
                if known:
                    return known
        return []

    def _spans(self, forms: Sequence[_Form]) -> Iterable[tuple[int, int, Term]]:
        for start, form in enumerate(forms):
            for head in form.parts:
                for rest, term in self._phrases.get(head, ()):
                    end = start + 1 + len(rest)
                    following = zip(rest, forms[start + 1 : end], strict=False)
                    if end <= len(forms) and all((term.language, word) in each.parts for word, each in following):
                        yield start, end, term

    def _find_unspaced(self, folded: str) -> Iterable[Term]:
        place = 0
        while place < len(folded):
            for size in self._lengths.get(folded[place], ()):
                terms = self._unspaced.get(folded[place : place + size])
                if terms and not _inside_katakana(folded, place):
                    yield from _best(terms)
                    place += size - 1
                    break
            place += 1


def _keep(found: dict[tuple[str, str], Term], term: Term) -> None:
    if term.character:
        found.setdefault((term.character, fold(term.text)), term)


def _best(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The strongest term of each character: one word of a person is one reason, however many languages know it."""
    best: dict[str, Term] = {}
    for term in terms:
        if term.character not in best or term.points > best[term.character].points:
            best[term.character] = term
    return tuple(best.values())


def _primary(language: str) -> str:
    """The tag that chooses a stemmer: a region is let go ("pt-BR"), another script is another spelling ("hi-Latn")."""
    primary, _, rest = language.partition("-")
    return language if len(rest.partition("-")[0]) == _SCRIPT_SUBTAG else primary


def _inflects(word: str, term: str, endings: frozenset[str] | None) -> bool:
    """Whether both differ in endings alone: a stemmer also joins "animal" with "anime", or "time" with a "timido"."""
    shared = 0
    while shared < min(len(word), len(term)) and word[shared] == term[shared]:
        shared += 1
    if shared < min(_SHARED_FROM, len(term)):
        return False
    if endings is None:
        return True
    rest = word[shared:]
    if rest[:1] == word[shared - 1] and rest[1:] in endings:  # "rapping" of "rap"
        return term[shared:] in endings
    if len(term) < _SHARED_FROM and len(rest) > _ENDING_OF_SHORT:  # "rapido" is none
        return False
    return rest in endings and term[shared:] in endings


def _lengthens(word: str, term: str, _endings: frozenset[str] | None) -> bool:
    """As `_inflects` where prefixes come off: a term is named in its base form, and any other form is longer."""
    return len(word) > len(term) >= _SHARED_FROM


def _inside_katakana(folded: str, place: int) -> bool:
    """Whether a katakana word would begin in the middle of another, as in "block", which ends like "rock"."""
    return place > 0 and _is_katakana(folded[place]) and _is_katakana(folded[place - 1])


def _in_hiragana(text: str) -> str:
    """A katakana word as those write it who leave it to the keyboard; a short one would be found inside others."""
    if len(text) < _HIRAGANA_FROM or not all(map(_is_katakana, text)):
        return text
    return "".join(chr(ord(each) - _KATAKANA_AFTER) if each <= "\u30f6" else each for each in text)


def _is_katakana(character: str) -> bool:
    return "\u30a1" <= character <= "\u30fc" and character != "\u30fb"


def _lengths_by_head(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    lengths: dict[str, set[int]] = defaultdict(set)
    for text in texts:
        lengths[text[0]].add(len(text))
    return {head: tuple(sorted(each, reverse=True)) for head, each in lengths.items()}
