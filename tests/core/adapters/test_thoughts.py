import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adapters.thoughts import without_thoughts


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        ("Hello!", "Hello!"),
        ("1 < 2 and <b>", "1 < 2 and <b>"),
        ("<think>She asks.</think>\n\nHello!", "\n\nHello!"),
        ("<THINKING>\nSo.\n</Thinking>Hello!", "Hello!"),
        ("<think></think>Hello!", "Hello!"),
        ("<think>a</think>Hel<think>b</think>lo", "Hello"),
        ("<think>a <think> b</think>Hello", "Hello"),
        ("The user said hello.\n</think>\nHello!", "\nHello!"),
        ("Hello!<think>and now", "Hello!"),
        ("<think>I never stop", ""),
        ("", ""),
    ],
)
def test_thoughts_are_taken_out(raw: str, left: str) -> None:
    assert without_thoughts(raw).text == left


def test_thoughts_that_began_in_the_prompt_are_noticed() -> None:
    assert without_thoughts("So.</think>Hello").begun_unseen
    assert not without_thoughts("<think>So.</think>Hello").begun_unseen


@given(st.lists(st.sampled_from(["<think>", "</think>", "<Thinking>", "hi ", "<", "\n"]), max_size=30).map("".join))
def test_whatever_came_before_a_thought_is_not_said_and_what_follows_it_is(raw: str) -> None:
    left = without_thoughts(f"{raw}<think>secret</think>said").text
    assert left.endswith("said")
    assert "secret" not in left
    assert "think" not in left.lower()


def test_many_tags_take_no_longer_than_their_number() -> None:
    started = time.monotonic()
    without_thoughts("<think>" * 300_000)
    assert time.monotonic() - started < 2
