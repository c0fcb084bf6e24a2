from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.delivery import FAILURES, RANKS, Remedy, advances, opted_out, pause, remedy, went_out

statuses = st.sampled_from([*RANKS, *FAILURES, "strange"])


@pytest.mark.parametrize(
    ("old", "new"),
    [("", "queued"), ("queued", "sent"), ("sent", "read"), ("delivered", "read"), ("sent", "failed"), ("", "failed")],
)
def test_a_report_that_comes_later_in_a_deliverys_life_counts(old: str, new: str) -> None:
    assert advances(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sent", "queued"),
        ("read", "delivered"),
        ("delivered", "failed"),
        ("read", "undelivered"),
        ("failed", "delivered"),
        ("undelivered", "failed"),
        ("canceled", "read"),
        ("accepted", "scheduled"),
        ("", "strange"),
        ("", "received"),
    ],
)
def test_a_report_that_comes_too_late_or_is_unknown_changes_nothing(old: str, new: str) -> None:
    assert not advances(old, new)


@given(st.lists(statuses, max_size=12))
def test_a_report_told_twice_changes_nothing_more(reports: list[str]) -> None:
    status = ""
    for report in reports:
        status = report if advances(status, report) else status
        assert not advances(status, report)


@given(st.permutations([s for s in RANKS if s != "scheduled"]))
def test_reports_in_any_order_end_at_the_highest(reports: list[str]) -> None:
    status = ""
    for report in reports:
        status = report if advances(status, report) else status
    assert status == "read"


def test_a_message_went_out_once_it_is_sent() -> None:
    assert [s for s in [*RANKS, *FAILURES, ""] if went_out(s)] == ["sent", "delivered", "read"]


def test_an_unknown_code_is_never_tried_again() -> None:
    assert remedy("99999") is Remedy.NEVER
    assert remedy("") is Remedy.NEVER
    assert remedy("63016") is Remedy.NEVER
    assert pause("99999") is None


@pytest.mark.parametrize("code", ["63038", "20003", "63051", "60728"])
def test_limits_and_locks_of_the_account_pause_the_sender_and_say_how_long(code: str) -> None:
    assert remedy(code) is Remedy.PAUSE_SENDER
    assert (pause(code) or timedelta(0)) > timedelta(0)


def test_passing_trouble_is_tried_again_after_a_while() -> None:
    assert remedy("21611") is Remedy.AGAIN
    assert pause("21611") == timedelta(minutes=2)


def test_an_unknown_error_of_the_carrier_is_tried_only_once_more() -> None:
    assert remedy("30008") is Remedy.ONCE_MORE


def test_only_twilios_own_stop_means_opted_out() -> None:
    assert opted_out("21610")
    assert not opted_out("63016")
