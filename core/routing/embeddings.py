"""The tier of likeness by embeddings: asked only where the local likeness is unsure, and weighed together with it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from core.cast.characters import Cast
from core.ports import Vector
from core.routing.decision import Opinion
from core.routing.likeness import NOBODY, Likeness, opinion
from core.routing.nearness import Neighbours
from core.routing.phrases import Phrases
from core.routing.route import Situation
from core.routing.text import fold

_LEAST: Final = 1e-6
"""No probability is taken for nothing: the other side may still know better."""


class Embeddings:
    """Asks for a message's vector and looks whose examples lie near it. Silent until `learn` was called."""

    def __init__(
        self, cast: Cast, phrases: Phrases, likeness: Likeness, *, embed: Callable[[str], Vector | None]
    ) -> None:
        """`embed` returns within its own bound, never raises, and gives None for what it cannot tell."""
        self._characters = tuple(cast.characters)
        self._owners = [example.character for example in cast.examples]
        self._thresholds = phrases.likeness
        self._likeness = likeness
        self._embed = embed
        self._neighbours: Neighbours | None = None
        self.texts: Sequence[str] = tuple(fold(example.text) for example in cast.examples)
        """What `learn` needs vectors of, in that order: the examples as messages are read."""

    def learn(self, vectors: Sequence[Vector]) -> None:
        """Takes in the vectors of `texts`."""
        self._neighbours = Neighbours(vectors, self._owners)

    def __call__(self, situation: Situation, /) -> Opinion | None:
        """Returns who is meant, sure or not; None for nobody's subject, or where no vector came."""
        neighbours = self._neighbours
        guess = self._likeness.guess(situation.folded)
        certain = guess.probabilities[NOBODY] >= self._thresholds.nobody_at
        if neighbours is None or certain or not situation.folded.strip():
            return None
        vector = self._embed(situation.folded)
        if vector is None or len(vector) != neighbours.size:
            return None
        likely = self._pooled(guess.probabilities, neighbours.votes(vector))
        chosen = max(likely, key=likely.__getitem__)
        if chosen == NOBODY:
            return None
        return opinion(
            tier="embeddings",
            likely=likely,
            thresholds=self._thresholds,
            evidence=self._likeness.evidence(guess, chosen),
            characters=self._characters,
        )

    def _pooled(self, local: Mapping[str, float], near: Mapping[str, float]) -> dict[str, float]:
        share = self._thresholds.embeddings_share
        raw = {
            each: max(local[each], _LEAST) ** (1 - share) * max(near.get(each, 0.0), _LEAST) ** share for each in local
        }
        total = sum(raw.values())
        return {each: value / total for each, value in raw.items()}
