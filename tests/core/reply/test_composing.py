from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cast.characters import Character
from core.reply.composing import compose, name_line, notice
from core.reply.splitting import LIMIT, units

KASHO = Character(
    id="kasho",
    name="Kasho",
    emoji="🎵",
    default=True,
    summary="music",
    aliases=("kasho",),
    topics={},
    prompt="",
    texts={},
)


def test_a_reply_reads_as_the_name_and_the_text():
    assert compose(KASHO, "Try a **metronome**.") == ["*Kasho🎵*: Try a *metronome*."]


def test_a_character_without_an_emoji_has_a_name_line_too():
    assert name_line(replace(KASHO, emoji="")) == "*Kasho*: "


@pytest.mark.parametrize("label", ["Kasho: ", "**Kasho** 🎵: ", "*Kasho🎵*: "])
def test_the_name_stands_there_once(label: str):
    assert compose(KASHO, f"{label}Hi") == ["*Kasho🎵*: Hi"]


def test_the_welcome_follows_after_a_blank_line_in_italics():
    assert compose(KASHO, "Hi!", welcome="We are three. DELETE erases all.\nsee a_b") == [
        "*Kasho🎵*: Hi!\n\n_We are three. DELETE erases all._\nsee a_b"
    ]


def test_a_list_begins_on_a_line_of_its_own():
    assert compose(KASHO, "- a\n- b") == ["*Kasho🎵*: \n- a\n- b"]


def test_only_the_first_piece_carries_the_name():
    first, *others = compose(KASHO, "One sentence of many. " * 150)
    assert first.startswith("*Kasho🎵*: One")
    assert others
    assert all(piece.startswith("One") for piece in others)


@pytest.mark.parametrize(("answer", "shown"), [("---", "---"), ("", "…"), ("\x00 ", "…")])
def test_an_answer_that_shows_nothing_is_not_silence(answer: str, shown: str):
    assert compose(KASHO, answer) == [f"*Kasho🎵*: {shown}"]


def test_a_fixed_text_keeps_its_own_marks():
    assert notice(KASHO, "Send *DELETE* again.") == ["*Kasho🎵*: Send *DELETE* again."]


@given(st.text(max_size=4_000), st.text(max_size=50))
def test_any_answer_gives_pieces_that_the_channel_takes(answer: str, welcome: str):
    pieces = compose(KASHO, answer, welcome=welcome)
    assert pieces[0].startswith("*Kasho🎵*: ")
    assert all(0 < units(piece) <= LIMIT and piece.strip() for piece in pieces)
