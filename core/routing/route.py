"""The ladder: asks one tier after the other who should answer a message, and stays or falls back when none is sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Protocol

import regex

from core.cast.characters import Cast
from core.routing import memory as memories
from core.routing.addressed import Addressed, Heard
from core.routing.decision import Decision, Opinion
from core.routing.memory import Memory
from core.routing.patterns import CLAUSE, GAP, any_of, compiled
from core.routing.phrases import Address, Phrases
from core.routing.spotting import Spotter
from core.routing.staying import Ruling, Talk, decide, settle
from core.routing.text import READ_AT_MOST, fold, is_unspaced, length
from core.routing.words import Vocabulary, Words

_REFUSED_CONFIDENCE: Final = 0.5
"""How sure it is who answers instead of somebody who was refused, when nobody else is named and no topic is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a tier may know of a message."""

    folded: str
    """The message as `fold` spells it."""
    current: str | None
    """Id of whoever is talking; None in a conversation that is new or has rested."""
    leanings: Mapping[str, float]
    """Points of the messages before, faded, by id, strongest first."""


class Tier(Protocol):
    """One rung. It may be slow or fail inside, but never raises: what it cannot tell is None."""

    def __call__(self, situation: Situation, /) -> Opinion | None:
        """Returns who should answer, or None when it has nothing to say."""
        ...


class Router:
    """Decides who answers. Compiled once from a cast; pure, deterministic, safe to share between threads."""

    def __init__(
        self,
        cast: Cast,
        phrases: Phrases,
        *,
        more: Sequence[Tier] = (),
        vocabulary: Vocabulary | None = None,
        addressed: Addressed | None = None,
    ) -> None:
        """`more` are the tiers below the words, asked in order while none is sure; the rest may be compiled already."""
        self._characters = tuple(cast.characters)
        self._default = cast.default.id
        self._thresholds = phrases.thresholds
        self._rest = timedelta(hours=phrases.thresholds.rest_h)
        self._addressed, words = addressed or Addressed(cast, phrases), Words(cast, phrases, vocabulary)
        self._changes = Spotter(text for each in phrases.changes.values() for text in each)
        self._asks = _asks(phrases)

        def by_words(situation: Situation) -> Opinion | None:
            favoured = (*((situation.current,) if situation.current else ()), *situation.leanings)
            return words.opinion(situation.folded, favoured=favoured)

        self._ladder: tuple[Tier, ...] = (by_words, *more)

    def route(self, text: str, *, current: str | None, state: str = "", idle: timedelta | None = None) -> Decision:
        """Returns who answers; never raises.

        `current` is who answered last (None, or nobody of this cast: a new conversation), `state` the last
        decision's, `idle` the time since the last message. A state that cannot be read counts as none. A
        conversation that rested begins with the default again: what the history in her prompt tells her is memory
        enough, and a greeting of today is no answer to the subject of last week.
        """
        idle = max(idle or timedelta(), timedelta())
        memory = Memory() if idle >= self._rest else memories.read(state, self._characters)
        if idle >= self._rest or current not in self._characters:
            current = None
        if current != memory.spoke:
            memory = replace(memory, held=False, hint=None)
        elif memory.host:
            current = memory.host
        folded = fold(text[:READ_AT_MOST])
        heard = self._addressed.hear(folded)
        if heard.opinion:
            return self._decision(Ruling(opinion=heard.opinion), (heard.opinion,), current, memory)
        return self._by_subject(folded, heard, current, memory, idle)

    def _by_subject(self, folded: str, heard: Heard, current: str | None, memory: Memory, idle: timedelta) -> Decision:
        talk = self._talk(folded, heard, current, memory, idle)
        situation = Situation(folded=folded, current=talk.current, leanings=memory.leanings)
        opinions: list[Opinion] = []
        ruling: Ruling | None = None
        for tier in self._ladder:
            opinion = tier(situation)
            if opinion and opinion.characters[0] not in heard.unwanted:
                opinions.append(opinion)
                ruling = decide(opinions, talk, self._thresholds)
            if ruling:
                break
        ruling = ruling or settle(opinions, talk, self._thresholds)
        if current in heard.unwanted and ruling.opinion.tier == "default":
            instead = f"asked not to have {current}, {ruling.opinion.characters[0]} instead"
            opinion = replace(ruling.opinion, tier="addressed", confidence=_REFUSED_CONFIDENCE, why=instead)
            ruling = replace(ruling, opinion=opinion)
        return self._decision(ruling, opinions, current, memory)

    def _talk(self, folded: str, heard: Heard, current: str | None, memory: Memory, idle: timedelta) -> Talk:
        """A character who was refused talks no longer: whom the conversation leant to before comes instead."""
        wanted = [each for each in (*memory.leanings, self._default, *self._characters) if each not in heard.unwanted]
        fresh = self._default in wanted and current not in heard.unwanted
        begins = self._default if fresh or not wanted else wanted[0]
        held = current is not None and memory.held
        return Talk(
            current=None if current in heard.unwanted else current,
            begins=begins,
            memory=memory,
            idle=idle,
            length=length(folded),
            asks=held and ("?" in folded or self._asks.search(folded) is not None),
            change=self._changes.first(folded) if held else None,
        )

    def _decision(self, ruling: Ruling, asked: Sequence[Opinion], current: str | None, memory: Memory) -> Decision:
        opinion = ruling.opinion
        scores = {each: opinion.scores.get(each, 0.0) for each in self._characters}
        characters, character = opinion.characters, opinion.characters[0]
        several = len(characters) > 1
        return Decision(
            character=character,
            characters=characters,
            tier=opinion.tier,
            confidence=opinion.confidence,
            scores=scores,
            margins={
                each: round(scores[character] - points, 3) for each, points in scores.items() if each not in characters
            },
            evidence=tuple(sorted(opinion.evidence, key=lambda reason: -abs(reason.points))),
            why=opinion.why,
            asked=tuple(asked),
            switched=current is not None and current not in characters,
            state=memories.written(
                Memory(
                    leanings=memory.after(scores),
                    held=opinion.tier != "default" and (opinion.tier != "stay" or memory.held),
                    hint=ruling.hint,
                    hint_age=ruling.hint_age,
                    spoke=character,
                    host=self._host(characters, current) if several else None,
                )
            ),
        )

    def _host(self, characters: Sequence[str], current: str | None) -> str:
        """With whom the conversation goes on after several have answered: asking them all is no farewell to her."""
        if current and current in characters:
            return current
        return self._default if self._default in characters else characters[0]


def _asks(phrases: Phrases) -> regex.Pattern[str]:
    """Finds out whether a clause begins like a question or a request; in scripts without spaces, anywhere."""
    return compiled("|".join(_asks_in(each) for each in phrases.address.values() if each.asks) or "(?!)")


def _asks_in(language: Address) -> str:
    # Each language by itself: the English "it was" would be a question with the German "was".
    leads = any_of((*language.leads, *language.greetings))
    spaced = any_of(text for text in language.asks if not is_unspaced(text))
    unspaced = any_of(text for text in language.asks if is_unspaced(text))
    return f"{CLAUSE}(?:{leads}{GAP})*{spaced}|{unspaced}"
