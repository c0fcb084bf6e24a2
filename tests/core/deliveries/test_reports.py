"""Reports that came too early, and those that never came."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from core.delivery import RANKS
from core.errors import Ambiguous, Permanent, Transient
from core.model import StatusReport, load_report
from core.ports import ProviderMessage
from core.store import load_queries
from tests.core.counting import counting
from tests.fakes import OUR_NUMBER, SOMEBODY, Bot

DELIVERIES = "SELECT * FROM deliveries ORDER BY id"
FIRST_ID = f"MM{1:032x}"
"""What FakeChannel calls the first message that it takes."""
LONG = "This is a sentence of a long answer. " * 60  # two pieces


def now_it_is(bot: Bot, status: str, error_code: str = "") -> None:
    """What became of the first message at the provider, of which no report came."""
    bot.channel.log[:] = [
        ProviderMessage(
            provider_id=FIRST_ID,
            sender=OUR_NUMBER,
            recipient=SOMEBODY,
            body="",
            inbound=False,
            status=status,
            error_code=error_code,
            created_at=datetime.now(UTC),
        )
    ]


def minutes_pass(bot: Bot, minutes: int) -> None:
    bot.change(
        "UPDATE deliveries SET accepted_at = accepted_at - %(t)s, next_attempt_at = next_attempt_at - %(t)s",
        t=timedelta(minutes=minutes),
    )


def test_reports_that_come_before_the_delivery_has_an_id_are_applied_when_it_learns_it_and_only_forward(
    bot: Bot,
) -> None:
    def early() -> None:
        for status in ("delivered", "sent"):
            bot.report(status, provider_id=FIRST_ID)
        assert bot.rows(DELIVERIES)[0]["status"] == ""

    bot.channel.meanwhile = early
    bot.say("hello")
    (delivery,) = bot.rows(DELIVERIES)
    assert (delivery["provider_id"], delivery["state"], delivery["status"]) == (FIRST_ID, "accepted", "delivered")


def test_an_early_report_of_failure_fails_the_delivery_and_cancels_the_rest(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.channel.meanwhile = lambda: bot.report("undelivered", provider_id=FIRST_ID, error_code="63016")
    bot.say("tell me")
    assert [(d["state"], d["error_code"]) for d in bot.rows(DELIVERIES)] == [("failed", "63016"), ("cancelled", "")]


def test_what_was_reported_of_a_doubtful_send_is_applied_when_it_is_found(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("read_timeout")]
    bot.channel.accepts_before_failing = True
    bot.say("hello")
    bot.report("delivered", provider_id=FIRST_ID)
    assert bot.rows(DELIVERIES)[0]["state"] == "unknown"
    bot.outbox.find_out(10)
    (delivery,) = bot.rows(DELIVERIES)
    assert (delivery["state"], delivery["status"]) == ("accepted", "delivered")


def test_a_report_with_our_own_id_brings_the_earlier_ones_without_it(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("read_timeout")]
    bot.say("hello")
    bot.report("read", provider_id=FIRST_ID)
    bot.report("sent", provider_id=FIRST_ID, delivery_id=bot.rows(DELIVERIES)[0]["id"])
    assert bot.rows(DELIVERIES)[0]["status"] == "read"


def test_learning_an_id_of_which_nothing_was_told_costs_one_statement_by_index(bot: Bot) -> None:
    bot.say("hello")
    query = load_queries()["accept_delivery"]
    with psycopg.connect(bot.database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            b"EXPLAIN " + query, {"delivery_id": 1, "fence": 1, "provider_id": FIRST_ID}
        ).fetchall()
    assert "reports_told_once" in str(plan)


@pytest.mark.parametrize("told", [(), ("sent",)])
def test_a_delivery_without_a_final_report_for_ten_minutes_is_asked_about_once(bot: Bot, told: tuple[str, ...]) -> None:
    bot.say("hello")
    for status in told:
        bot.report(status, provider_id=FIRST_ID)
    minutes_pass(bot, 9)
    assert bot.outbox.ask_after(10) == 0
    minutes_pass(bot, 2)
    now_it_is(bot, "read")
    assert bot.outbox.ask_after(10) == 1
    (delivery,) = bot.rows(DELIVERIES)
    assert delivery["status"] == "read"
    assert delivery["fetched_at"] is not None
    minutes_pass(bot, 60)
    assert bot.outbox.ask_after(10) == 0
    assert bot.channel.fetched == [FIRST_ID]


@pytest.mark.parametrize("status", ["delivered", "read", "undelivered"])
def test_a_delivery_with_a_final_report_is_not_asked_about(bot: Bot, status: str) -> None:
    bot.say("hello")
    bot.report(status, provider_id=FIRST_ID)
    minutes_pass(bot, 60)
    assert bot.outbox.ask_after(10) == 0


def test_what_was_asked_counts_as_a_report_and_applies_only_forward(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    minutes_pass(bot, 11)
    now_it_is(bot, "failed", "63024")
    bot.outbox.ask_after(10)
    assert [(d["state"], d["error_code"]) for d in bot.rows(DELIVERIES)] == [("failed", "63024"), ("cancelled", "")]
    assert [r["status"] for r in bot.rows("SELECT * FROM reports")] == ["failed"]
    bot.report("delivered", provider_id=FIRST_ID)
    assert bot.rows(DELIVERIES)[0]["status"] == "failed"


@pytest.mark.parametrize("status", ["queued", "something new"])
def test_whatever_comes_it_is_not_asked_again(bot: Bot, status: str) -> None:
    bot.say("hello")
    minutes_pass(bot, 11)
    now_it_is(bot, status)
    bot.outbox.ask_after(10)
    minutes_pass(bot, 60)
    assert bot.outbox.ask_after(10) == 0
    assert bot.rows(DELIVERIES)[0]["state"] == "accepted"


def test_a_delivery_that_the_provider_does_not_know_is_asked_about_once_too(bot: Bot) -> None:
    bot.say("hello")
    minutes_pass(bot, 11)
    bot.channel.log.clear()
    bot.outbox.ask_after(10)
    minutes_pass(bot, 60)
    assert bot.outbox.ask_after(10) == 0


@pytest.mark.parametrize("error", [Transient("server"), Permanent("auth", code="20003")])
def test_where_the_provider_cannot_be_asked_it_is_asked_a_minute_later(bot: Bot, error: Exception) -> None:
    bot.say("hello")
    minutes_pass(bot, 11)
    bot.channel.log_fails = error
    with pytest.raises(Transient):
        bot.outbox.ask_after(10)
    assert bot.outbox.ask_after(10) == 0
    minutes_pass(bot, 1)
    bot.channel.log_fails = None
    assert bot.outbox.ask_after(10) == 1


def test_a_round_of_asking_is_bounded_and_begins_with_the_oldest(bot: Bot) -> None:
    for n in range(3):
        bot.say("hello", sender=f"whatsapp:+49170000010{n}")
    minutes_pass(bot, 11)
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '1 minute' WHERE id = 3")
    assert bot.outbox.ask_after(2) == 2
    assert bot.channel.fetched[0] == bot.rows(DELIVERIES)[2]["provider_id"]


def test_the_rank_written_into_the_index_is_that_of_delivered() -> None:
    assert RANKS["delivered"] == 4
    assert b"status_rank < 4" in load_queries()["claim_unreported"]


def test_a_stored_report_is_told_once(bot: Bot) -> None:
    bot.say("hello")
    report = StatusReport(channel="twilio", provider_id=FIRST_ID, status="sent", received_at=datetime.now(UTC))
    for _ in range(2):
        bot.door.report(report)
    bot.outbox.take_reports()
    minutes_pass(bot, 11)
    now_it_is(bot, "sent")
    bot.outbox.ask_after(10)
    assert len(bot.rows("SELECT * FROM reports")) == 1


def told(bot: Bot, *reports: tuple[str, str, str]) -> None:
    """They come together: status, the provider's id and code of each."""
    for status, provider_id, error_code in reports:
        bot.tell(status, provider_id=provider_id, error_code=error_code)
    bot.outbox.take_reports()


def test_many_reports_take_as_many_round_trips_as_one(database_url: str, redis_url: str) -> None:
    with counting(database_url) as (url, wire):
        bot = Bot(url, redis_url)
        for number in range(9):
            bot.say("hello", sender=f"whatsapp:+49170000000{number}")
        ids = [delivery["provider_id"] for delivery in bot.rows(DELIVERIES)]
        wire.reset()
        told(bot, *((status, provider_id, "") for status in ("sent", "delivered", "read") for provider_id in ids))
        counted = (wire.statements, wire.round_trips)
        assert {delivery["status"] for delivery in bot.rows(DELIVERIES)} == {"read"}
        bot.close()
    assert counted == (5, 5)  # BEGIN, stored, found, applied, COMMIT: nothing waits to be sent


def test_what_comes_together_counts_once_and_only_forward(bot: Bot) -> None:
    for number in (1, 2, 3):
        bot.say("hello", sender=f"whatsapp:+49170000000{number}")
    first, second, third = (delivery["provider_id"] for delivery in bot.rows(DELIVERIES))
    told(
        bot,
        ("read", first, ""),
        ("sent", second, ""),
        ("sent", first, ""),
        ("undelivered", second, "63016"),
        ("delivered", third, ""),
        ("read", first, ""),
        ("delivered", second, ""),
        ("failed", third, "63016"),
        ("sent", "MMunknown", ""),
    )
    assert [(d["status"], d["state"]) for d in bot.rows(DELIVERIES)] == [
        ("read", "accepted"),
        ("undelivered", "failed"),
        ("delivered", "accepted"),
    ]
    assert len(bot.rows("SELECT * FROM reports")) == 8


def test_a_passing_failure_that_comes_with_a_later_sent_is_not_sent_anew(bot: Bot) -> None:
    bot.say("hello")
    told(bot, ("failed", FIRST_ID, "63018"), ("sent", FIRST_ID, ""))
    assert [d["state"] for d in bot.rows(DELIVERIES)] == ["failed"]


def test_a_report_that_cannot_be_applied_is_kept_apart_and_holds_up_no_other(bot: Bot) -> None:
    bot.say("hello")
    beyond = StatusReport(
        channel="twilio", provider_id="MMbeyond", status="sent", received_at=datetime.now(UTC), delivery_id=2**70
    )
    bot.door.report(beyond)
    told(bot, ("delivered", FIRST_ID, ""), ("sent", FIRST_ID, ""))
    assert bot.rows(DELIVERIES)[0]["status"] == "delivered"
    (letter,) = bot.rows("SELECT source, payload, reason FROM dead_letters")
    assert (letter["source"], load_report(letter["payload"])) == ("reports", beyond)
    assert letter["reason"] == "not applied: NumericValueOutOfRange"
    assert bot.inboxes.backlog().reports == 0
