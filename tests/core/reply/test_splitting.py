import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from core.reply.formatting import to_whatsapp
from core.reply.splitting import LIMIT, split, units

PREFIX = "*Kasho🎵*: "
FAMILY = "👨‍👩‍👧‍👦"
PLAIN = st.text(alphabet="ab c.\n!é日。🎵🇩🇪\u200d❤️\u0301", min_size=1, max_size=600)
WORDS = st.sampled_from(
    [
        "word",
        "*bold words here*",
        "_it al ic_",
        "`co de`",
        "end.",
        "\n",
        "\n\n",
        FAMILY,
        "\n```\nx = 1\ny = 2\n```\n",
        "长句子。",
    ]
)


def _graphemes(text: str) -> list[str]:
    return [g for g in regex.findall(r"\X", text) if not g.isspace()]


def test_a_short_text_is_one_piece_with_the_prefix():
    assert split(" hello ", first_prefix=PREFIX) == [PREFIX + "hello"]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_blank_text_gives_no_piece(text: str):
    assert split(text, first_prefix=PREFIX) == []


def test_only_the_first_piece_carries_the_prefix_and_pays_for_it():
    pieces = split("a" * 2 * LIMIT, first_prefix=PREFIX)
    assert pieces[0].startswith(PREFIX)
    assert not any(PREFIX in piece for piece in pieces[1:])
    assert max(map(units, pieces)) <= LIMIT


def test_a_text_that_fits_by_one_unit_is_not_cut():
    room = LIMIT - units(PREFIX)
    assert len(split("a" * room, first_prefix=PREFIX)) == 1
    assert len(split("a" * (room + 1), first_prefix=PREFIX)) == 2


def test_length_is_counted_in_utf16():
    assert units("a🎵é日") == 5
    assert len(split("🎵" * 751)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two. three\nfour\n\nfive six. seven\neight", ["one two. three\nfour", "five six. seven\neight"]),
        ("one two three. four five\nsix seven eight nine", ["one two three. four five", "six seven eight nine"]),
        ("one two three. four. five six seven eight nine", ["one two three. four.", "five six seven eight nine"]),
        ("one two three four five six seven eight nine ten", ["one two three four five", "six seven eight nine ten"]),
        (
            "一二三四五六七八九十一二三四五。六七八九十一二三四五六七八九十一二三四五",
            ["一二三四五六七八九十一二三四五。", "六七八九十一二三四五六七八九十一二三四五"],
        ),
    ],
)
def test_cuts_are_at_paragraphs_then_lines_then_sentences_then_words(text: str, expected: list[str]):
    assert split(text, limit=34) == expected


def test_a_tiny_first_paragraph_does_not_cost_a_piece():
    text = "Hi!\n\n" + "This is a sentence of a long paragraph. " * 40
    assert len(split(text)) == 2


@pytest.mark.parametrize("grapheme", [FAMILY, "🇩🇪", "é", "❤️", "👍🏽", "क्षि"])
def test_a_grapheme_is_never_cut(grapheme: str):
    pieces = split(grapheme * 400, limit=101)
    assert [g for piece in pieces for g in _graphemes(piece)] == _graphemes(grapheme * 400)
    assert max(map(units, pieces)) <= 101


def test_a_letter_under_thousands_of_accents_is_cut_at_code_points():
    zalgo = "a" + "\u0301" * 4_000
    pieces = split(zalgo, first_prefix=PREFIX)
    assert "".join(pieces) == PREFIX + zalgo
    assert max(map(units, pieces)) <= LIMIT


def test_a_code_block_that_is_cut_is_closed_and_opened_again():
    code = "\n".join(f"    line {n}" for n in range(300))
    pieces = split(f"Look:\n```\n{code}\n```\nDone.", first_prefix=PREFIX)
    assert len(pieces) == 3
    assert all(piece.count("```") == 2 for piece in pieces)
    lines = [line for piece in pieces for line in piece.split("\n") if line.startswith("    ")]
    assert "\n".join(lines) == code, "indentation is part of the code"


def test_a_code_block_that_fits_goes_to_the_next_piece_whole():
    block = "```\n" + "x = 1\n" * 100 + "```"
    first, second = split("Some words here. " * 60 + "\n\n" + block)
    assert "```" not in first
    assert second == block


@pytest.mark.parametrize("mark", ["*", "_", "~", "`"])
def test_a_marked_text_that_is_cut_is_marked_in_both_pieces(mark: str):
    pieces = split(mark + ("word " * 400).strip() + mark)
    assert len(pieces) == 2
    assert all(
        piece.startswith(f"{mark}w") and piece.endswith(f"d{mark}") and piece.count(mark) == 2 for piece in pieces
    )


def test_nested_markers_are_closed_inside_out():
    first, second = split("*_" + ("word " * 400).strip() + "_*")
    assert first.endswith("word_*")
    assert second.startswith("*_word")


def test_no_piece_holds_marks_alone_nor_opens_one_around_nothing():
    for before in range(40):
        for piece in split("🎵" * before + "*_" + "🎵" * 20 + "_*" + "🎵" * 30, limit=40):
            assert "🎵" in piece
            assert "_🎵" in piece or "_" not in piece
            assert "🎵_" in piece or "_" not in piece


def test_a_prefix_that_leaves_no_room_is_an_error():
    with pytest.raises(ValueError, match="no room"):
        split("text", first_prefix="x" * 20, limit=40)


@given(PLAIN, st.integers(min_value=100, max_value=300))
def test_pieces_of_plain_text_keep_the_limit_and_every_grapheme(text: str, limit: int):
    pieces = split(text, first_prefix=PREFIX, limit=limit)
    assert all(units(piece) <= limit and piece.strip() for piece in pieces)
    if pieces and all(units(g) <= limit // 2 for g in regex.findall(r"\X", text)):
        assert [g for p in [pieces[0].removeprefix(PREFIX), *pieces[1:]] for g in _graphemes(p)] == _graphemes(
            text.strip()
        )


@given(st.lists(WORDS, min_size=1, max_size=120), st.integers(min_value=80, max_value=300))
def test_pieces_of_marked_text_lose_no_word_and_leave_no_block_open(parts: list[str], limit: int):
    text = to_whatsapp(" ".join(parts))
    pieces = split(text, limit=limit)
    assert all(units(piece) <= limit and piece.strip("`*_~ \n") for piece in pieces)
    assert all(piece.count("```") % 2 == 0 for piece in pieces)
    bare = str.maketrans("", "", "`*_~ \n")
    assert "".join(pieces).translate(bare) == text.translate(bare)


@given(st.text(max_size=400), st.integers(min_value=40, max_value=120))
def test_any_text_at_all_keeps_the_limit(text: str, limit: int):
    assert all(0 < units(piece) <= limit for piece in split(text, limit=limit))
