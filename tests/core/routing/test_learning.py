import pytest

from core.routing.features import features, places_of_word
from core.routing.learning import Lesson, Weights, learn
from core.routing.text import fold

LESSONS = {"where is the soup": 0, "is the salt here": 0, "the anchor is up": 1, "is the sail dry": 1}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return learn([Lesson(features=features(text, ()), answer=who, weight=1.0) for text, who in LESSONS.items()], 2)


def rarity(weights: Weights, word: str) -> float:
    """Of the word as a whole."""
    return min(weights.rarity[place] for place in places_of_word(word))


def test_what_many_lessons_show_weighs_less_than_what_few_do(weights: Weights):
    assert rarity(weights, "the") < 0.01
    assert rarity(weights, "the") < rarity(weights, "soup") < rarity(weights, "zebra") == 1


def test_words_of_every_message_decide_nothing(weights: Weights):
    assert weights.probabilities(features("is the", ())) == pytest.approx([0.5, 0.5], abs=0.05)
    assert weights.probabilities(features("is the soup", ()))[0] > 0.7


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("pyaar", "pyr", True),
        ("banget", "bngt", True),
        ("buku", "bk", True),
        ("boss", "bos", True),
        ("na", "no", False),
    ],
)
def test_words_that_differ_in_vowels_and_doubled_letters_share_a_piece(one: str, other: str, *, alike: bool):
    assert bool(places_of_word(fold(one)) & places_of_word(fold(other))) == alike
