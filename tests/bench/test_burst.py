"""Who wrote first is answered first: what tells so notices when it is not."""

import random

import pytest

from tests.bench.burst import IN_ORDER, rank_correlation

PEOPLE = 1000
ARRIVED = [number / PEOPLE for number in range(PEOPLE)]
"""Within a second."""


def accepted(order: list[int]) -> list[float]:
    """When each person's first answer was there, fifty a second, in that order of people."""
    at = {number: place / 50 for place, number in enumerate(order)}
    return [at[number] for number in range(PEOPLE)]


def test_ranks_are_compared_and_not_distances() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 40, 1000]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert rank_correlation([1, 1, 2], [5, 5, 9]) == pytest.approx(1), "equal ones share their rank"


def test_the_order_of_arrival_is_noticed_and_so_is_any_other() -> None:
    chance = random.Random(1)
    fair = list(range(PEOPLE))
    shuffled = chance.sample(fair, PEOPLE)
    nearly = sorted(fair, key=lambda number: number + chance.uniform(0, 200))  # places at once mix neighbours
    halves = [*chance.sample(fair[:500], 500), *chance.sample(fair[500:], 500)]
    assert rank_correlation(ARRIVED, accepted(fair)) == pytest.approx(1)
    assert rank_correlation(ARRIVED, accepted(nearly)) > IN_ORDER
    for broken in (shuffled, fair[::-1], fair[500:] + fair[:500], fair[100:] + fair[:100], halves):
        assert rank_correlation(ARRIVED, accepted(broken)) < IN_ORDER
