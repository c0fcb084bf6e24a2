"""The ladder: asks one tier after the other who should answer a message, and stays or falls back when none is sure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, TypeGuard
from typing import cast as typed

from core.characters import Cast
from core.routing.addressed import Addressed
from core.routing.decision import Decision, Opinion
from core.routing.phrases import Phrases
from core.routing.text import READ_AT_MOST, fold
from core.routing.words import Words

_STATE_VERSION: Final = 1
_FADES_BY: Final = 0.5
"""What remains of a message's scores when the next one comes."""
_FORGOTTEN_BELOW: Final = 0.25
_REMEMBERED_CHARACTERS: Final = 8
"""Leanings kept in `state`, so that it stays under 1 kB whatever the size of the cast."""
_LONGEST_ID: Final = 64
_MOST_POINTS: Final = 1e6
"""A state that holds more was not written here."""


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

    def __init__(self, cast: Cast, phrases: Phrases, *, more: Sequence[Tier] = ()) -> None:
        """`more` are the tiers below the words, asked in order while none is sure."""
        self._characters = tuple(cast.characters)
        self._default = cast.default.id
        self._rest = timedelta(hours=phrases.thresholds.rest_h)
        addressed, words = Addressed(cast, phrases), Words(cast, phrases)

        def by_name(situation: Situation) -> Opinion | None:
            return addressed.opinion(situation.folded)

        def by_words(situation: Situation) -> Opinion | None:
            favoured = (*((situation.current,) if situation.current else ()), *situation.leanings)
            return words.opinion(situation.folded, favoured=favoured)

        self._ladder: tuple[Tier, ...] = (by_name, by_words, *more)

    def route(self, text: str, *, current: str | None, state: str = "", idle: timedelta | None = None) -> Decision:
        """Returns who answers; never raises.

        `current` is who answered last (None, or nobody of this cast: a new conversation), `state` the last
        decision's, `idle` the time since the last message. A state that cannot be read counts as none.
        """
        rested = idle is not None and idle >= self._rest
        if rested or current not in self._characters:
            current = None
        leanings = {} if rested else _read_state(state, self._characters)
        situation = Situation(folded=fold(text[:READ_AT_MOST]), current=current, leanings=leanings)
        opinion = self._ask(situation)
        scores = {each: opinion.scores.get(each, 0.0) for each in self._characters}
        character = opinion.characters[0]
        return Decision(
            character=character,
            characters=opinion.characters,
            tier=opinion.tier,
            confidence=opinion.confidence,
            scores=scores,
            evidence=opinion.evidence,
            why=opinion.why,
            switched=current is not None and character != current,
            state=_write_state(leanings, scores),
        )

    def _ask(self, situation: Situation) -> Opinion:
        unsure: Opinion | None = None
        for tier in self._ladder:
            opinion = tier(situation)
            if opinion is not None and opinion.sure:
                return opinion
            unsure = unsure or opinion
        return self._settle(situation.current, unsure)

    def _settle(self, current: str | None, unsure: Opinion | None) -> Opinion:
        """Nobody was sure: whoever is talking goes on, else the default begins. What was guessed stays on record."""
        found = "too little to go by" if unsure else "no topic"
        guess = f" ({unsure.why})" if unsure else ""
        return Opinion(
            tier="default" if current is None else "stay",
            characters=(current or self._default,),
            sure=True,
            confidence=0.0,
            scores=unsure.scores if unsure else {},
            evidence=unsure.evidence if unsure else (),
            why=f"{found}, " + (f"stays with {current}" if current else f"begins with {self._default}") + guess,
        )


def _read_state(state: str, characters: Sequence[str]) -> dict[str, float]:
    try:
        value: object = json.loads(state)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    table = typed(dict[str, object], value)
    leanings = table.get("leanings")
    if table.get("v") != _STATE_VERSION or not isinstance(leanings, dict):
        return {}
    points = typed(dict[str, object], leanings)
    return {each: p for each, p in points.items() if each in characters and _is_points(p)}


def _is_points(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_POINTS


def _write_state(leanings: Mapping[str, float], scores: Mapping[str, float]) -> str:
    faded = {each: round((leanings.get(each, 0.0) + points) * _FADES_BY, 2) for each, points in scores.items()}
    kept = sorted((each for each in faded if faded[each] >= _FORGOTTEN_BELOW), key=lambda each: -faded[each])
    kept = [each for each in kept if len(each) <= _LONGEST_ID][:_REMEMBERED_CHARACTERS]
    return json.dumps({"v": _STATE_VERSION, "leanings": {each: faded[each] for each in kept}}) if kept else ""
