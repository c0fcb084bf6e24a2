"""What routing keeps of a conversation from one message to the next, and its opaque form of under 1 kB."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeGuard
from typing import cast as typed

_VERSION: Final = 2
_FADES_BY: Final = 0.5
"""What remains of a message's scores when the next one comes."""
_FORGOTTEN_BELOW: Final = 0.25
_REMEMBERED_CHARACTERS: Final = 8
"""Leanings that are kept, so that the state stays under 1 kB whatever the size of the cast."""
_LONGEST_ID: Final = 64
_MOST_POINTS: Final = 1e6
"""A state that holds more was not written here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the messages before left behind. The empty one belongs to a new conversation."""

    leanings: Mapping[str, float] = field(default_factory=dict[str, float])
    """Points of the messages before, faded, by id, strongest first."""
    held: bool = False
    """Whether a subject or a name has brought the current character in: a mere default holds nobody."""
    hint: str | None = None
    """For whom the last message with a topic was a weak sign."""
    hint_age: int = 0
    """Messages without a topic since then."""
    spoke: str | None = None
    """The character of the last decision: what is remembered of a subject holds nobody else."""
    host: str | None = None
    """With whom the conversation goes on when several answered the last message."""

    def after(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Returns the leanings that a message with these scores leaves behind."""
        faded = {each: round((self.leanings.get(each, 0.0) + points) * _FADES_BY, 2) for each, points in scores.items()}
        kept = sorted((each for each in faded if faded[each] >= _FORGOTTEN_BELOW), key=lambda each: -faded[each])
        return {each: faded[each] for each in kept}


def written(memory: Memory) -> str:
    """Returns the memory as text of under 1 kB. An id of over 64 characters is left out."""
    leanings = [(each, points) for each, points in memory.leanings.items() if len(each) <= _LONGEST_ID]
    table: dict[str, object] = {
        "leanings": dict(leanings[:_REMEMBERED_CHARACTERS]),
        "held": memory.held,
        "hint": _short(memory.hint),
        "age": memory.hint_age,
        "spoke": _short(memory.spoke),
        "host": _short(memory.host),
    }
    kept = {key: value for key, value in table.items() if value}
    return json.dumps({"v": _VERSION, **kept}, separators=(",", ":"))


def held_by(character: str) -> str:
    """Returns the state of a conversation of which no more is known than that it is this character's."""
    return written(Memory(held=True, spoke=character))


def read(state: str, characters: Sequence[str]) -> Memory:
    """Returns what `written` wrote; whatever it did not write, or another version of it, counts as nothing."""
    try:
        value: object = json.loads(state) if state else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return Memory()
    table = typed(dict[str, object], value)
    leanings = table.get("leanings", {})
    if table.get("v") != _VERSION or not isinstance(leanings, dict):
        return Memory()
    points = typed(dict[str, object], leanings)
    age = table.get("age", 0)

    def known(key: str) -> str | None:
        character = table.get(key)
        return character if isinstance(character, str) and character in characters else None

    return Memory(
        leanings={each: p for each, p in points.items() if each in characters and _is_points(p)},
        held=table.get("held") is True,
        hint=known("hint"),
        hint_age=age if isinstance(age, int) and 0 <= age <= _MOST_POINTS else 0,
        spoke=known("spoke"),
        host=known("host"),
    )


def _short(character: str | None) -> str | None:
    return character if character and len(character) <= _LONGEST_ID else None


def _is_points(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_POINTS
