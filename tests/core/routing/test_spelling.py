from pathlib import Path

import pytest

from core.cast.characters import load_cast
from core.routing.phrases import load_phrases
from core.routing.words import Vocabulary
from tests.core.small_cast import small_cast, write


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    prompts = small_cast(tmp_path / "prompts")
    write(prompts, "examples/nobody.en.txt", "this bread is a large display\nthe bread again\n")
    return Vocabulary(load_cast(prompts), load_phrases(prompts))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("a recpie please", "a recipe please"),
        ("recip", "recipe"),
        ("which rrecipe?", "which recipe?"),
        ("ecipe, and ancor!", "recipe, and anchor!"),
        ("the anhcor", "the anchor"),
        # Each place of a word of five letters, the shortest that is mended.
        *((it, "bread") for it in ("pread", "bfead", "brzad", "brefd", "breax", "rbead", "berad", "braed", "breda")),
    ],
)
def test_a_slip_of_one_letter_is_read_as_it_was_meant(vocabulary: Vocabulary, typed: str, meant: str):
    assert vocabulary.read(typed)[0] == meant


@pytest.mark.parametrize(
    "text", ["soap", "boot", "bread", "display", "ropes", "recipes", "recppe1", "zzzzzzz", "スープ"]
)
def test_what_is_known_short_or_near_nothing_stays(vocabulary: Vocabulary, text: str):
    assert vocabulary.read(text)[0] == text


def test_a_mended_word_counts_as_the_word_it_is(vocabulary: Vocabulary):
    assert [term.text for term in vocabulary.read("a recpie")[1]] == ["recipe"]
