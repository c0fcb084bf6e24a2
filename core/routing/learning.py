"""Learns from examples who is meant: a multinomial logistic regression in plain Python, the same at every run."""

import random
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from operator import itemgetter
from typing import Final

from core.routing.features import HINT_PLACES, PLACES, Features

_ROUNDS: Final = 5
_STEP: Final = 2.5
"""How far the first example moves the weights; each later one moves them less, the last one not at all: what is shown
last would otherwise be known best, and the order decide."""
_HINT: Final = 0.4
"""What one of the cast's own words weighs against all pieces of the message together, which weigh 1."""
_BIAS_STEP: Final = 0.1
_GOOD_ENOUGH: Final = 0.02
"""A probability this near to the truth moves nothing."""
_SEED: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One example: what it shows, whose it is (the number of its class), and how much it counts."""

    features: Features
    answer: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What was learnt, for each class."""

    pieces: "Sequence[array[float]]"  # quoted: in Python 3.11 only type checkers can subscript an array
    hints: "Sequence[array[float]]"
    bias: Sequence[float]
    rarity: "array[float]"
    """Of each piece, from 0 (every lesson shows it) to 1 (none does)."""

    def probabilities(self, features: Features) -> list[float]:
        """Returns how likely each class is; they add up to 1."""
        value = _value(features.pieces, self.rarity)
        scores = [
            value * sum(map(pieces.__getitem__, features.pieces))
            + _HINT * sum(map(hints.__getitem__, features.hints))
            + bias
            for pieces, hints, bias in zip(self.pieces, self.hints, self.bias, strict=True)
        ]
        return _softmax(scores)


def learn(lessons: Sequence[Lesson], classes: int) -> Weights:
    """Returns the weights that fit the lessons: stochastic gradient descent, the order shuffled with a fixed seed.

    What many lessons show says little: the weight of a piece moves in proportion to its rarity (inverse document
    frequency), and the pieces of a message weigh 1 together, each by its rarity.
    """
    rarity = _rarity(lessons)
    # Lists are half again as fast to work on as arrays.
    pieces = [[0.0] * PLACES for _ in range(classes)]
    hints = [[0.0] * HINT_PLACES for _ in range(classes)]
    bias = [0.0] * classes
    # What counts more than once is shown more often: a longer step would throw the weights about.
    order = [
        (lesson, _getter(lesson.features.pieces), _value(lesson.features.pieces, rarity))
        for lesson in lessons
        for _ in range(max(1, round(lesson.weight)))
    ]
    chance, shown = random.Random(_SEED), _ROUNDS * len(order)  # noqa: S311 - a fixed order, no secret
    for round_ in range(_ROUNDS):
        chance.shuffle(order)
        for number, (lesson, of_lesson, value) in enumerate(order, round_ * len(order)):
            step = _STEP * (1 - number / shown)
            seen = lesson.features
            scores = [
                value * sum(of_lesson(p)) + _HINT * sum(map(h.__getitem__, seen.hints)) + b
                for p, h, b in zip(pieces, hints, bias, strict=True)
            ]
            for each, probability in enumerate(_softmax(scores)):
                error = probability - (each == lesson.answer)
                if -_GOOD_ENOUGH < error < _GOOD_ENOUGH:
                    continue
                move = step * min(1.0, lesson.weight) * error
                _move(pieces[each], seen.pieces, move * value, rarity)
                for place in seen.hints:
                    hints[each][place] -= move * _HINT
                bias[each] -= move * _BIAS_STEP
    return Weights(
        pieces=[array("f", p) for p in pieces], hints=[array("f", h) for h in hints], bias=bias, rarity=rarity
    )


def _rarity(lessons: Sequence[Lesson]) -> "array[float]":
    shown = Counter(place for lesson in lessons for place in lesson.features.pieces)
    most = log(len(lessons) + 1) or 1.0
    rarity = array("f", [1.0]) * PLACES
    for place, times in shown.items():
        rarity[place] = (1 - log(times + 1) / most) ** 2
    return rarity


def _getter(places: Sequence[int]) -> Callable[[Sequence[float]], Sequence[float]]:
    """Reads these places of a table, twice as fast as one by one."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda table: [table[place] for place in places]


def _move(weights: list[float], where: Sequence[int], by: float, rarity: "array[float]") -> None:
    for place in where:
        weights[place] -= by * rarity[place]


def _value(pieces: Sequence[int], rarity: "array[float]") -> float:
    """All pieces together weigh the same, however long the message."""
    weight = sum(map(rarity.__getitem__, pieces))
    return 1 / sqrt(weight) if weight else 0.0


def _softmax(scores: Sequence[float]) -> list[float]:
    highest = max(scores)
    shares = [exp(score - highest) for score in scores]
    total = sum(shares)
    return [share / total for share in shares]
