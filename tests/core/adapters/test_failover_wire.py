"""Turns answered by real adapters over the wire, while the simulator's first model, or both, misbehave."""

import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.failover import Failover
from core.adapters.openai import OpenAiLlm
from core.errors import Transient
from core.ports import ChatMessage
from tests.core.simulated import Simulated
from tests.fakes import Bot

FIRST, SECOND = "gpt-6-luna", "gpt-4o-mini"
PROMPT = (ChatMessage(role="system", text="You are Kasho, one of three."), ChatMessage(role="user", text="hello"))
MARK = "(simulated)"
RAW = ("chatcmpl", "choices", "error", "I'm sorry, I can't help", "{")
"""What no person may ever see."""
TURN = "SELECT *, next_attempt_at - now() AS wait FROM turns ORDER BY id DESC LIMIT 1"


@contextmanager
def providers(simulated: Simulated, *models: str, timeout_s: float = 5) -> Generator[Failover]:
    adapters = [
        OpenAiLlm(simulated.provider(model, model), timeout=timedelta(seconds=timeout_s), connections=4)
        for model in models
    ]
    with closing(Failover(adapters)) as failover:
        yield failover


@contextmanager
def bot_asking(failover: Failover, database_url: str, redis_url: str, **settings: float) -> Generator[Bot]:
    with closing(Bot(database_url, redis_url, send_every=None, asks=failover, **settings)) as bot:
        yield bot


PASSED_OVER: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "retry_after": 60},
    {"status": 429, "retry_after": 60},
    {"status": 429},
    {"status": 429, "code": "insufficient_quota"},
    {"status": 401},
    {"status": 404},
    {"status": 400, "code": "context_length_exceeded"},
    {"cut_before": 1},
    {"cut": 1},
    {"hang": 1},
    {"trickle": 1},
    {"empty": 1},
    {"malformed": 1},
]


def _named(fault: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in fault.items())


@pytest.mark.parametrize("fault", PASSED_OVER, ids=_named)
def test_what_the_first_cannot_answer_the_second_does_in_the_same_turn(
    simulated: Simulated, database_url: str, redis_url: str, fault: dict[str, Any]
) -> None:
    simulated.faults(llm={**fault, "models": [FIRST]})
    with (
        providers(simulated, FIRST, SECOND, timeout_s=0.5) as failover,
        bot_asking(failover, database_url, redis_url) as bot,
    ):
        bot.say("Who knows about music?")
        (turn,) = bot.rows(TURN)
        bodies = bot.channel.bodies
    assert (turn["outcome"], turn["provider"], turn["model"], turn["failures"]) == ("answered", SECOND, SECOND, 0)
    assert turn["tokens_in"] > 0
    assert turn["tokens_out"] > 0
    assert turn["cost_usd"] > 0
    assert 0 <= turn["llm_ms"] < 500
    assert bodies[0].startswith("*Kasho🎵*: ")
    assert MARK in bodies[0]
    assert not any(raw in body for body in bodies for raw in RAW)


WAITS_FOR = [(fault, 55 if "retry_after" in fault else 0.3) for fault in PASSED_OVER if fault.get("status", 500) >= 429
             and "code" not in fault]  # fmt: skip


@pytest.mark.parametrize(("fault", "wait_s"), WAITS_FOR, ids=[_named(fault) for fault, _ in WAITS_FOR])
def test_what_nobody_can_answer_now_is_a_row_that_says_when_and_nothing_is_sent(
    simulated: Simulated, database_url: str, redis_url: str, fault: dict[str, Any], wait_s: float
) -> None:
    simulated.faults(llm=fault)
    with (
        providers(simulated, FIRST, SECOND, timeout_s=0.5) as failover,
        bot_asking(failover, database_url, redis_url) as bot,
    ):
        bot.say("hello")
        (turn,) = bot.rows(TURN)
        assert (turn["outcome"], turn["worker_id"], turn["failures"], bot.channel.sent) == (None, None, 1, [])
        assert timedelta(seconds=wait_s) < turn["wait"] <= timedelta(seconds=61)


def test_a_vendor_that_asked_for_time_is_asked_again_after_it_and_answers(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    simulated.faults(llm={"status": 429, "retry_after": 1.5, "count": 2})
    with providers(simulated, FIRST, SECOND) as failover, bot_asking(failover, database_url, redis_url) as bot:
        asked = time.monotonic()
        bot.say("hello")
        while not bot.channel.bodies:
            assert time.monotonic() - asked < 10
            for held in bot.turns.claim(1):
                bot.turns.run(held)
            time.sleep(0.05)
        assert time.monotonic() - asked >= 1.5
        assert MARK in bot.channel.bodies[0]
        (turn,) = bot.rows(TURN)
        assert (turn["provider"], turn["failures"]) == (FIRST, 1)


@pytest.mark.parametrize("fault", [f for f in PASSED_OVER if f.get("status") in (400, 401, 404) or "code" in f])
def test_what_nobody_will_ever_answer_ends_with_the_notice_in_her_voice(
    simulated: Simulated, database_url: str, redis_url: str, fault: dict[str, Any]
) -> None:
    simulated.faults(llm=fault)
    with providers(simulated, FIRST, SECOND) as failover, bot_asking(failover, database_url, redis_url) as bot:
        bot.say("Kasho, hello")
        (turn,) = bot.rows(TURN)
        assert turn["outcome"] == "failed"
        assert bot.channel.bodies[0].startswith("*Botan🌸*: ")  # nobody had been chosen yet
        assert bot.cast.text("failure", "en", bot.cast.default) in bot.channel.bodies[0]


def test_after_the_greatest_age_the_notice_ends_the_waiting(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    simulated.faults(llm={"status": 500})
    with (
        providers(simulated, FIRST, SECOND) as failover,
        bot_asking(failover, database_url, redis_url, RETRY_MAX_AGE_S=60) as bot,
    ):
        bot.say("hello")
        bot.change("UPDATE turns SET next_attempt_at = now(), created_at = now() - interval '61 seconds'")
        for held in bot.turns.claim(1):
            bot.turns.run(held)
        (turn,) = bot.rows(TURN)
        assert (turn["outcome"], turn["reason"], len(bot.channel.sent)) == ("failed", "server", 1)


def test_who_would_be_asked_again_too_late_is_told_at_once(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    simulated.faults(llm={"status": 429, "retry_after": 7200})
    with providers(simulated, FIRST, SECOND) as failover, bot_asking(failover, database_url, redis_url) as bot:
        bot.say("hello")
        (turn,) = bot.rows(TURN)
        assert (turn["outcome"], turn["reason"], len(bot.channel.sent)) == ("failed", "rate", 1)


@pytest.mark.parametrize("fault", ["refusal", "content_filter"])
def test_a_refusal_becomes_our_own_kind_words_and_no_other_provider_is_asked(
    simulated: Simulated, database_url: str, redis_url: str, fault: str
) -> None:
    simulated.faults(llm={fault: 1, "models": [FIRST]})
    with providers(simulated, FIRST, SECOND) as failover, bot_asking(failover, database_url, redis_url) as bot:
        bot.say("hello")
        (turn,) = bot.rows(TURN)
        assert (turn["outcome"], turn["reason"], turn["provider"]) == ("refused", "llm_refused", FIRST)
        assert bot.cast.text("refusal", "en", bot.cast.default) in bot.channel.bodies[0]


def test_an_answer_at_the_token_limit_ends_with_a_whole_sentence_and_is_noted(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    simulated.faults(llm={"overlong": 1})
    with providers(simulated, FIRST, SECOND) as failover, bot_asking(failover, database_url, redis_url) as bot:
        bot.say("hello")
        (turn,) = bot.rows(TURN)
        (said,) = bot.rows("SELECT text FROM messages WHERE direction = 'out'")
        assert turn["cut"]
        assert said["text"].endswith("after the other.")
        assert not any(raw in body for body in bot.channel.bodies for raw in RAW)


def test_a_trickling_answer_ends_at_the_timeout(simulated: Simulated) -> None:
    simulated.faults(llm={"trickle": 1, "trickle_ms": 8000})
    with providers(simulated, FIRST, timeout_s=1) as failover:
        started = time.monotonic()
        with pytest.raises(Transient, match=r"^timeout$"):
            failover.complete(PROMPT, deadline=started + 60)
        assert 0.9 < time.monotonic() - started < 1.5


def test_of_two_that_trickle_each_has_its_timeout_and_both_the_deadline(simulated: Simulated) -> None:
    simulated.faults(llm={"trickle": 1, "trickle_ms": 8000})
    with providers(simulated, FIRST, SECOND, timeout_s=1) as failover:
        for within_s, ends_s in ((60, 2), (1.5, 1.5), (0.5, 0.5)):
            started = time.monotonic()
            with pytest.raises(Transient, match=r"^timeout$"):
                failover.complete(PROMPT, deadline=started + within_s)
            assert ends_s - 0.1 < time.monotonic() - started < ends_s + 0.4


def test_a_slow_trickle_that_ends_in_time_is_an_answer(simulated: Simulated) -> None:
    simulated.faults(llm={"trickle": 1, "trickle_ms": 600})
    with providers(simulated, FIRST, timeout_s=5) as failover:
        assert MARK in failover.complete(PROMPT, deadline=time.monotonic() + 60).text


def test_one_in_three_calls_failing_in_every_way_still_answers_everybody(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    rate = 0.04
    kinds = ("cut_before", "hang", "cut", "trickle", "empty", "malformed")
    simulated.faults(seed=7, llm={**dict.fromkeys(kinds, rate), "status": 500, "rate": 2 * rate})
    with (
        providers(simulated, FIRST, SECOND, timeout_s=0.3) as failover,
        bot_asking(failover, database_url, redis_url) as bot,
    ):
        began = datetime.now(UTC)
        for n in range(40):
            bot.say(f"question {n}", sender=f"whatsapp:+4917000{n:05d}")
        while bot.rows("SELECT id FROM turns WHERE finished_at IS NULL"):
            assert datetime.now(UTC) - began < timedelta(seconds=60)
            for held in bot.turns.claim(10):
                bot.turns.run(held)
            time.sleep(0.1)
        assert {turn["outcome"] for turn in bot.rows("SELECT outcome FROM turns")} == {"answered"}
        assert all(MARK in body for body in bot.channel.bodies)
        assert len(bot.channel.bodies) == 40
