"""Who is addressed, in every language of the shipped cast; the messages stand in addressed.toml."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.routing.addressed import Addressed
from core.routing.text import fold

LANGUAGES = tomllib.loads(Path(__file__).with_name("addressed.toml").read_text(encoding="utf-8"))
CAST = ("botan", "kasho", "yuri")


def cases() -> Iterator[object]:
    for language, by_answer in LANGUAGES.items():
        for answer, texts in by_answer.items():
            for text in texts:
                yield pytest.param(text, answer, id=f"{language}: {text}")


def test_every_language_is_tried_with_at_least_25_messages_and_10_traps():
    for language, by_answer in LANGUAGES.items():
        assert sum(map(len, by_answer.values())) >= 25, language
        assert len(by_answer["none"]) >= 10, language


@pytest.mark.parametrize(("text", "answer"), list(cases()))
def test_who_is_spoken_to_answers_and_who_is_spoken_of_does_not(addressed: Addressed, text: str, answer: str):
    heard = addressed.hear(fold(text))
    characters = heard.opinion.characters if heard.opinion else ()
    if answer == "none" or answer.startswith("not "):
        assert characters == ()
        assert heard.unwanted == tuple(answer.split()[1:])
    else:
        assert characters == (CAST if answer == "all" else tuple(answer.split()))
