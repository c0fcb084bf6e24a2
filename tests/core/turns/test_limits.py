"""One rate for all workers, Meta's pair limit, and what a person or a day may use."""

import itertools
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from core.config import SANDBOX_NUMBER, LimitSettings, TwilioSettings
from core.deliveries.outbox import PAIR_EVERY
from core.errors import Permanent, Spent, Transient
from core.store import load_queries
from core.turns.limits import SPENT_IS_GOOD_FOR, Limits
from core.wiring.worker import send_every
from tests.fakes import Bot, completion

TURNS = "SELECT outcome, reason FROM turns ORDER BY id"


@pytest.fixture
def paced(database_url: str, redis_url: str) -> Iterator[Bot]:
    bot = Bot(database_url, redis_url, send_every=timedelta(seconds=3))
    yield bot
    bot.close()


def say_as(bot: Bot, number: int) -> None:
    bot.say("hello", sender=f"whatsapp:+49170000{number:04d}")


def pause_is_over(bot: Bot) -> None:
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")


def test_sends_take_places_in_time_one_after_the_other(paced: Bot) -> None:
    for number in range(3):
        say_as(paced, number)
    assert len(paced.channel.sent) == 1
    waits = paced.rows(
        "SELECT round(extract(epoch FROM next_attempt_at - now()))::int AS wait"
        " FROM deliveries WHERE state = 'waiting' ORDER BY id"
    )
    assert [row["wait"] for row in waits] == [3, 6]


def test_a_place_once_taken_is_used_and_not_asked_for_again(paced: Bot) -> None:
    for number in range(2):
        say_as(paced, number)
    paced.change("UPDATE deliveries SET next_attempt_at = now() WHERE state = 'waiting'")
    for conversation_id in paced.outbox.due(10):
        paced.outbox.push(conversation_id)
    assert len(paced.channel.sent) == 2
    (sender,) = paced.rows("SELECT extract(epoch FROM free_at - now()) AS ahead FROM senders")
    assert sender["ahead"] < 6.1


def test_after_a_rest_what_missed_its_place_takes_places_anew(database_url: str, redis_url: str) -> None:
    every = timedelta(seconds=1)
    bot = Bot(database_url, redis_url, send_every=every)
    bot.channel.outcomes = [Transient("rejected", code="63017")]
    for number in range(12):
        say_as(bot, number)
    assert len(bot.channel.sent) == 1
    bot.change("UPDATE deliveries SET state = 'waiting', worker_id = NULL, slot_at = now() + id * interval '0.1 s'")
    for table, columns in (("deliveries", ("slot_at", "next_attempt_at")), ("senders", ("free_at", "paused_until"))):
        back = ", ".join(f"{column} = {column} - interval '6 seconds'" for column in columns)
        bot.change(f"UPDATE {table} SET {back}")
    for conversation_id in bot.outbox.due(50):
        bot.outbox.push(conversation_id)
    waits = bot.rows("SELECT slot_at FROM deliveries WHERE state = 'waiting' ORDER BY slot_at")
    assert len(waits) + len(bot.channel.sent) - 1 == 12
    assert len(waits) >= 8  # the others' new places came while this ran
    assert all(later["slot_at"] - sooner["slot_at"] >= every for sooner, later in itertools.pairwise(waits))
    (person,) = bot.rows("SELECT max(pair_free_at) < now() + %(two)s AS once FROM conversations", two=PAIR_EVERY * 1.5)
    assert person["once"]  # the limit of the pair was asked for once
    bot.close()


def test_after_its_burst_a_person_gets_one_message_per_interval(paced: Bot) -> None:
    say_as(paced, 1)
    paced.change("UPDATE conversations SET pair_free_at = now() + %(ahead)s", ahead=PAIR_EVERY * 45)
    paced.change("UPDATE senders SET free_at = 'epoch'")
    pause_is_over(paced)
    say_as(paced, 1)
    (row,) = paced.rows(
        "SELECT extract(epoch FROM next_attempt_at - now()) AS wait FROM deliveries WHERE state = 'waiting'"
    )
    assert 5 < row["wait"] <= 6
    say_as(paced, 2)  # somebody else is not held up
    assert len(paced.channel.sent) == 2


def test_the_rate_is_twilios_unless_given_or_at_a_stand_in() -> None:
    def every(number: str, base_url: str = "", **limits: float) -> timedelta | None:
        twilio = TwilioSettings.model_construct(number=number, base_url=base_url)
        return send_every(LimitSettings.model_validate(limits), twilio)

    assert every("whatsapp:+15550001111") == timedelta(seconds=1 / 80)
    assert every(SANDBOX_NUMBER) == timedelta(seconds=3)
    assert every(SANDBOX_NUMBER, "http://127.0.0.1:1") is None
    assert every(SANDBOX_NUMBER, "http://127.0.0.1:1", SEND_PER_SECOND=10) == timedelta(seconds=0.1)


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        ("PERSON_MESSAGES_PER_MINUTE", "messages"),
        ("PERSON_TURNS_PER_DAY", "turns"),
        ("PERSON_TOKENS_PER_DAY", "tokens"),
    ],
)
def test_beyond_a_limit_the_llm_is_not_asked_and_one_notice_says_so(
    database_url: str, redis_url: str, limit: str, name: str
) -> None:
    bot = Bot(database_url, redis_url, asks=None, send_every=None, **{limit: 1})
    for _ in range(3):
        pause_is_over(bot)
        bot.say("hello")
    assert [turn["outcome"] for turn in bot.rows(TURNS)] == ["answered", "refused", "refused"]
    assert bot.rows(TURNS)[1]["reason"] == f"limit_{name}"
    assert len(bot.llm.prompts) == 1
    assert len(bot.channel.sent) == 2
    pause_is_over(bot)
    say_as(bot, 2)  # one person's limit is not another's
    assert len(bot.llm.prompts) == 2
    bot.close()


def test_a_limit_that_is_over_is_answered_and_noticed_anew(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url, PERSON_MESSAGES_PER_MINUTE=1)
    for _ in range(2):
        bot.say("hello")
        pause_is_over(bot)
    bot.change("UPDATE messages SET stored_at = stored_at - interval '2 minutes'")
    for _ in range(2):
        bot.say("hello")
        pause_is_over(bot)
    assert [turn["outcome"] for turn in bot.rows(TURNS)] == ["answered", "refused", "answered", "refused"]
    assert len(bot.channel.sent) == 4
    bot.close()


def test_what_was_paid_counts_on_its_day_whatever_becomes_of_the_turn(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url, BUDGET_USD_PER_DAY=0.5)
    for person in range(1, 4):
        bot.llm.answers = [completion("dear", cost_usd=Decimal("0.1"))]
        say_as(bot, person)
    bot.change("DELETE FROM deliveries")
    bot.change("UPDATE messages SET turn_id = NULL")
    bot.change("DELETE FROM turns WHERE id = (SELECT max(id) FROM turns)")
    with bot.store.alone() as statement:
        assert statement.value("spent_today") == Decimal("0.3")
    assert len(bot.rows("SELECT part FROM spending")) == 3  # they would not have waited for each other
    bot.close()


def test_asking_for_the_budget_reads_no_turn(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        plan = connection.execute(b"EXPLAIN " + load_queries()["spent_today"]).fetchall()
    told = "\n".join(line for (line,) in plan)
    assert "spending" in told
    assert "turns" not in told


def test_the_days_budget_holds_for_all_together(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url, BUDGET_USD_PER_DAY=0.5)
    bot.llm.answers = [completion("dear", cost_usd=Decimal("0.6"))]
    say_as(bot, 1)
    limits = Limits(
        store=bot.store,
        settings=LimitSettings.model_validate({"BUDGET_USD_PER_DAY": 0.5}),
        clock=lambda: time.monotonic() + SPENT_IS_GOOD_FOR.total_seconds(),
    )
    assert limits.reached(conversation_id=0, turn_id=0) == "budget"
    bot.change("UPDATE spending SET day = day - 1")
    fresh = Limits(store=bot.store, settings=LimitSettings.model_validate({"BUDGET_USD_PER_DAY": 0.5}))
    assert fresh.reached(conversation_id=0, turn_id=0) == ""
    bot.close()


PAID = Spent(tokens_in=10, tokens_out=2, cost_usd=Decimal("0.3"))
USED = "SELECT tokens_in, tokens_out, cost_usd FROM turns ORDER BY id"


def test_answers_that_are_worth_nothing_are_counted_into_the_turn_and_the_day(
    database_url: str, redis_url: str
) -> None:
    bot = Bot(database_url, redis_url)
    budget = LimitSettings.model_validate({"BUDGET_USD_PER_DAY": 0.5})
    bot.llm.answers = [Transient("empty").having_spent(PAID), Transient("malformed").having_spent(PAID)]
    bot.say("hello")
    for times in (1, 2):
        (turn,) = bot.rows(USED)
        assert turn == {"tokens_in": 10 * times, "tokens_out": 2 * times, "cost_usd": Decimal("0.3") * times}
        fresh = Limits(store=bot.store, settings=budget)
        assert fresh.reached(conversation_id=0, turn_id=0) == ("" if times == 1 else "budget")
        bot.change("UPDATE turns SET next_attempt_at = now()")
        for held in bot.turns.claim(1):
            bot.turns.run(held)
    (turn,) = bot.rows(USED)
    assert turn["cost_usd"] == Decimal("0.601")  # the answer in the end, too
    bot.close()


@pytest.mark.parametrize("answer", ["Sure.", Transient("malformed").having_spent(PAID)])
def test_what_a_lost_turn_had_paid_is_counted_all_the_same(bot: Bot, answer: str | Exception) -> None:
    bot.llm.answers = [completion("Sure.", cost_usd=Decimal("0.3")) if isinstance(answer, str) else answer]
    bot.llm.meanwhile = lambda _: bot.change("UPDATE turns SET worker_id = NULL, claims = claims + 1")
    bot.say("hello")
    assert bot.rows(USED)[0]["cost_usd"] == 0
    assert (bot.turns.note_costs(), bot.turns.note_costs()) == (1, 0)
    assert bot.rows(USED)[0]["cost_usd"] == Decimal("0.3")
    fresh = Limits(store=bot.store, settings=LimitSettings.model_validate({"BUDGET_USD_PER_DAY": 0.3}))
    assert fresh.reached(conversation_id=0, turn_id=0) == "budget"


def test_what_was_paid_before_an_outage_is_counted_after_it(bot: Bot) -> None:
    bot.llm.answers = [completion("Sure.", cost_usd=Decimal("0.3"))]
    bot.llm.meanwhile = lambda _: bot.change("ALTER TABLE turns RENAME TO elsewhere")
    bot.say("hello")
    with pytest.raises(Transient):
        bot.turns.note_costs()
    bot.change("ALTER TABLE elsewhere RENAME TO turns")
    assert bot.turns.note_costs() == 1
    assert bot.rows(USED)[0]["cost_usd"] == Decimal("0.3")


def test_an_answer_of_which_nothing_is_left_is_paid_for_too(bot: Bot) -> None:
    bot.llm.answers = [completion("\0", cost_usd=Decimal("0.3"))]
    bot.say("hello")
    assert bot.rows("SELECT reason, cost_usd FROM turns") == [{"reason": "empty", "cost_usd": Decimal("0.3")}]


def test_a_turn_that_ends_in_a_notice_keeps_its_cost_but_is_none_of_the_persons_turns(
    database_url: str, redis_url: str
) -> None:
    bot = Bot(database_url, redis_url, PERSON_TURNS_PER_DAY=1)
    bot.llm.answers = [Permanent("auth").having_spent(PAID)]
    bot.say("hello")
    assert bot.rows(TURNS)[0]["outcome"] == "failed"
    assert bot.rows(USED)[0]["cost_usd"] == Decimal("0.3")
    bot.say("hello?")
    assert bot.rows(TURNS)[1]["outcome"] == "answered"
    bot.close()
