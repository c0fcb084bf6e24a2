import random
from array import array

import pytest

from core.ports import Vector
from core.routing.nearness import Neighbours


def cloud(chance: random.Random, middle: list[float], count: int) -> list[Vector]:
    return [array("f", [value + chance.gauss(0, 0.3) for value in middle]) for _ in range(count)]


def test_the_class_that_lies_nearest_has_most_votes():
    chance = random.Random(1)
    left, right = [chance.gauss(5, 1) for _ in range(64)], [chance.gauss(5, 1) for _ in range(64)]
    neighbours = Neighbours([*cloud(chance, left, 40), *cloud(chance, right, 40)], ["left"] * 40 + ["right"] * 40)
    assert neighbours.size == 64
    for middle, expected in ((left, "left"), (right, "right")):
        votes = neighbours.votes(cloud(chance, middle, 1)[0])
        assert max(votes, key=lambda each: votes[each]) == expected
        assert votes[expected] > 0.8
        assert sum(votes.values()) == pytest.approx(1)


def test_vectors_without_a_direction_break_nothing():
    still = array("f", [1.0, 1.0])
    assert Neighbours([still, still], ["a", "b"]).votes(still) == pytest.approx({"a": 0.5, "b": 0.5})
