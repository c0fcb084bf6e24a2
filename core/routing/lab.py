"""For whoever writes a cast: routing with edited words, what would change a decision, and how often it is right."""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import local
from typing import Any, Final, Literal

from core.cast.characters import Cast, Topics
from core.routing.addressed import Addressed
from core.routing.decision import Decision
from core.routing.lexicon import Term
from core.routing.likeness import Likeness
from core.routing.model import Model
from core.routing.phrases import Phrases
from core.routing.route import Router
from core.routing.words import KEYWORD_POINTS, TRIGGER_POINTS, Vocabulary

NONE: Final = "none"
"""The label of a message without a subject: right when nobody's was found, and the default begins."""
_TERMS_TRIED: Final = 6
_NEW_WORD: Final = ""
"""Stands for a word that the cast does not have."""
_Change = Callable[[Sequence[Term]], Sequence[Term]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One message to be routed; the fields are those of `Router.route`."""

    text: str
    current: str | None = None
    state: str = ""
    idle: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that was tried, and after which somebody else answers."""

    change: Literal["remove", "remove_all", "add", "current"]
    """Her word taken away, all of them, one more word of hers in the message, or somebody else talking before."""
    terms: tuple[str, ...] = ()
    to: str | None = None
    """Whose word was added, or who talked before."""
    points: float = 0.0
    """What the added word counts."""
    character: str
    tier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One labelled message."""

    number: int
    """From 1."""
    text: str
    label: str
    decision: Decision
    right: bool


class Lab:
    """A router whose words can be left out or added for one look. Safe to share between threads."""

    def __init__(self, cast: Cast, phrases: Phrases, model: Model | None, addressed: Addressed | None = None) -> None:
        """`model` is what likeness has learnt; `addressed` knows the names, which edited words do not change."""
        self.cast = cast
        self._phrases = phrases
        self._model = model
        self._addressed = addressed or Addressed(cast, phrases)
        self._words = _Tried(cast, phrases)
        more = [] if model is None else [Likeness(cast, phrases, model, self._words)]
        self._router = Router(cast, phrases, more=more, vocabulary=self._words, addressed=self._addressed)

    def edited(self, topics: Mapping[str, Mapping[str, Topics]]) -> "Lab":
        """Returns a lab with other words: of these characters and languages, all else as it is; about a second's work.

        Likeness keeps what it learnt with the old words. Raises: KeyError for an unknown character.
        """
        characters = dict(self.cast.characters)
        for each, changed in topics.items():
            characters[each] = replace(characters[each], topics={**characters[each].topics, **changed})
        cast = replace(self.cast, characters=characters, default=characters[self.cast.default.id])
        return Lab(cast, self._phrases, self._model, self._addressed)

    def route(self, line: Line) -> Decision:
        """Returns who answers."""
        return self._router.route(line.text, current=line.current, state=line.state, idle=line.idle)

    def changes(self, line: Line, decision: Decision) -> list[Change]:
        """Returns what would let somebody else answer, each tried for real; a dozen routings' work."""
        return [each for each in self._tries(line, decision) if each.character != decision.character]

    def judge(self, labelled: Sequence[tuple[str, str]]) -> list[Judged]:
        """Returns who answers each (text, label), every one as the beginning of a conversation."""
        return [self._judge(number, text, label) for number, (text, label) in enumerate(labelled, 1)]

    def _judge(self, number: int, text: str, label: str) -> Judged:
        decision = self.route(Line(text=text))
        expected = self.cast.default.id if label == NONE else label
        return Judged(number=number, text=text, label=label, decision=decision, right=decision.character == expected)

    def _tries(self, line: Line, decision: Decision) -> Iterator[Change]:
        own = [each.term for each in decision.evidence if each.character == decision.character]
        terms = list(dict.fromkeys(own))[:_TERMS_TRIED]
        for term in terms:
            yield self._without(line, decision, (term,), "remove")
        if len(terms) > 1:
            yield self._without(line, decision, tuple(terms), "remove_all")
        others = [each for each in self.cast.characters if each not in decision.characters]
        for other in others:
            yield self._with(line, decision, other)
        for other in (*others, *((None,) if line.current else ())):
            if other != line.current:
                found = self.route(replace(line, current=other, state=""))
                yield Change(change="current", to=other, character=found.character, tier=found.tier)

    def _without(
        self, line: Line, decision: Decision, terms: tuple[str, ...], change: Literal["remove", "remove_all"]
    ) -> Change:
        def left(words: Sequence[Term]) -> Sequence[Term]:
            return [word for word in words if word.character != decision.character or word.text not in terms]

        with self._words.trying(left):
            found = self.route(line)
        return Change(change=change, terms=terms, character=found.character, tier=found.tier)

    def _with(self, line: Line, decision: Decision, other: str) -> Change:
        """One more word of hers: a keyword where that is enough, else a trigger."""
        change = Change(change="add", character=decision.character, tier=decision.tier)
        for points in (KEYWORD_POINTS, TRIGGER_POINTS):
            word = Term(text=_NEW_WORD, language=self.cast.languages[0], character=other, points=points)
            with self._words.trying(lambda found, word=word: [*found, word]):
                found = self.route(line)
            change = Change(change="add", to=other, points=points, character=found.character, tier=found.tier)
            if found.character != decision.character:
                break
        return change


class _Tried(Vocabulary):
    """A vocabulary of which, in one thread and for a moment, other words are found than are there."""

    def __init__(self, cast: Cast, phrases: Phrases) -> None:
        super().__init__(cast, phrases)
        self._here = local()

    def read(self, folded: str) -> tuple[str, Sequence[Term]]:
        """As it is, unless something is tried."""
        mended, terms = super().read(folded)
        change: _Change | None = getattr(self._here, "change", None)
        return mended, change(terms) if change else terms

    @contextmanager
    def trying(self, change: _Change) -> Generator[None]:
        """Within the block, this thread finds what `change` makes of the words."""
        self._here.change = change
        try:
            yield
        finally:
            self._here.change = None


def tally(judged: Sequence[Judged], characters: Sequence[str]) -> dict[str, Any]:
    """Returns how often it was right, by label and by tier, and who answered whose messages instead."""
    confusion = {label: dict.fromkeys(characters, 0) for label in (*characters, NONE)}
    tiers: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    labels: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for each in judged:
        confusion[each.label][each.decision.character] += 1
        labels[each.label][each.right] += 1
        tiers[each.decision.tier][each.right] += 1
    right = sum(each.right for each in judged)
    return {
        "count": len(judged),
        "right": right,
        "accuracy": round(right / len(judged), 4) if judged else None,
        "labels": [*characters, NONE],
        "confusion": confusion,
        "by_label": _counted(labels),
        "by_tier": _counted(tiers),
    }


def _counted(groups: Mapping[str, Counter[bool]]) -> dict[str, dict[str, int]]:
    return {name: {"count": each.total(), "right": each[True]} for name, each in groups.items()}
