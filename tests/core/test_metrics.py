"""What happens is counted once, under labels of few values, and nothing stale is told."""

import subprocess
import sys
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from core import metrics
from core.errors import Ambiguous, Permanent, Transient
from core.metrics import CODES_AT_MOST, Codes, Level, Levels, code_label
from tests.core.counted import counted
from tests.fakes import Bot

SECOND = timedelta(seconds=1)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_seen_is_told_until_it_is_stale_each_service_for_itself() -> None:
    clock = Clock()
    levels = Levels(good_for=SECOND * 15, clock=clock)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(levels)
    assert generate_latest(registry) == b""
    levels.saw("redis", [Level(name="a", help="A", value=3)])
    clock.now += 10
    levels.saw("postgres", [Level(name="b", help="B", value={"x": 1, "y": 2}, label="phase")])
    assert registry.get_sample_value("a") == 3
    assert registry.get_sample_value("b", {"phase": "y"}) == 2
    clock.now += 6
    assert registry.get_sample_value("a") is None
    assert registry.get_sample_value("b", {"phase": "x"}) == 1
    levels.saw("redis", [Level(name="a", help="A", value=0)])
    assert registry.get_sample_value("a") == 0


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("core.metrics", ['sisters_turns_total{outcome="crashed"} 0.0', 'sisters_turns_total{outcome="failed"} 0.0']),
        ("core.metrics", [f'sisters_catch_up_messages_total{{fate="{fate}"}} 0.0' for fate in ("failed", "too_late")]),
        ("core.metrics", [f'sisters_catch_ups_total{{end="{end}"}} 0.0' for end in ("done", "cut_off", "failed")]),
        ("webhook.metrics", ['sisters_webhook_refusals_total{reason="redis"} 0.0']),
        ("webhook.metrics", ['sisters_webhook_refusals_total{reason="signature"} 0.0']),
    ],
)
def test_what_wakes_somebody_is_told_as_zero_before_its_first(module: str, told: list[str]) -> None:
    """In a process of its own: in this one other tests have counted."""
    code = f"import {module}, prometheus_client; print(prometheus_client.generate_latest().decode())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(told) <= set(done.stdout.splitlines())


@pytest.mark.parametrize("code", ["63018", "30008", "429"])
def test_a_vendors_code_is_a_label(code: str) -> None:
    assert code_label(code) == code


@pytest.mark.parametrize("code", ["whatsapp:+491700000001", "1234567", "12", "6301\u0668", "insufficient", " 63018"])
def test_what_looks_like_no_code_is_other(code: str) -> None:
    assert code_label(code) == "other"


def test_no_code_is_none_and_one_too_many_is_other() -> None:
    codes = Codes()
    assert codes.label("") == "none"
    labels = [codes.label(str(number)) for number in range(40_000, 40_000 + CODES_AT_MOST + 1)]
    assert labels.count("other") == 1
    assert (labels[-1], codes.label("40000")) == ("other", "40000")


def test_an_answered_message_is_counted_once_at_each_step(bot: Bot) -> None:
    with counted() as told:
        bot.say("hello")
        bot.report("delivered", provider_id=f"MM{1:032x}")
        bot.report("delivered", provider_id=f"MM{1:032x}")
    assert told() == {
        "sisters_messages_stored_total": 1,
        'sisters_turns_total{outcome="answered"}': 1,
        'sisters_turn_seconds_count{outcome="answered"}': 1,
        'sisters_sends_total{code="none",outcome="accepted"}': 1,
        "sisters_send_seconds_count": 1,
        'sisters_reports_applied_total{status="delivered"}': 1,
    }


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ("again", Transient("rate", code="20429")),
        ("failed", Permanent("rejected", code="63016")),
        ("doubtful", Ambiguous("server", code="500")),
        ("rests", Permanent("auth", code="20003")),
    ],
)
def test_a_send_is_counted_by_how_it_ended_and_its_code(bot: Bot, outcome: str, error: Exception) -> None:
    code = getattr(error, "code", "")
    bot.channel.outcomes = [error]
    with counted("sisters_send", "sisters_sender") as told:
        bot.say("hello")
    pauses = {f'sisters_sender_pauses_total{{code="{code}"}}': 1} if outcome == "rests" else {}
    assert told() == {
        f'sisters_sends_total{{code="{code}",outcome="{outcome}"}}': 1,
        "sisters_send_seconds_count": 1,
        **pauses,
    }


def test_a_doubt_is_counted_with_its_end(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("cut"), Ambiguous("cut")]
    bot.say("hello")
    with counted("sisters_doubts", "sisters_resent") as told:
        for _ in range(2):
            bot.change("UPDATE deliveries SET next_attempt_at = now(), unknown_since = now() - interval '31 seconds'")
            bot.outbox.find_out(10)
    assert told() == {
        'sisters_doubts_settled_total{end="resent"}': 1,
        'sisters_doubts_settled_total{end="given_up"}': 1,
        "sisters_resent_unseen_total": 1,
    }


def test_reported_failures_and_what_goes_anew_are_counted_by_code(bot: Bot) -> None:
    bot.say("hello")
    with counted("sisters_reported", "sisters_sent", "sisters_sender") as told:
        bot.report("failed", provider_id=f"MM{1:032x}", error_code="63038")
    assert told() == {
        'sisters_reported_failures_total{code="63038"}': 1,
        'sisters_sent_anew_total{code="63038"}': 1,
        'sisters_sender_pauses_total{code="63038"}': 1,
    }


def test_a_turn_that_is_put_off_and_one_that_is_superseded_are_counted_as_such(bot: Bot) -> None:
    bot.llm.answers = [Transient("rate")]
    with counted("sisters_turn") as told:
        bot.say("hello")
    assert told() == {
        'sisters_turns_total{outcome="postponed"}': 1,
        'sisters_turn_retries_total{reason="rate"}': 1,
    }
    bot.change("UPDATE turns SET next_attempt_at = now()")

    def more(call: int) -> None:
        if call == 2:
            bot.accept("and this")
            bot.take_in()

    bot.llm.meanwhile = more
    with counted("sisters_turn") as told:
        bot.turns.run(bot.turns.claim(1)[0])
    assert told() == {
        'sisters_turns_total{outcome="superseded"}': 1,
        'sisters_turns_total{outcome="answered"}': 1,
        'sisters_turn_seconds_count{outcome="answered"}': 1,
    }


def test_the_time_of_a_turn_counts_from_when_the_answer_was_owed(bot: Bot) -> None:
    bot.slots.places = 0
    bot.say("hello")
    bot.change("UPDATE turns SET created_at = now() - interval '20 seconds'")
    with counted("sisters_turn_seconds_sum", sums=True) as told:
        bot.turns.run(bot.turns.claim(1)[0])
    (seconds,) = told().values()
    assert 20 <= seconds < 25


def test_handed_back_and_taken_over_are_counted(bot: Bot) -> None:
    bot.slots.places = 0
    bot.say("hello")
    bot.turns.claim(1)
    with counted("sisters_turns_handed", "sisters_taken") as told:
        bot.turns.hand_back()
    assert told() == {"sisters_turns_handed_back_total": 1}
    bot.turns.claim(1)
    bot.change("UPDATE turns SET worker_id = gen_random_uuid()")
    bot.time_passes(7)
    bot.upkeep.beat()
    bot.time_passes(7)
    with counted("sisters_taken") as told:
        bot.upkeep.release_lost()
    assert told() == {'sisters_taken_over_total{what="turns"}': 1}


def test_a_reading_of_the_log_is_counted_with_what_it_found(bot: Bot) -> None:
    with counted("sisters_catch") as told:
        bot.catch_up.run_due()
    assert told() == {'sisters_catch_ups_total{end="done"}': 1}


def test_no_metric_bears_an_id_or_a_name() -> None:
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert labels == {"source", "outcome", "reason", "what", "code", "end", "status", "fate", "duty"}
