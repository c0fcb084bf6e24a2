"""The typed answer of routing: who takes a message, how sure that is, and why, in terms of the cast alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Tier = Literal["addressed", "words", "likeness", "embeddings", "model", "stay", "default"]
"""Which rung of the ladder decided; the last two mean that none of the others was sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One reason. `term` is the cast's own word, never the person's; points below zero speak against her."""

    term: str
    character: str
    points: float

    def __str__(self) -> str:
        return f'"{self.term}" ~ {self.character} {self.points:+g}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one tier makes of a message. Unless `sure`, the next tier is asked and this only goes on record."""

    tier: Tier
    characters: tuple[str, ...]
    sure: bool
    confidence: float
    scores: Mapping[str, float]
    evidence: tuple[Evidence, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who answers one message. `why` and `evidence` name words that the cast and the person share: no log has them."""

    character: str
    """Id of the one who answers, the first of `characters`."""
    characters: tuple[str, ...]
    """Ids of all who answer, in order; more than one only when several were asked together by name."""
    tier: Tier
    confidence: float
    """0 (nothing was recognised) to 1 (asked for by name)."""
    scores: Mapping[str, float]
    """Points by id, every member of the cast included, adjusted for the message's length."""
    margins: Mapping[str, float]
    """Points by which she leads each of those who do not answer; below zero where somebody led and she stays."""
    evidence: tuple[Evidence, ...]
    """Strongest first, before that adjustment."""
    why: str
    """One short sentence in English, for operators."""
    asked: tuple[Opinion, ...]
    """What each tier said that had something to say, in the order in which they were asked."""
    switched: bool
    """Whether somebody else than the current character answers; false in a new conversation."""
    state: str
    """Opaque, under 1 kB: goes into the conversation's next `Router.route`."""

    def as_json(self) -> dict[str, object]:
        """Returns what is stored with the turn; `state` is kept with the conversation instead."""
        return {
            "character": self.character,
            "characters": list(self.characters),
            "tier": self.tier,
            "confidence": self.confidence,
            "scores": dict(self.scores),
            "margins": dict(self.margins),
            "evidence": [{"term": e.term, "character": e.character, "points": e.points} for e in self.evidence],
            "why": self.why,
            "asked": [
                {"tier": o.tier, "characters": list(o.characters), "sure": o.sure, "confidence": o.confidence}
                for o in self.asked
            ],
            "switched": self.switched,
        }
