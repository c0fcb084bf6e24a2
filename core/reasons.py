"""Why somebody answered: the stored decision told in the character's voice, out of the cast's texts, never invented."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from unicodedata import category, east_asian_width

from pydantic import BaseModel, ConfigDict, ValidationError

from core.cast.characters import Cast, Character
from core.routing.text import fold

TERMS_TOLD: Final = 3
_NAMES_NOBODY: Final = ("why_addressed", "why_words", "why_likeness", "why_embeddings")
"""Reasons that do not say themselves from whom she took over."""


class _Evidence(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    term: str
    character: str
    points: float


class _Decision(BaseModel):
    """What was stored with a turn, by this release or another."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    character: str
    characters: tuple[str, ...] = ()
    tier: str
    evidence: tuple[_Evidence, ...] = ()
    took_over_from: str = ""


def told(cast: Cast, character: Character, language: str, decision: Mapping[str, Any] | None) -> str:
    """Returns what the character says when she is asked why it is she who answers.

    `decision` is the last one of the conversation as it was stored; without one she introduces herself.
    """
    try:
        why = None if decision is None else _Decision.model_validate(decision)
    except ValidationError:
        why = None
    if why is None:
        return cast.text("why_new", language, character)
    before = cast.characters.get(why.took_over_from)
    terms = _terms(character, why)
    key = _key(character, why, before=before, terms=terms)
    parts = [cast.text(each, language, character) for each in ("why_lead", key)]
    if before and key in _NAMES_NOBODY:
        parts.append(cast.text("why_took_over", language, character))
    text = _joined(parts)
    if before:
        text = text.replace("{who}", before.name)
    return text.replace("{terms}", cast.quoted(terms, language)) if terms else text


def _key(character: Character, why: _Decision, *, before: Character | None, terms: Sequence[str]) -> str:
    """Returns the key of the text that tells the reason."""
    key = "why_stay"
    if len(why.characters) > 1:
        return "why_together"
    if why.character != character.id:
        return key  # whoever was chosen is gone from the cast
    match why.tier:
        case "addressed":
            key = "why_instead" if before and not _was_named(character, why) else "why_addressed"
        case "words":
            key = "why_words" if terms else "why_likeness"
        case "model" if before:
            key = "why_model"
        case "likeness" | "embeddings" | "default":
            key = f"why_{why.tier}"
        case _:
            pass
    return key


def _was_named(character: Character, why: _Decision) -> bool:
    names = {fold(alias) for alias in character.aliases}
    return any(fold(each.term) in names for each in why.evidence if each.character == character.id)


def _terms(character: Character, why: _Decision) -> Sequence[str]:
    """Returns the strongest of the cast's own words that spoke for her."""
    hers = (each for each in why.evidence if each.character == character.id and each.points > 0)
    return list(dict.fromkeys(each.term for each in sorted(hers, key=lambda each: -each.points)))[:TERMS_TOLD]


def _joined(sentences: Sequence[str]) -> str:
    """Returns the sentences with a space between them, but after a letter or mark of a script without spaces."""
    text = ""
    for sentence in sentences:
        gap = "" if not text or _is_full_width(text[-1]) else " "
        text += gap + sentence
    return text


def _is_full_width(character: str) -> bool:
    """Unlike an emoji, which is as wide."""
    return east_asian_width(character) in "WF" and category(character)[0] in "LP"
