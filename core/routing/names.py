"""Finds names in a message: of one of the cast in any spelling, of several in a list, and of all of them together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from core.cast.characters import Cast
from core.routing.patterns import LETTER, NAME, any_of, any_template, compiled
from core.routing.phrases import Address, Phrases
from core.routing.text import UNSPACED, fold, is_unspaced, words

_TYPO_FROM: Final = 4
"""Letters of a name from which a slip of one letter is still read as that name."""
_BEFORE: Final = 80
_AFTER: Final = 60
"""Characters around a name that decide: patterns see no more, so that no message makes them slow."""
_NAMES_READ: Final = 4
"""Names looked at from the beginning of a message, and as many from its end."""
_LONGEST_JOINT: Final = 24
"""Characters between two names of a list."""
_CUT: Final = "x"
"""Stands where surroundings were cut off, and for a name that was refused: a letter, so no beginning and no end."""
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A name, or a list of names, with what stands around it."""

    terms: tuple[tuple[str, str], ...]
    """Id and name as the cast spells it, in the order of the message; a word for all of them once for each."""
    several: bool
    """Whether it is a list."""
    surroundings: tuple[str, ...]
    """The message with NAME in place of the name; where honorifics may follow, of the name and each of these, too."""
    slip: bool
    """Whether one of them is misspelt."""
    everyone: bool
    """Whether it is a word for all of them rather than a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """All names of a message."""

    listed: tuple[Call, ...]
    """Lists of names as one call each."""
    single: tuple[Call, ...]
    """Each name alone."""
    refused: tuple[Call, ...]
    """Names that are not wanted: "not you, NAME"."""
    text: str
    """The message without refused names and without turns of speech that only look like a refusal."""


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    alias: str
    characters: tuple[str, ...]
    slip: bool = False
    everyone: bool = False


class Names:
    """All ways to call somebody of a cast. Compiled once, safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases) -> None:
        languages = tuple(phrases.address.values())
        names = {fold(alias): (each.id,) for each in cast.characters.values() for alias in each.aliases}
        family = {fold(text.replace("{family}", cast.family)) for each in languages for text in each.everyone}
        self._family = frozenset(family - set(names))
        self._names = names | dict.fromkeys(self._family, tuple(cast.characters))
        self._heads = frozenset(_unstretched(word) for name in self._names for word in words(name)[:1])
        self._unspaced = tuple(name for name in self._names if is_unspaced(name))
        self._typos = _typos(names, known=_known_words(cast, phrases))
        self._known = compiled(_spellings(self._names))
        self._masked = compiled(any_of(phrases.mentions, bound=False))
        self._rhetoric = compiled(any_of(text for each in languages for text in each.rhetoric))
        honorific = _honorifics(phrases.honorifics)
        self.any_name = any_of(names)
        self._honorific = compiled(honorific)
        self._honorifics = tuple(compiled(_honorifics([each])) for each in phrases.honorifics)
        self._refusal = compiled(_refusals(phrases))
        joins = any_of(text for each in languages for text in each.joins)
        titles = any_of(phrases.titles)
        self._joint = compiled(rf"(?:{honorific})?\s*(?:[,&+/\u3001\u30fb]\s*)?(?:{joins}\s*)?@?(?:{titles}\s*)?")

    def find(self, folded: str) -> Calls | None:
        """Returns all names of a message, None when there is none."""
        mentioned = set(map(_unstretched, words(folded)))
        if (
            mentioned.isdisjoint(self._heads)
            and mentioned.isdisjoint(self._typos)
            and not any(name in folded for name in self._unspaced)
        ):
            return None
        text = self._rhetoric.sub(", ", folded).strip()
        spans = self._spans(self._masked.sub(lambda match: "x" * len(match[0]), text))
        refused = [span for span in spans if not span.everyone and self._is_refused(text, span)]
        for span in refused:
            text = text[: span.start] + _CUT * (span.end - span.start) + text[span.end :]
        wanted = [span for span in spans if span not in refused]
        return Calls(
            listed=tuple(self._call(text, group) for group in self._lists(text, wanted)),
            single=tuple(self._call(text, [span]) for span in wanted),
            refused=tuple(self._call(text, [span]) for span in refused),
            text=text,
        )

    def _spans(self, text: str) -> list[_Span]:
        spans = [self._named(match.start(), match[0]) for match in self._known.finditer(text)]
        for word in {word for word in map(_unstretched, words(text)) if word in self._typos}:
            alias = self._typos[word]
            found = compiled(_spellings([word])).finditer(text)
            spans += [_Span(match.start(), match.end(), alias, self._names[alias], slip=True) for match in found]
        spans.sort(key=lambda span: span.start)
        return spans if len(spans) <= 2 * _NAMES_READ else spans[:_NAMES_READ] + spans[-_NAMES_READ:]

    def _named(self, start: int, spelling: str) -> _Span:
        alias = " ".join(spelling.split())
        while alias not in self._names:
            alias = alias[:-1]
        everyone = alias in self._family
        return _Span(start, start + len(spelling), alias, self._names[alias], everyone=everyone)

    def _lists(self, text: str, spans: Sequence[_Span]) -> Iterator[list[_Span]]:
        """Names with nothing but "and" or a comma between them, as one."""
        group: list[_Span] = []
        for span in spans:
            between = text[group[-1].end : span.start] if group else ""
            joined = len(between) <= _LONGEST_JOINT and self._joint.fullmatch(between)
            if group and (not joined or span.everyone or group[-1].everyone):
                yield group
                group = []
            group.append(span)
        if group:
            yield group

    def _call(self, text: str, spans: Sequence[_Span]) -> Call:
        whole = _Span(spans[0].start, spans[-1].end, "", ())
        return Call(
            terms=tuple((each, span.alias) for span in spans for each in span.characters),
            several=len(spans) > 1,
            surroundings=self._around(text, whole),
            slip=any(span.slip for span in spans),
            everyone=any(span.everyone for span in spans),
        )

    def _is_refused(self, text: str, span: _Span) -> bool:
        return any(self._refusal.search(read) for read in self._around(text, span))

    def _around(self, text: str, span: _Span) -> tuple[str, ...]:
        before = text[: span.start] if span.start <= _BEFORE else _CUT + text[span.start - _BEFORE : span.start]
        after = text[span.end :] if len(text) - span.end <= _AFTER else text[span.end : span.end + _AFTER] + _CUT
        if not self._honorific.match(after):  # all at once first: most names have none
            return (f"{before}{NAME}{after}",)
        found = (each.match(after) for each in self._honorifics)
        ends = sorted({0, *(match.end() for match in found if match)}, reverse=True)
        return tuple(f"{before}{NAME}{after[end:]}" for end in ends)


def _honorifics(honorifics: Iterable[str]) -> str:
    """What may hang on a name, with a space or a hyphen before it where words have spaces."""
    spaced = any_of(text.strip(" -") for text in honorifics if not is_unspaced(text))
    unspaced = any_of(text for text in honorifics if is_unspaced(text))
    return rf"[\s-]{spaced}|{unspaced}"


def _refusals(phrases: Phrases) -> str:
    """What says that somebody is not wanted: a phrase of its own, or a "not" before a request in its language."""
    own = any_template(text for each in phrases.address.values() for text in each.refusals)
    return "|".join((own, *(_denied(each) for each in phrases.address.values() if each.nots)))


def _denied(language: Address) -> str:
    asks = (*language.requests, *language.wishes)
    spaced = any_template(text for text in asks if not is_unspaced(text))
    unspaced = any_template(text for text in asks if is_unspaced(text))
    leads = any_of((*language.leads, *language.nots))
    nots = any_of(text for text in language.nots if not is_unspaced(text))
    nots_unspaced = any_of(text for text in language.nots if is_unspaced(text))
    return rf"{nots}\s+(?:{leads}\s+){{0,6}}{spaced}|{nots_unspaced}[{UNSPACED}]{{0,2}}{unspaced}"


def _spellings(names: Iterable[str]) -> str:
    """Names whose last letter may be drawn out."""
    spaced = "|".join(_stretched(name) for name in sorted(names, key=_longest_first) if not is_unspaced(name))
    unspaced = any_of(name for name in names if is_unspaced(name))
    return rf"(?<!{LETTER})(?:{spaced or '(?!)'})(?!{LETTER})|{unspaced}"


def _stretched(name: str) -> str:
    return r"\s+".join(map(regex.escape, name.split(" "))) + (f"{name[-1]}*+" if name[-1].isalpha() else "")


def _longest_first(name: str) -> tuple[int, str]:
    return -len(name), name


def _unstretched(word: str) -> str:
    return word.rstrip(word[-1]) + word[-1]


def _known_words(cast: Cast, phrases: Phrases) -> frozenset[str]:
    topics = (t for each in cast.characters.values() for t in each.topics.values())
    texts = [text for each in topics for text in (*each.keywords, *each.triggers)]
    texts += [text for each in phrases.neutral.values() for text in each]
    texts += phrases.not_slips
    for each in phrases.address.values():
        texts += (*each.greetings, *each.follows, *each.leads, *each.closers, *each.everyone)
    return frozenset(word for text in texts for word in words(fold(text)))


def _typos(names: Iterable[str], *, known: frozenset[str]) -> dict[str, str]:
    """All slips of one letter, or of two neighbours exchanged, that mean one name only and are no word of the cast."""
    slips: dict[str, set[str]] = {}
    names = tuple(names)
    for name in names:
        if name.isascii() and name.isalpha() and len(name) >= _TYPO_FROM:
            for slip in _slips(name):
                slips.setdefault(slip, set()).add(name)
    return {slip: min(of) for slip, of in slips.items() if len(of) == 1 and slip not in known and slip not in names}


def _slips(name: str) -> Sequence[str]:
    cuts = [(name[:i], name[i:]) for i in range(len(name) + 1)]
    dropped = [a + b[1:] for a, b in cuts if b]
    exchanged = [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1]
    replaced = [a + letter + b[1:] for a, b in cuts if b for letter in _LETTERS]
    added = [a + letter + b for a, b in cuts for letter in _LETTERS]
    return dropped + exchanged + replaced + added
