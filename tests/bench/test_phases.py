"""Phases add up: what a trace's steps took and what lay between them is all of the time to the end of its send."""

import pytest

from tests.bench.phases import phases_ms
from tests.collector import Seen

MARKS = [
    ("POST /whatsapp", 0, 3), ("intake", 5, 9), ("turn", 10, 60), ("route", 12, 14), ("moderate", 14, 20),
    ("chat gpt-6-luna", 25, 40), ("moderate", 40, 45), ("store", 45, 50), ("send", 53, 60),
]  # fmt: skip


def trace(name: str, *, at_s: float = 100.0, without: str = "") -> list[Seen]:
    steps = [step for step in MARKS if step[0] != without]
    return [
        Seen(
            name=step, kind="internal", trace=name, id="", parent="", links=[], attributes={}, resource={},
            failed=False, events=0, began_s=at_s + began / 1000, ended_s=at_s + ended / 1000,
        )
        for step, began, ended in steps
    ]  # fmt: skip


def test_the_phases_of_a_message_are_all_of_its_time():
    phases = {phase: values[0] for phase, values in phases_ms(trace("a"), since_s=100).items()}
    assert phases["until its turn is claimed and read"] == pytest.approx(3)
    assert phases["limits asked, prompt built"] == pytest.approx(5)
    assert phases["both texts moderated"] == pytest.approx(11)
    assert sum(phases.values()) == pytest.approx(60)


def test_what_is_not_whole_or_was_received_before_is_left_out():
    spans = trace("a", without="send") + trace("b", at_s=99) + trace("c")
    assert {len(values) for values in phases_ms(spans, since_s=100).values()} == {1}
