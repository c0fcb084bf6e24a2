# ruff: noqa: RUF001 - text in other scripts is the point
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reply.formatting import MAX_CHARS, clean_answer, cut_to_sentence, printable, to_whatsapp

MARKUP = st.text(alphabet="ab1 \n\t*_~`#>-+|[]()!<>/\\$&;:.{}=•🎵é重。\u0301\x00", max_size=200)


def _check(markdown: str, expected: str) -> None:
    assert to_whatsapp(markdown) == expected


@pytest.mark.parametrize(
    "text",
    [
        "5 * 3 = 15, and 4*2*1 too",
        "2**3 and 4**5",
        "x**2 + y**2",
        "snake_case and a_b_c",
        "see https://example.com/a_b_c/__init__.py?x=*1*&y=_2_ ok",
        "hi :) :* ;_; T_T ^_^ *_* (*^_^*) >_< <3 \\o/ ¯\\_(ツ)_/¯",
        ">:( that hurt",
        "costs $5 and $10, or US$7",
        "a < b and c > d, if a<b and c>d",
        "<grins> and <your name>",
        "[Ana]: hello",
        "#hashtag and @name",
        "one\ntwo\n\nthree",
        "1999. That was a year.\n2004. Another.",
        "text\n-",
        "-",
        "#",
        "~5 min",
        "_already_ WhatsApp ~style~ and `code`",
        "> quoted\n> twice",
        "مرحبا بك! שלום, こんにちは。नमस्ते।",
        "👨‍👩‍👧‍👦 🇩🇪 ❤️",
    ],
)
def test_plain_chat_text_comes_through_untouched(text: str):
    _check(text, text)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("```python\nprint('*x*')\n\n\n# __y__\n```", "```\nprint('*x*')\n\n\n# __y__\n```"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("use `a * b_c_` now", "use `a * b_c_` now"),
        ("``a`b``", "```a`b```"),
    ],
)
def test_code_stays_as_it_is_without_its_language(markdown: str, expected: str):
    _check(markdown, expected)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("![a cat](https://x.io/a_b.png)", "a cat: https://x.io/a_b.png"),
        ("![](https://x.io/c.png)", "https://x.io/c.png"),
        ("[the docs](https://x.io/a_b_)", "the docs (https://x.io/a_b_)"),
        ("[https://x.io](https://x.io)", "https://x.io"),
        ("<https://x.io/a_b_>", "https://x.io/a_b_"),
        ("<me@x.io>", "me@x.io"),
        ("[the docs][1]\n\n[1]: https://x.io", "the docs (https://x.io)"),
        ("[2]: https://x.io/unused", "[2]: https://x.io/unused"),
        ("[日本](https://ja.wikipedia.org/wiki/日本)", "日本 (https://ja.wikipedia.org/wiki/日本)"),
    ],
)
def test_links_and_images_show_their_address(markdown: str, expected: str):
    _check(markdown, expected)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# Title", "*Title*"),
        ("### A **bold** and *slanted* title ##", "*A bold and _slanted_ title*"),
        ("Title\n===\ntext", "*Title*\ntext"),
        ("A sentence.\n---\nMore", "A sentence.\n\nMore"),
        ("a\n\n---\n\nb\n***\nc", "a\n\nb\n\nc"),
    ],
)
def test_headings_are_bold_and_rules_are_blank_lines(markdown: str, expected: str):
    _check(markdown, expected)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**bold** __bold__ *it* _it_ ~~no~~", "*bold* *bold* _it_ _it_ ~no~"),
        ("***both***", "*_both_*"),
        ("**bold _it_ bold**", "*bold _it_ bold*"),
        ("**Label:** text", "*Label:* text"),
        ("**one\ntwo** three", "*one*\n*two* three"),
        ("**https://x.io/a_b**", "*https://x.io/a_b*"),
        ("un**believ**able", "unbelievable"),
        ("这是**重点**内容", "这是 *重点* 内容"),
        ("他说**「好。」**然后", "他说 *「好。」* 然后"),
    ],
)
def test_markers_are_whatsapps_and_stand_where_it_reads_them(markdown: str, expected: str):
    _check(markdown, expected)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("* a\n+ b\n• c", "- a\n- b\n- c"),
        ("- a\n  - b\n    - c", "- a\n  - b\n    - c"),
        ("1. a\n2. b\n   - c", "1. a\n2. b\n  - c"),
        ("1. a\n1. b", "1. a\n2. b"),
        ("4. a\n7. b", "4. a\n7. b"),
        ("- [ ] to do\n- [x] done", "- ☐ to do\n- ☑ done"),
        ("Options:\n- a\n- b\n\nNow?", "Options:\n- a\n- b\n\nNow?"),
    ],
)
def test_lists_keep_their_shape(markdown: str, expected: str):
    _check(markdown, expected)


def test_a_table_becomes_one_line_a_row():
    _check("| a | b |\n|---|---|\n| 1 | **2** |\n| x | y |", "a — b\n1 — *2*\nx — y")


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("<b>a</b><!-- no --> b<br>c", "a b\nc"),
        ("<p>a</p><p>b</p>", "a\nb"),
        ("Tom &amp; Ana &lt;3 \\*so\\*", "Tom & Ana <3 *so*"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("a\x00b\x07c\ud83d", "abc"),
        ("a\r\nb\u2028c", "a\nb\nc"),
        ("\\(x^2\\) and $E = mc^2$ and $$\n\\frac{a}{b}\n$$", "x^2 and E = mc^2 and \\frac{a}{b}"),
        ("\\(like this\\)", "(like this)"),
    ],
)
def test_what_a_chat_cannot_show_is_dropped(markdown: str, expected: str):
    _check(markdown, expected)


def test_input_is_cut_before_the_work_begins():
    assert len(to_whatsapp("a " * MAX_CHARS)) < MAX_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "![" * 10_000,
        "*a " * 7_000,
        "_*" * 10_000,
        "\\(" * 10_000,
        "$a" * 10_000,
        "<!--" * 5_000,
        "> " * 9_999,
        "*a " * 3_000 + "a*" * 3_000,
        "- " * 10_000,
        "**「重」**重" * 2_500,
        "a" + "\u0301" * 19_999,
    ],
)
def test_hostile_input_costs_a_bounded_time(text: str):
    begun = time.process_time()
    to_whatsapp(text)
    assert time.process_time() - begun < 5, "quadratic work: these take 0.6 s at most on a slow core"


@given(st.one_of(st.text(max_size=300), MARKUP))
def test_any_text_gives_a_text_without_controls_or_outer_blank_lines(text: str):
    shown = to_whatsapp(text)
    assert shown == shown.strip("\n")
    assert printable(shown) == shown
    shown.encode()


@given(st.text(alphabet="abc XYZ,.!?'\"é日本🎵", max_size=200))
def test_words_without_marks_are_not_changed(text: str):
    lines = " ".join(text.split(" ")).strip()
    assert to_whatsapp(lines) == lines


@given(
    st.lists(st.sampled_from(["word", "_it_", "~no~", "`c*d`", "- item", "> quote", "https://x.io/a_b_", "1. one", ""]))
)
def test_text_in_whatsapps_own_marks_is_a_fixed_point(lines: list[str]):
    once = to_whatsapp("\n".join(lines))
    assert to_whatsapp(once) == once


NAMES = ("Kasho", "Kasho🎵", "kasho", "カショウ")


@pytest.mark.parametrize(
    "label",
    [
        "Kasho:",
        "*Kasho🎵*: ",
        "**Kasho** 🎵: ",
        "**Kasho:** ",
        "🎵 Kasho: ",
        "KASHO：",
        "[Kasho]: ",
        "カショウ: ",
        "Kasho: Kasho: ",
    ],
)
def test_a_leading_own_name_is_removed(label: str):
    assert clean_answer(f"  {label}*Hi* there ", NAMES) == "*Hi* there"


@pytest.mark.parametrize(
    "text",
    ["Kasho says: hi", "Kashoo: hi", "Yuri: hi", "Kasho", "Kasho:", "Kasho: \u200b", "- Kasho: hi", "Kasho:) hi", ""],
)
def test_text_that_is_no_label_stays(text: str):
    assert clean_answer(text, NAMES) == text


def test_without_names_an_answer_is_only_stripped():
    assert clean_answer(" : hi ", ("", " ")) == ": hi"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two and thr", "One."),
        ("One! Two? And", "One! Two?"),
        ('She said "yes." And', 'She said "yes."'),
        ("Great! 🎵 And so", "Great! 🎵"),
        ("你好。再见！我们", "你好。再见！"),
        ("नमस्ते। आप कैसे", "नमस्ते।"),
        ("Ask Dr. Li, e.g. now. Then ask Mr. Smi", "Ask Dr. Li, e.g. now."),
        ("It was 1999. Then", "It was 1999."),
        ("Fine. It costs 3.", "Fine."),
        ("1. Foo\n2. Bar\n3. Ba", "1. Foo\n2. Bar"),
        ("1. Foo.\n2. ", "1. Foo."),
        ("Here:\n- Apples\n- Pe", "Here:\n- Apples"),
        ("Whole.", "Whole."),
        ("no sentence end her", "no sentence end"),
        ("Word", "Word"),
        ("We love **this. And that** ", "We love this."),
        ("Try:\n```py\na = 1\nb = 2\nc =", "Try:\n```py\na = 1\nb = 2\n```"),
        ("Try this. So:\n```py\na = ", "Try this."),
        ("```py\na", "```py\na"),
    ],
)
def test_an_answer_cut_by_length_ends_with_its_last_whole_sentence(text: str, expected: str):
    assert cut_to_sentence(text) == expected


@given(st.one_of(st.text(max_size=200), MARKUP))
def test_cutting_back_never_empties_nor_lengthens_a_text(text: str):
    cut = cut_to_sentence(text)
    assert bool(cut.strip()) == bool(text.strip())
    assert len(cut) <= len(text) + len("\n```")
