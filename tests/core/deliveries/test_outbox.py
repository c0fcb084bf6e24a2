"""Each delivery once, in sequence; a doubtful one is found out; a report counts once and only forward."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from core.deliveries.outbox import CLAIM_GOOD_FOR, Outbox
from core.errors import Ambiguous, Permanent, Transient
from tests.fakes import SOMEBODY, Bot

DELIVERIES = "SELECT * FROM deliveries ORDER BY id"
LONG = "This is a sentence of a long answer. " * 60  # two pieces


def states(bot: Bot) -> list[str]:
    return [delivery["state"] for delivery in bot.rows(DELIVERIES)]


def pause_is_over(bot: Bot) -> None:
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")


def sweep(bot: Bot) -> None:
    for conversation_id in bot.outbox.due(10):
        bot.outbox.push(conversation_id)


def test_the_callback_names_our_delivery(bot: Bot) -> None:
    bot.say("hello")
    assert bot.channel.sent[0].delivery_id == bot.rows(DELIVERIES)[0]["id"]


def test_the_second_piece_waits_for_the_pause(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    assert states(bot) == ["accepted", "waiting"]
    sweep(bot)
    assert len(bot.channel.sent) == 1
    pause_is_over(bot)
    sweep(bot)
    assert states(bot) == ["accepted", "accepted"]
    assert "*Botan" not in bot.channel.bodies[1]


def test_the_second_piece_goes_at_once_when_the_first_is_reported_sent(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    first = bot.rows(DELIVERIES)[0]
    bot.report("sent", delivery_id=first["id"], provider_id=first["provider_id"])
    assert states(bot) == ["accepted", "accepted"]


def test_a_piece_that_failed_for_good_cancels_the_rest_of_its_reply_only(bot: Bot) -> None:
    bot.llm.answers = [LONG, "Next."]
    bot.channel.outcomes = [Permanent("rejected", code="63016")]
    bot.say("tell me")
    assert states(bot) == ["failed", "cancelled"]
    bot.say("and now?")
    assert states(bot) == ["failed", "cancelled", "accepted"]


def test_a_report_of_failure_cancels_the_rest_too(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    first = bot.rows(DELIVERIES)[0]
    bot.report("undelivered", delivery_id=first["id"], provider_id=first["provider_id"], error_code="63016")
    assert states(bot) == ["failed", "cancelled"]
    assert bot.rows(DELIVERIES)[0]["error_code"] == "63016"


def test_a_person_who_told_twilio_to_stop_is_left_alone(bot: Bot) -> None:
    bot.channel.outcomes = [Permanent("rejected", code="21610")]
    bot.say("hello")
    bot.say("are you there?")
    assert len(bot.channel.sent) == 1
    assert bot.rows("SELECT outcome, reason FROM turns ORDER BY id")[1]["reason"] == "silenced"


def test_a_transient_refusal_is_a_row_that_says_when(bot: Bot) -> None:
    bot.channel.outcomes = [Transient("rate", code="20429", after=timedelta(seconds=7))]
    bot.say("hello")
    (delivery,) = bot.rows(
        "SELECT state, failures, next_attempt_at > now() + interval '5 seconds' AS later FROM deliveries"
    )
    assert (delivery["state"], delivery["failures"], delivery["later"]) == ("waiting", 1, True)
    bot.change("UPDATE deliveries SET next_attempt_at = now()")
    sweep(bot)
    assert states(bot) == ["accepted"]


@pytest.mark.parametrize("code", ["20003", "20005", "20403", ""])
def test_trouble_with_our_own_account_is_waited_for_and_fails_no_message(bot: Bot, code: str) -> None:
    bot.channel.outcomes = [Permanent("auth", code=code)]
    bot.say("hello")
    bot.say("anybody?", sender="whatsapp:+491700000002")
    assert states(bot) == ["waiting", "waiting"]
    assert len(bot.channel.sent) == 1  # the number rests, for everybody
    assert bot.outbox.due(10) == []
    assert bot.rows("SELECT paused_until > now() + interval '4 minutes' AS rests FROM senders") == [{"rests": True}]
    bot.change("UPDATE senders SET paused_until = now()")
    sweep(bot)
    assert states(bot) == ["accepted", "accepted"]
    assert {d["failures"] for d in bot.rows(DELIVERIES)} == {0}


@pytest.mark.parametrize("refusal", [Permanent("auth", code="20003"), Transient("rejected", code="63038")], ids=repr)
def test_trouble_with_our_own_account_is_waited_for_no_longer_than_anything_else(bot: Bot, refusal: Exception) -> None:
    bot.channel.outcomes = [refusal, refusal]
    bot.say("hello")
    bot.change("UPDATE senders SET paused_until = now()")
    bot.change("UPDATE deliveries SET created_at = now() - interval '61 minutes'")
    sweep(bot)
    assert states(bot) == ["failed"]
    assert len(bot.channel.sent) == 2


def test_a_doubtful_send_that_was_accepted_is_found_and_not_sent_again(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("read_timeout")]
    bot.channel.accepts_before_failing = True
    bot.say("hello")
    assert states(bot) == ["unknown"]
    assert bot.outbox.find_out(10) == 1
    assert states(bot) == ["accepted"]
    assert len(bot.channel.sent) == 1
    assert bot.rows(DELIVERIES)[0]["provider_id"] == bot.channel.log[0].provider_id


def test_a_doubtful_send_is_looked_up_at_once_after_5_and_after_15_seconds_then_sent_once_more(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("cut")]
    bot.say("hello")
    waits: list[float] = []
    for _ in range(4):
        bot.change("UPDATE deliveries SET next_attempt_at = now()")
        bot.outbox.find_out(10)
        (row,) = bot.rows("SELECT state, extract(epoch FROM next_attempt_at - now())::float AS wait FROM deliveries")
        waits.append(round(row["wait"]))
    assert waits[:2] == [5, 10]
    assert waits[2] >= 25  # what remains of AMBIGUOUS_WAIT_S: no time has passed in this test
    bot.change("UPDATE deliveries SET next_attempt_at = now(), unknown_since = now() - interval '31 seconds'")
    bot.outbox.find_out(10)
    (delivery,) = bot.rows(DELIVERIES)
    assert (delivery["state"], delivery["resent_unseen"]) == ("accepted", 1)
    assert len(bot.channel.sent) == 2


def test_a_send_that_is_never_seen_is_sent_once_more_and_then_given_up(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("cut"), Ambiguous("cut")]
    bot.say("hello")
    for _ in range(2):
        bot.change("UPDATE deliveries SET next_attempt_at = now(), unknown_since = now() - interval '31 seconds'")
        bot.outbox.find_out(10)
    assert states(bot) == ["failed"]
    assert len(bot.channel.sent) == 2


def test_two_equal_texts_are_not_mistaken_for_each_other(bot: Bot) -> None:
    bot.llm.answers = ["Same.", "Same."]
    bot.say("one")
    bot.change("UPDATE conversations SET welcomed_at = now()")
    pause_is_over(bot)
    bot.say("two")
    pause_is_over(bot)
    bot.llm.answers = ["Same."]
    bot.channel.outcomes = [Ambiguous("cut")]
    bot.say("three")
    bot.outbox.find_out(10)
    assert states(bot) == ["accepted", "accepted", "unknown"]


def test_a_report_settles_a_doubt_through_our_own_id(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("read_timeout")]
    bot.say("hello")
    bot.report("delivered", delivery_id=bot.rows(DELIVERIES)[0]["id"], provider_id="SMfromreport")
    (delivery,) = bot.rows(DELIVERIES)
    assert (delivery["state"], delivery["provider_id"]) == ("accepted", "SMfromreport")
    assert bot.outbox.find_out(10) == 0


def test_a_claim_that_grew_old_is_dropped_unsent(bot: Bot) -> None:
    bot.slots.places = 0
    bot.say("hello")
    bot.channel.outcomes = [Transient("rate")]
    bot.turns.run(bot.turns.claim(1)[0])
    bot.change("UPDATE deliveries SET next_attempt_at = now()")
    claimed = bot.outbox.claim(bot.rows(DELIVERIES)[0]["conversation_id"])
    assert claimed is not None
    claim, asked = claimed
    bot.outbox.carry_out(claim, asked - CLAIM_GOOD_FOR.total_seconds() - 0.1)  # as if frozen in between
    assert len(bot.channel.sent) == 1
    assert states(bot) == ["waiting"]


def test_who_lost_the_claim_settles_nothing(bot: Bot) -> None:
    bot.channel.meanwhile = lambda: bot.change("UPDATE deliveries SET attempts = attempts + 1")
    bot.say("hello")
    assert len(bot.channel.sent) == 1
    assert bot.rows(DELIVERIES)[0]["provider_id"] is None


def test_what_a_silent_worker_was_sending_is_found_out_first(bot: Bot) -> None:
    bot.channel.outcomes = [Transient("rate")]
    bot.say("hello")
    bot.change("UPDATE deliveries SET state = 'sending', worker_id = %(w)s, claimed_at = now()", w=uuid4())
    bot.time_passes(7)
    bot.upkeep.beat()
    bot.time_passes(7)
    assert bot.upkeep.release_lost() == 1
    assert states(bot) == ["unknown"]


def test_a_head_that_is_being_changed_is_not_overtaken(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.channel.outcomes = [Transient("rate")]
    bot.say("tell me")
    bot.change("UPDATE deliveries SET next_attempt_at = now()")
    conversation_id = bot.rows(DELIVERIES)[0]["conversation_id"]
    claims: list[object] = []
    with psycopg.connect(bot.database_url) as other:
        other.execute("UPDATE deliveries SET failures = failures + 1 WHERE piece = 1")
        claimer = threading.Thread(target=lambda: claims.append(bot.outbox.claim(conversation_id)))
        claimer.start()
        claimer.join(timeout=0.3)
    claimer.join(timeout=5)
    assert [d["state"] for d in bot.rows(DELIVERIES)] == ["sending", "waiting"]


def test_an_acceptance_that_comes_before_the_resend_is_claimed_still_counts(bot: Bot) -> None:
    def unseen_by_another() -> None:
        bot.change("UPDATE deliveries SET state = 'waiting', resent_unseen = 1")

    bot.channel.meanwhile = unseen_by_another
    bot.say("hello")
    assert states(bot) == ["accepted"]
    assert len(bot.channel.sent) == 1


@pytest.mark.parametrize("fault", [Permanent("auth", code="20003"), ValueError("a fault of our own")], ids=repr)
def test_a_doubt_that_can_never_be_looked_up_is_given_up_in_the_end(bot: Bot, fault: Exception) -> None:
    bot.channel.outcomes = [Ambiguous("cut")]
    bot.channel.look_up_fails = fault
    bot.say("hello")
    bot.outbox.find_out(10)
    assert states(bot) == ["unknown"]
    bot.change("UPDATE deliveries SET next_attempt_at = now(), unknown_since = now() - interval '2 hours'")
    bot.outbox.find_out(10)
    assert states(bot) == ["failed"]


def test_a_worker_that_stops_waits_for_the_call_that_is_being_made(bot: Bot) -> None:
    bot.channel.outcomes = [Transient("rate")]
    bot.say("hello")
    bot.change("UPDATE deliveries SET next_attempt_at = now()")
    outbox = Outbox(
        store=bot.store,
        inboxes=bot.inboxes,
        channels={"twilio": bot.channel},
        worker_id=bot.worker_id,
        settings=bot.settings,
        senders=ThreadPoolExecutor(1),
    )
    called, goes_on = threading.Event(), threading.Event()

    def hangs() -> None:
        called.set()
        goes_on.wait(10)

    bot.channel.meanwhile = hangs
    outbox.push_soon(bot.rows(DELIVERIES)[0]["conversation_id"])
    assert called.wait(10)
    began = time.monotonic()
    assert not outbox.finish(timedelta(seconds=0.1))
    assert time.monotonic() - began < 5
    goes_on.set()
    assert outbox.finish(timedelta(seconds=10))
    assert states(bot) == ["accepted"]


def test_a_report_told_twice_changes_nothing_more(bot: Bot) -> None:
    bot.say("hello")
    first = bot.rows(DELIVERIES)[0]
    bot.report("delivered", provider_id=first["provider_id"])
    before = bot.rows(DELIVERIES)
    bot.report("delivered", provider_id=first["provider_id"])
    assert bot.rows(DELIVERIES) == before
    assert len(bot.rows("SELECT * FROM reports")) == 1


def test_reports_apply_only_forward(bot: Bot) -> None:
    bot.say("hello")
    sid = bot.rows(DELIVERIES)[0]["provider_id"]
    for status in ("read", "sent", "delivered"):
        bot.report(status, provider_id=sid)
    assert bot.rows(DELIVERIES)[0]["status"] == "read"
    assert len(bot.rows("SELECT * FROM reports")) == 3


def test_a_report_for_nobody_is_kept_and_harms_nothing(bot: Bot) -> None:
    bot.report("delivered", provider_id="SMunknown", delivery_id=999)
    assert len(bot.rows("SELECT * FROM reports")) == 1


def test_one_conversation_has_one_call_in_flight(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    pause_is_over(bot)
    conversation_id = bot.rows(DELIVERIES)[0]["conversation_id"]
    assert bot.outbox.claim(conversation_id) is not None
    assert bot.outbox.claim(conversation_id) is None
    assert bot.rows("SELECT recipient FROM deliveries")[0]["recipient"] == SOMEBODY
