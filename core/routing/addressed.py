"""The tier of names: whoever is spoken to or asked for answers, several or all of them too; a mention means nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from core.cast.characters import Cast
from core.routing.decision import Evidence, Opinion
from core.routing.names import Call, Calls, Names
from core.routing.patterns import CALLED, CLAUSE, GAP, LETTER, NAME, PAUSE, STOP, any_of, any_template, compiled
from core.routing.phrases import Address, Phrases
from core.routing.spotting import Spotter
from core.routing.text import UNSPACED, is_unspaced

NAME_POINTS: Final = 10.0
"""What being called by name is worth on record; no words are weighed against it."""
_TYPO_CONFIDENCE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the names in a message say."""

    opinion: Opinion | None
    """Who is addressed; None when nobody is."""
    unwanted: tuple[str, ...] = ()
    """Ids of those who were refused ("not you, NAME"), whoever answers instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A pattern of being addressed, and which names are read in it."""

    pattern: regex.Pattern[str]
    slips: bool = True
    lists: bool = True
    names: bool = True
    everyone: bool = True
    everyone_unless: regex.Pattern[str] | None = None
    """What a word for all of them must not stand in, where a name may."""

    def fits(self, call: Call) -> bool:
        """Whether this is a call of the kind that the rule reads, spoken in the rule's way."""
        read = (self.slips or not call.slip) and (self.lists or not call.several)
        read = read and (self.everyone if call.everyone else self.names)
        return read and any(self._fits(said, call) for said in call.surroundings)

    def _fits(self, said: str, call: Call) -> bool:
        if self.pattern.search(said) is None:
            return False
        return not (call.everyone and self.everyone_unless and self.everyone_unless.search(said))


class Addressed:
    """Finds out whether a message is spoken to somebody. Compiled once, safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases) -> None:
        self._characters = tuple(cast.characters)
        self._names = Names(cast, phrases)
        languages = tuple(phrases.address.values())
        self._requests = tuple(_requests(languages))
        self._vocatives = tuple(_vocatives(languages, self._names))
        self._together = Spotter(
            (text.replace("{family}", cast.family) for each in languages for text in each.together),
            but_not_after=(text for each in languages for text in each.nots),
        )

    def hear(self, folded: str) -> Heard:
        """Returns who is asked for or spoken to: who is asked for before who is called, the beginning before the end.

        Several who are named answer in the order in which they were named. All of them answer in the order of the
        cast: the same question then finds the same order whoever talked last, and a cast decides who opens.
        """
        folded = folded.strip()
        calls = self._names.find(folded)
        opinion = (
            self._by(self._requests, calls)
            or self._by(self._vocatives, calls, several=True)
            or self._all(calls.text if calls else folded, calls)
            or self._by(self._vocatives, calls)
        )
        chosen = opinion.characters if opinion else ()
        refused = (each for call in (calls.refused if calls else ()) for each, _ in call.terms)
        return Heard(opinion=opinion, unwanted=tuple(dict.fromkeys(each for each in refused if each not in chosen)))

    def _by(self, rules: Sequence[_Rule], calls: Calls | None, *, several: bool = False) -> Opinion | None:
        """Whom the first rule finds that finds anybody; `several` looks at lists only."""
        if calls is None:
            return None
        for rule in rules:
            for way in (calls.listed, () if several else calls.single):
                fitting = [call for call in way if (call.several or not several) and rule.fits(call)]
                if fitting:
                    return self._called(fitting)
        return None

    def _called(self, calls: Sequence[Call]) -> Opinion:
        terms: dict[str, str] = {}
        for character, alias in (term for call in calls for term in call.terms):
            terms.setdefault(character, alias)
        if any(call.everyone for call in calls):
            terms = {each: terms[each] for each in self._characters}
        return self._opinion(terms, slip=any(call.slip for call in calls))

    def _all(self, text: str, calls: Calls | None) -> Opinion | None:
        phrase = self._together.first(text)
        refused = {each for call in (calls.refused if calls else ()) for each, _ in call.terms}
        terms = {each: phrase for each in self._characters if each not in refused} if phrase else {}
        return self._opinion(terms) if terms else None

    def _opinion(self, terms: dict[str, str], *, slip: bool = False) -> Opinion:
        """`terms` says by which word of the cast each one was asked, in the order in which they answer."""
        return Opinion(
            tier="addressed",
            characters=tuple(terms),
            sure=True,
            confidence=_TYPO_CONFIDENCE if slip else 1.0,
            scores={each: NAME_POINTS if each in terms else 0.0 for each in self._characters},
            evidence=tuple(Evidence(term=term, character=each, points=NAME_POINTS) for each, term in terms.items()),
            why="addressed as " + ", ".join(f'"{term}"' for term in dict.fromkeys(terms.values())),
        )


def _requests(languages: Sequence[Address]) -> Iterator[_Rule]:
    """Asking for somebody: "@NAME", "talk to NAME", "I want NAME"."""
    leads = f"(?:{any_of(text for each in languages for text in each.leads)}{GAP})*"
    tails = any_of(text for each in languages for text in each.tails)
    requests = [text for each in languages for text in each.requests]
    spaced = any_template(text for text in requests if not is_unspaced(text))
    unspaced = any_template(text for text in requests if is_unspaced(text))
    wishes = any_template(text for each in languages for text in each.wishes)
    yield _Rule(pattern=compiled(rf"(?<![\p{{L}}\p{{M}}\p{{N}}_.@])@{CALLED}"))
    yield _Rule(pattern=compiled(f"{CLAUSE}{leads}(?:{spaced})"), everyone=False)
    yield _Rule(pattern=compiled(rf"{CLAUSE}{leads}(?:{wishes})(?:{PAUSE}|{GAP}$|\s+{tails})"), everyone=False)
    yield _Rule(pattern=compiled(unspaced), everyone=False)


def _vocatives(languages: Sequence[Address], names: Names) -> Iterator[_Rule]:
    """Speaking to somebody: the name apart at the beginning or the end, or before what only a "you" can follow."""
    greeting = f"(?:{any_of(text for each in languages for text in each.greetings)}{GAP})"
    follows = any_of(text for each in languages for text in each.follows)
    closers = any_of(text for each in languages for text in each.closers)
    asks = any_of(text for each in languages for text in each.asks)
    yield _Rule(pattern=compiled(f"^{GAP}{greeting}*+{CALLED}(?:{PAUSE}|{GAP}$)"))
    yield _Rule(pattern=compiled(rf"^{GAP}{greeting}++{CALLED}\s*+{follows}"))
    joins = any_of(text for each in languages for text in each.joins)
    alone = rf"(?!\s*{joins}\s*{names.any_name})"
    yield _Rule(pattern=compiled(f"^{GAP}{greeting}++{CALLED}{alone}"), slips=False, lists=False, everyone=False)
    yield _Rule(pattern=compiled(rf"^{GAP}{CALLED}\s*+{follows}"), everyone=False)
    yield _everyone_first(languages, f"^{GAP}{greeting}*+{CALLED}")
    # A name after a name is a list of names; a list at the end is one too, unless something is asked.
    end = rf"(?<!{names.any_name}\s*){STOP}\s*+{CALLED}"
    yield _Rule(pattern=compiled(rf"{end}{GAP}$"), lists=False)
    yield _Rule(pattern=compiled(rf"^(?:{GAP}{asks}|.*\?).*{end}{GAP}$|{end}[^\p{{L}}\x00]*[?!]{GAP}$"))
    yield _Rule(pattern=compiled(rf"{closers}\s*+{CALLED}{GAP}$"))
    yield _asked(languages, asks)


def _everyone_first(languages: Sequence[Address], opening: str) -> _Rule:
    """A word for all of them, without a comma: a group is told of with many a word that no single name has behind it.

    In a script without spaces a space is a comma.
    """
    follows = any_of(text for each in languages for text in each.everyone_follows)
    ends = any_of(text for each in languages for text in each.everyone_ends)
    end = rf"(?:{PAUSE}|{GAP}$|\s++(?=[{UNSPACED}]))"
    return _Rule(pattern=compiled(rf"{opening}(?:\s*+{follows}|(?:\s*+{ends})?{end})"), names=False)


def _asked(languages: Sequence[Address], asks: str) -> _Rule:
    """A question that ends in a name which no word before it makes its object: "what should I read NAME?"."""
    objects = any_of(text for each in languages for text in each.objects)
    everyone_objects = any_of(text for each in languages for text in each.everyone_objects)
    # Looking ahead first: what stands before is read where a name follows, not at each letter of a message.
    bare = rf"(?=\s++{NAME})(?<!{objects}|[^\p{{L}}\p{{M}}'])(?<={LETTER}|')\s++{CALLED}"
    return _Rule(
        pattern=compiled(rf"^{GAP}(?:{asks}.*{bare}{GAP}$|.*{bare}[^\p{{L}}\x00]*\?{GAP}$)"),
        slips=False,
        everyone_unless=compiled(rf"(?=\s++{NAME})(?<={everyone_objects})"),
    )
