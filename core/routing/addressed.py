"""The tier of names: whoever is spoken to or asked for by name answers; a name merely mentioned means nothing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from core.characters import Cast
from core.routing.decision import Evidence, Opinion
from core.routing.phrases import Phrases
from core.routing.text import UNSPACED, fold, is_unspaced, words

NAME_POINTS: Final = 10.0
"""What being called by name is worth on record; no words are weighed against it."""
_TYPO_CONFIDENCE: Final = 0.9
_TYPO_FROM: Final = 4
"""Letters of a name from which a slip of one letter is still read as that name."""
_BEFORE: Final = 80
_AFTER: Final = 60
"""Characters around a name that decide: patterns see no more, so that no message makes them slow."""
_NAMES_READ: Final = 4
"""Names looked at from the beginning of a message, and as many from its end."""
_NAME: Final = "\x00"
"""Stands for the name in the patterns and in what they search; `fold` keeps no such character in a message."""
_CUT: Final = "x"
"""Stands where the surroundings were cut off: a letter, and so no beginning and no end of a message."""
_LETTER: Final = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{UNSPACED}]]"
_GAP: Final = r"[^\p{L}\p{M}\p{N}@\x00]*+"
_STOP: Final = r"[,:;!?.~\u3001\u3002\n\p{So}]"
_PAUSE: Final = rf"\s*+(?:{_STOP}|[-\u2013\u2014](?=\s))"
_CLAUSE: Final = rf"(?:^|{_STOP}|[-\u2013\u2014]){_GAP}"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern of being addressed; `slips` says whether a misspelt name is read in it as well."""

    pattern: regex.Pattern[str]
    slips: bool


@dataclass(frozen=True, slots=True)
class _Call:
    """A name in a message with what stands around it."""

    alias: str
    surroundings: str
    slip: bool


class Addressed:
    """Finds out whether a message is spoken to somebody. Compiled once, safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases) -> None:
        self._characters = tuple(cast.characters)
        self._names = {fold(alias): each.id for each in cast.characters.values() for alias in each.aliases}
        self._typos = _typos(self._names, known=_known_words(cast, phrases))
        self._known = _compile(_any_of(self._names))
        self._rules = tuple(_rules(self._names, phrases))

    def opinion(self, folded: str) -> Opinion | None:
        """Returns who is addressed, None when nobody is; of several, who was asked for before who was called."""
        folded = folded.strip()
        calls = self._calls(folded)
        for rule in self._rules if calls else ():
            for call in calls:
                if (rule.slips or not call.slip) and rule.pattern.search(call.surroundings):
                    return self._opinion(call)
        return None

    def _calls(self, folded: str) -> list[_Call]:
        spans = [(match.span(), match[0], False) for match in self._known.finditer(folded)]
        for word in {word for word in words(folded) if word in self._typos}:
            pattern = _compile(_bounded(word))
            spans += [(match.span(), self._typos[word], True) for match in pattern.finditer(folded)]
        spans.sort()
        read = spans if len(spans) <= 2 * _NAMES_READ else spans[:_NAMES_READ] + spans[-_NAMES_READ:]
        return [_Call(alias, _around(folded, *span), slip) for span, alias, slip in read]

    def _opinion(self, call: _Call) -> Opinion:
        character = self._names[call.alias]
        return Opinion(
            tier="addressed",
            characters=(character,),
            sure=True,
            confidence=_TYPO_CONFIDENCE if call.slip else 1.0,
            scores={each: NAME_POINTS if each == character else 0.0 for each in self._characters},
            evidence=(Evidence(term=call.alias, character=character, points=NAME_POINTS),),
            why=f'addressed as "{call.alias}"',
        )


def _around(folded: str, start: int, end: int) -> str:
    before = folded[:start] if start <= _BEFORE else _CUT + folded[start - _BEFORE : start]
    after = folded[end:] if len(folded) - end <= _AFTER else folded[end : end + _AFTER] + _CUT
    return f"{before}{_NAME}{after}"


def _rules(names: Iterable[str], phrases: Phrases) -> Iterator[_Rule]:
    languages = phrases.address.values()
    honorific = f"(?:{_any_of(phrases.honorifics, bounded=False)})?"
    called = rf"\x00{honorific}(?!{_LETTER}|'{_LETTER})"
    greeting = f"(?:{_any_of(text for each in languages for text in each.greetings)}{_GAP})"
    leads = f"(?:{_any_of(text for each in languages for text in each.leads)}{_GAP})*"
    requests = sorted({fold(text) for each in languages for text in each.requests})
    spaced = "|".join(_request(text, called) for text in requests if not is_unspaced(text))
    unspaced = "|".join(_request(text, called) for text in requests if is_unspaced(text))
    follows = _any_of(text for each in languages for text in each.follows)
    closers = _any_of(text for each in languages for text in each.closers)
    yield _Rule(_compile(rf"(?<![\p{{L}}\p{{M}}\p{{N}}_.@])@{called}"), slips=True)
    yield _Rule(_compile(f"{_CLAUSE}{leads}(?:{spaced or '(?!)'})"), slips=True)
    yield _Rule(_compile(unspaced or "(?!)"), slips=False)
    yield _Rule(_compile(f"^{_GAP}{greeting}*+{called}(?:{_PAUSE}|{_GAP}$)"), slips=True)
    yield _Rule(_compile(f"^{_GAP}{greeting}++{called}"), slips=False)
    yield _Rule(_compile(rf"^{_GAP}\x00{honorific}\s*+{follows}"), slips=False)
    # A name after a name is a list of names.
    yield _Rule(_compile(rf"(?<!{_any_of(names)}\s*){_STOP}\s*+{called}{_GAP}$"), slips=True)
    yield _Rule(_compile(rf"{closers}\s*+{called}{_GAP}$"), slips=False)


def _request(request: str, called: str) -> str:
    before, after = (_spelled(part) for part in request.split("{name}"))
    bound = "" if not after or is_unspaced(request[-1:]) else rf"(?!{_LETTER})"
    return f"{before}{called}{after}{bound}"


def _any_of(texts: Iterable[str], *, bounded: bool = True) -> str:
    """An alternation, longest first; where words have spaces between them, only whole words. Nothing matches none."""
    folded = sorted({fold(text) for text in texts}, key=lambda text: (-len(text), text))
    each = (_bounded(text) if bounded else _spelled(text) for text in folded)
    return f"(?:{'|'.join(each) or '(?!)'})"


def _bounded(text: str) -> str:
    before = "" if is_unspaced(text[:1]) else rf"(?<!{_LETTER})"
    after = "" if is_unspaced(text[-1:]) else rf"(?!{_LETTER})"
    return before + _spelled(text) + after


def _spelled(text: str) -> str:
    return r"\s+".join(map(regex.escape, text.split(" ")))


def _compile(pattern: str) -> regex.Pattern[str]:
    return regex.compile(f"(?V1){pattern}")


def _known_words(cast: Cast, phrases: Phrases) -> frozenset[str]:
    topics = (t for each in cast.characters.values() for t in each.topics.values())
    texts = [text for each in topics for text in (*each.keywords, *each.triggers)]
    texts += [text for each in phrases.neutral.values() for text in each]
    texts += [text for each in phrases.address.values() for text in (*each.greetings, *each.follows, *each.leads)]
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
