"""A piece that was reported failed goes once more where that may help, and never where somebody may have seen it."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest

from core.delivery import REPORTS_SETTLE, RESENDS_AT_MOST, Remedy, anew_after, goes_anew, remedy
from core.errors import Ambiguous, Permanent
from core.model import StatusReport
from core.operations.audit import recount
from core.operations.comparison import Comparer
from core.operations.timeline import timeline
from core.store import load_queries
from tests.fakes import OUR_NUMBER, SOMEBODY, Bot, FakeMessageLog

DELIVERIES = "SELECT * FROM deliveries ORDER BY id"
FORMER = "SELECT * FROM former_ids ORDER BY set_aside_at"
LONG = "This is a sentence of a long answer. " * 60  # two pieces


def sid(number: int) -> str:
    """What FakeChannel calls the message of that number."""
    return f"MM{number:032x}"


def states(bot: Bot) -> list[str]:
    return [delivery["state"] for delivery in bot.rows(DELIVERIES)]


def wait_is_over(bot: Bot) -> None:
    bot.change(
        "UPDATE deliveries SET next_attempt_at = now(), accepted_at = accepted_at - interval '2 seconds' "
        "WHERE state IN ('waiting', 'accepted')"
    )
    for conversation_id in bot.outbox.due(10):
        bot.outbox.push(conversation_id)


def endings(bot: Bot) -> dict[str, int]:
    return {name: count for name, count in recount(bot.store).endings.items() if count}


def compared(bot: Bot) -> Any:
    log = FakeMessageLog(bot.channel)
    comparer = Comparer(
        store=bot.store, log=log, inboxes=bot.inboxes, channel="twilio", number=OUR_NUMBER, sleep=lambda _: None
    )
    return comparer.compare(datetime.now(UTC) - timedelta(hours=2))


def the_log_says(bot: Bot, number: int, status: str) -> None:
    bot.channel.log[:] = [
        replace(message, status=status) if message.provider_id == sid(number) else message
        for message in bot.channel.log
    ]


@pytest.mark.parametrize("code", ["63018", "63010", "63012", "30001", "21611", "30008"])
@pytest.mark.parametrize("status", ["failed", "undelivered"])
def test_a_passing_failure_is_sent_anew_and_the_message_ends_answered(bot: Bot, code: str, status: str) -> None:
    bot.say("hello")
    bot.report(status, provider_id=sid(1), error_code=code)
    assert states(bot) == ["waiting"]
    assert endings(bot) == {"open": 1}
    assert recount(bot.store, stuck_after=timedelta(0)).good  # it is planned
    wait_is_over(bot)
    (delivery,) = bot.rows(DELIVERIES)
    assert (delivery["state"], delivery["provider_id"], delivery["attempts"]) == ("accepted", sid(2), 3)
    assert bot.channel.bodies[0] == bot.channel.bodies[1]
    the_log_says(bot, 1, status)
    assert endings(bot) == {"answered": 1}
    assert compared(bot).good


@pytest.mark.parametrize("code", ["63016", "63003", "30007", "63049", "99999", ""])
def test_any_other_failure_is_final(bot: Bot, code: str) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code=code)
    assert states(bot) == ["failed"]
    assert bot.rows(FORMER) == []


def test_it_waits_before_it_goes_and_the_waits_double() -> None:
    random = Random(1)
    waits = [anew_after("63018", failed_before=number, random=random) for number in range(4)]
    for number, wait in enumerate(waits):
        assert REPORTS_SETTLE * 2**number <= wait <= REPORTS_SETTLE * 2**number * 1.25
    assert anew_after("21611", failed_before=0, random=random) >= timedelta(minutes=2)
    assert anew_after("63038", failed_before=0, random=random) < timedelta(minutes=1)  # the number's rest says when


def test_the_wait_stands_in_the_row(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    (row,) = bot.rows("SELECT extract(epoch FROM next_attempt_at - now())::float AS wait FROM deliveries")
    assert 9 < row["wait"] < 13
    assert bot.outbox.due(10) == []


def test_an_unknown_error_of_the_carrier_is_tried_once_more_and_no_more(bot: Bot) -> None:
    bot.say("hello")
    for number in (1, 2):
        bot.report("failed", provider_id=sid(number), error_code="30008")
        wait_is_over(bot)
    assert states(bot) == ["failed"]
    assert len(bot.channel.sent) == 2
    assert endings(bot) == {"failed": 1}


def test_it_is_bounded_by_count(bot: Bot) -> None:
    bot.say("hello")
    for number in range(1, RESENDS_AT_MOST + 2):
        assert states(bot) == ["accepted"]
        bot.report("failed", provider_id=sid(number), error_code="63018")
        wait_is_over(bot)
    assert states(bot) == ["failed"]
    assert len(bot.channel.sent) == RESENDS_AT_MOST + 1
    assert [row["provider_id"] for row in bot.rows(FORMER)] == [sid(n) for n in range(1, RESENDS_AT_MOST + 1)]
    assert endings(bot) == {"failed": 1}


def test_it_is_bounded_by_age(bot: Bot) -> None:
    bot.say("hello")
    bot.change("UPDATE deliveries SET created_at = now() - interval '3595 seconds'")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    assert states(bot) == ["failed"]


def test_every_code_that_rests_or_repeats_is_decided_by_its_remedy() -> None:
    for code in ("63018", "63038", "30008", "63016"):
        assert goes_anew(code, failed_before=0) is (remedy(code) is not Remedy.NEVER)
        assert not goes_anew(code, failed_before=RESENDS_AT_MOST)


@pytest.mark.parametrize("seen", ["sent", "delivered", "read"])
def test_what_was_reported_sent_or_later_is_never_sent_anew(bot: Bot, seen: str) -> None:
    bot.say("hello")
    bot.report(seen, provider_id=sid(1))
    bot.report("undelivered", provider_id=sid(1), error_code="63018")
    wait_is_over(bot)
    assert len(bot.channel.sent) == 1
    assert bot.rows(FORMER) == []


@pytest.mark.parametrize("seen", ["sent", "delivered"])
def test_a_sent_that_was_overtaken_by_the_failure_recalls_what_waits_to_go_anew(bot: Bot, seen: str) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    bot.report("undelivered", provider_id=sid(1), error_code="63018")
    assert states(bot) == ["waiting", "waiting"]
    bot.report(seen, provider_id=sid(1))
    assert states(bot) == ["failed", "cancelled"]
    wait_is_over(bot)
    assert len(bot.channel.sent) == 1
    assert bot.rows(FORMER) == []
    assert bot.rows(DELIVERIES)[0]["error_code"] == "63018"
    the_log_says(bot, 1, "undelivered")
    assert compared(bot).good
    assert endings(bot) == {"failed": 1}


@pytest.mark.parametrize("late", ["queued", "sending", "sent", "delivered", "failed", "undelivered"])
def test_a_late_report_of_a_former_id_says_nothing_of_the_new_attempt(bot: Bot, late: str) -> None:
    bot.say("hello")
    delivery_id = bot.rows(DELIVERIES)[0]["id"]
    bot.report("failed", provider_id=sid(1), error_code="63018")
    wait_is_over(bot)
    bot.report(late, provider_id=sid(1), delivery_id=delivery_id, error_code="63016")
    (delivery,) = bot.rows(DELIVERIES)
    assert (delivery["state"], delivery["status"], delivery["provider_id"]) == ("accepted", "", sid(2))


@pytest.mark.parametrize("late", ["queued", "failed", "undelivered"])
def test_a_late_report_of_a_former_id_that_shows_nothing_leaves_the_wait_alone(bot: Bot, late: str) -> None:
    bot.say("hello")
    delivery_id = bot.rows(DELIVERIES)[0]["id"]
    bot.report("failed", provider_id=sid(1), error_code="63018")
    before = bot.rows(DELIVERIES)
    bot.report(late, provider_id=sid(1), delivery_id=delivery_id, error_code="63016")
    assert bot.rows(DELIVERIES) == before


def test_a_former_id_that_went_out_after_all_is_called_doubled(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    wait_is_over(bot)
    the_log_says(bot, 1, "delivered")
    assert compared(bot).doubled == [sid(1)]


def test_a_former_id_is_neither_foreign_nor_missing_while_the_piece_waits(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    the_log_says(bot, 1, "failed")
    assert compared(bot).good
    the_log_says(bot, 1, "sent")  # nothing went out beside it
    assert compared(bot).doubled == []


def test_later_pieces_wait_for_the_one_that_goes_anew(bot: Bot) -> None:
    bot.llm.answers = [LONG, "Next."]
    bot.say("tell me")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    bot.say("and now?")
    bot.change("UPDATE deliveries SET next_attempt_at = now() WHERE id > (SELECT min(id) FROM deliveries)")
    for conversation_id in bot.outbox.due(10):
        bot.outbox.push(conversation_id)
    assert states(bot) == ["waiting", "waiting", "waiting"]
    for _ in range(3):
        wait_is_over(bot)
    assert states(bot) == ["accepted"] * 3
    assert [message.delivery_id for message in bot.channel.sent[1:]] == [d["id"] for d in bot.rows(DELIVERIES)]
    assert recount(bot.store).out_of_order == []


def test_what_a_later_piece_has_overtaken_is_not_sent_anew(bot: Bot) -> None:
    bot.say("one")
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
    bot.say("two")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    assert states(bot) == ["failed", "accepted"]
    assert recount(bot.store).out_of_order == []


def test_a_piece_of_a_reply_that_was_given_up_is_not_sent_anew(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    wait_is_over(bot)
    bot.report("failed", provider_id=sid(1), error_code="63016")
    bot.report("failed", provider_id=sid(2), error_code="63018")
    assert states(bot) == ["failed", "failed"]


def test_a_report_of_failure_that_comes_before_the_call_returned_takes_the_claim_away(bot: Bot) -> None:
    def early() -> None:
        if len(bot.channel.sent) == 1:
            bot.report("failed", provider_id=sid(1), delivery_id=bot.rows(DELIVERIES)[0]["id"], error_code="63018")

    bot.channel.meanwhile = early
    bot.say("hello")
    assert (states(bot), bot.rows(DELIVERIES)[0]["provider_id"]) == (["waiting"], None)
    wait_is_over(bot)
    assert (states(bot), bot.rows(DELIVERIES)[0]["provider_id"]) == (["accepted"], sid(2))


def test_an_early_report_without_our_id_sends_anew_once_the_delivery_learns_the_id(bot: Bot) -> None:
    bot.channel.meanwhile = lambda: (
        bot.report("failed", provider_id=sid(1), error_code="63018") if len(bot.channel.sent) == 1 else None
    )
    bot.say("hello")
    assert states(bot) == ["waiting"]
    wait_is_over(bot)
    assert bot.rows(DELIVERIES)[0]["provider_id"] == sid(2)


def test_a_doubtful_send_that_was_reported_failed_goes_anew_without_a_doubt(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("cut")]
    bot.channel.accepts_before_failing = True
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), delivery_id=bot.rows(DELIVERIES)[0]["id"], error_code="63018")
    assert bot.outbox.find_out(10) == 0
    wait_is_over(bot)
    assert (states(bot), len(bot.channel.sent)) == (["accepted"], 2)


def test_a_doubt_about_the_new_attempt_is_not_settled_by_the_former_message(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    bot.channel.outcomes = [Ambiguous("cut")]
    wait_is_over(bot)
    bot.outbox.find_out(10)
    assert states(bot) == ["unknown"]


def test_of_two_attempts_of_which_one_failed_the_other_goes_on(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("cut"), Ambiguous("cut")]
    bot.say("hello")
    bot.change("UPDATE deliveries SET next_attempt_at = now(), unknown_since = now() - interval '31 seconds'")
    bot.outbox.find_out(10)
    assert states(bot) == ["unknown"]  # sent twice, neither seen
    (delivery,) = bot.rows(DELIVERIES)
    bot.report("failed", provider_id="SMone", delivery_id=delivery["id"], error_code="63018")
    assert bot.rows(DELIVERIES) == [delivery]
    bot.report("delivered", provider_id="SMother", delivery_id=delivery["id"])
    assert (states(bot), bot.rows(DELIVERIES)[0]["provider_id"]) == (["accepted"], "SMother")


def test_a_new_attempt_that_is_refused_ends_the_piece(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    bot.channel.outcomes = [Permanent("rejected", code="63016")]
    wait_is_over(bot)
    assert endings(bot) == {"failed": 1}
    the_log_says(bot, 1, "failed")
    assert compared(bot).good


@pytest.mark.parametrize("code", ["63038", "63051", "60728", "63017"])
def test_trouble_of_our_own_account_rests_the_number_and_the_message_goes_when_that_is_over(
    bot: Bot, code: str
) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code=code)
    assert states(bot) == ["waiting"]
    assert bot.rows("SELECT pause_code, paused_until > now() AS rests FROM senders") == [
        {"pause_code": code, "rests": True}
    ]
    bot.say("anybody?", sender="whatsapp:+491700000002")
    wait_is_over(bot)
    assert len(bot.channel.sent) == 1
    bot.change("UPDATE senders SET paused_until = now()")
    wait_is_over(bot)
    assert states(bot) == ["accepted", "accepted"]


def test_a_report_from_before_an_outage_rests_the_number_no_longer_than_it_should(bot: Bot) -> None:
    bot.say("hello")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    bot.door.report(
        StatusReport(channel="twilio", provider_id=sid(1), status="failed", received_at=hour_ago, error_code="63038")
    )
    bot.outbox.take_reports()
    assert bot.rows("SELECT * FROM senders") == []
    assert states(bot) == ["waiting"]


def test_what_was_asked_after_and_goes_anew_is_asked_after_again(bot: Bot) -> None:
    bot.say("hello")
    bot.change("UPDATE deliveries SET accepted_at = now() - interval '11 minutes', next_attempt_at = now()")
    bot.channel.log[0] = replace(bot.channel.log[0], status="failed", error_code="63018")
    bot.outbox.ask_after(10)
    assert [(d["state"], d["fetched_at"]) for d in bot.rows(DELIVERIES)] == [("waiting", None)]
    wait_is_over(bot)
    bot.change("UPDATE deliveries SET accepted_at = now() - interval '11 minutes', next_attempt_at = now()")
    assert bot.outbox.ask_after(10) == 1
    assert bot.channel.fetched == [sid(1), sid(2)]


def test_catch_up_knows_former_ids_and_forgetting_erases_and_remembers_them(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    with bot.store.transaction() as transaction:
        assert transaction.values("known_to_us", channel="twilio", provider_ids=[sid(1)]) == [sid(1)]
    wait_is_over(bot)
    bot.eraser.forget(SOMEBODY)
    assert (bot.rows(FORMER), bot.rows("SELECT * FROM reports")) == ([], [])
    with bot.store.transaction() as transaction:
        assert transaction.values("erased_provider_ids", channel="twilio", provider_ids=[sid(1), sid(2)])[1:]


def test_the_timeline_tells_both_attempts_under_either_id(bot: Bot) -> None:
    bot.say("hello")
    bot.report("failed", provider_id=sid(1), error_code="63018")
    wait_is_over(bot)
    bot.report("delivered", provider_id=sid(2))
    for name in (sid(1), sid(2)):
        events = timeline(bot.store, name, channels=("twilio",))
        assert events is not None
        told = [
            (event.event, event.facts["sid"]) for event in events if "delivery" in event.facts and "sid" in event.facts
        ]
        assert sorted(told) == sorted(
            [
                ("accepted", sid(1)),
                ("failed", sid(1)),
                ("sent_anew", sid(1)),
                ("accepted", sid(2)),
                ("delivered", sid(2)),
            ]
        )


def test_a_piece_is_not_claimed_while_the_one_before_it_is_being_decided_about(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds', next_attempt_at = now()")
    first, _ = bot.rows(DELIVERIES)
    claims: list[object] = []
    with psycopg.connect(bot.database_url) as deciding:
        deciding.execute(load_queries()["hold_followers"], {"delivery_id": first["id"]})
        claimer = threading.Thread(target=lambda: claims.append(bot.outbox.claim(first["conversation_id"])))
        claimer.start()
        claimer.join(timeout=0.3)
    claimer.join(timeout=5)
    assert claims == [None]


def test_a_rest_that_is_told_while_what_follows_is_being_claimed_locks_nobody_out(
    database_url: str, redis_url: str
) -> None:
    """Who claims a piece locks it, then its number's row, to take a place in time."""
    bot = Bot(database_url, redis_url, send_every=timedelta(seconds=0.01))
    bot.llm.answers = [LONG]
    bot.say("tell me")
    (first, second) = bot.rows(DELIVERIES)
    with psycopg.connect(database_url) as claiming:
        claiming.execute("UPDATE deliveries SET attempts = attempts WHERE id = %s", [second["id"]])
        reporting = threading.Thread(
            target=bot.report, args=("failed",), kwargs={"provider_id": sid(1), "error_code": "63017"}
        )
        reporting.start()
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        for _ in range(500):
            if bot.rows(waiting):
                break
            reporting.join(0.01)
        claiming.execute("SET lock_timeout = '3s'")
        claiming.execute("UPDATE senders SET free_at = now()")  # would wait for whoever waits for us
    reporting.join(10)
    assert bot.rows("SELECT paused_until > now() AS rests FROM senders") == [{"rests": True}]
    assert bot.rows(DELIVERIES)[0]["error_code"] == "63017"
    assert first["state"] == "accepted"
    bot.close()
