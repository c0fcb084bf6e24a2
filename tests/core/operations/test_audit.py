"""Each inbound message ends in exactly one way, recounted from what was stored, sent and reported."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from core.delivery import FAILURES
from core.errors import Ambiguous, Permanent, Transient
from core.operations.audit import Recount, recount
from core.store import load_queries
from tests.fakes import Bot, completion

OTHER = "whatsapp:+491700000002"
LONG = "This is a sentence of a long answer. " * 60  # two pieces
AGED = "UPDATE messages SET received_at = received_at - interval '5 minutes'"


def audited(bot: Bot, **more: Any) -> Recount:
    """The recount, which must add up whatever happened."""
    result = recount(bot.store, **more)
    (inbound,) = bot.rows("SELECT count(*) AS n FROM messages WHERE direction = 'in'")
    assert sum(result.endings.values()) == inbound["n"]
    return result


def endings(bot: Bot) -> dict[str, int]:
    return {name: count for name, count in audited(bot).endings.items() if count}


def burst(bot: Bot, *texts: str) -> None:
    """The first text, and the others while the LLM thinks about it."""

    def more(call: int) -> None:
        if call == 1:
            for text in texts[1:]:
                bot.accept(text)
            bot.take_in()

    bot.llm.meanwhile = more
    bot.say(texts[0])


def provider_id(bot: Bot, place: int = -1) -> str:
    return bot.rows("SELECT provider_id FROM deliveries ORDER BY id")[place]["provider_id"]


def test_nothing_at_all_is_in_order(bot: Bot) -> None:
    result = audited(bot)
    assert set(result.endings.values()) == {0}
    assert (result.late, result.resent_unseen, result.good) == (0, 0, True)


def test_a_message_whose_every_piece_was_accepted_is_answered(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.say("tell me")
    assert endings(bot) == {"open": 1}  # the second piece waits
    bot.report("sent", provider_id=provider_id(bot, 0))
    assert endings(bot) == {"answered": 1}


def test_the_newest_message_of_a_burst_is_answered_and_the_others_merged(bot: Bot) -> None:
    burst(bot, "one", "two", "three")
    assert endings(bot) == {"answered": 1, "merged": 2}


def test_a_fixed_answer_counts_as_answered(bot: Bot) -> None:
    bot.say("HELP")
    bot.say("", sender=OTHER)
    assert endings(bot) == {"answered": 2}


def test_refused_is_refused_whether_or_not_its_notice_arrives(bot: Bot) -> None:
    bot.llm.answers = [completion("", refused=True)]
    bot.say("something awful")
    bot.say("flag-me", sender=OTHER)
    bot.report("undelivered", provider_id=provider_id(bot), error_code="63016")
    assert endings(bot) == {"refused": 2}


def test_who_said_stop_is_refused_without_a_word(bot: Bot) -> None:
    bot.say("STOP")
    bot.say("are you there?")
    assert endings(bot) == {"answered": 1, "refused": 1}


def test_a_failure_is_failed_by_its_notice_and_by_the_notice_of_the_same_outage(bot: Bot) -> None:
    bot.llm.answers = [Permanent("auth"), Permanent("auth")]
    bot.say("one")
    bot.say("two")
    assert len(bot.channel.sent) == 1
    assert endings(bot) == {"failed": 2}


def test_a_failure_that_nobody_was_told_of_is_not_failed_but_open(bot: Bot) -> None:
    bot.llm.answers = [Permanent("auth")]
    bot.say("one")
    bot.change("DELETE FROM deliveries")
    bot.change(AGED)
    (stuck,) = audited(bot).stuck
    assert stuck.phase == "unproven"


def test_a_notice_of_long_ago_covers_nothing(bot: Bot) -> None:
    bot.llm.answers = [Permanent("auth"), Permanent("auth")]
    bot.say("one")
    bot.say("two")
    bot.change("UPDATE turns SET finished_at = finished_at - interval '3 hours' WHERE id = (SELECT min(id) FROM turns)")
    assert endings(bot) == {"failed": 1, "open": 1}


def test_a_late_report_turns_answered_into_failed_for_the_whole_turn(bot: Bot) -> None:
    burst(bot, "one", "two")
    bot.report("failed", provider_id=provider_id(bot), error_code="63003")
    assert endings(bot) == {"failed": 2}


def test_a_reply_that_was_reported_failed_is_failed_whatever_its_own_row_says(bot: Bot) -> None:
    bot.say("hello")
    bot.report("undelivered", provider_id=provider_id(bot))
    bot.change("UPDATE deliveries SET state = 'accepted', status = 'read'")
    assert endings(bot) == {"failed": 1}


def test_a_failure_told_after_delivered_changes_nothing(bot: Bot) -> None:
    bot.say("hello")
    for status in ("delivered", "failed"):
        bot.report(status, provider_id=provider_id(bot))
    assert endings(bot) == {"answered": 1}


def test_a_reply_that_could_not_be_sent_is_failed_with_all_its_pieces(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.channel.outcomes = [Permanent("rejected", code="63016")]
    bot.say("tell me")
    assert endings(bot) == {"failed": 1}


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE deliveries SET provider_id = NULL",
        "UPDATE deliveries SET accepted_at = NULL",
        "DELETE FROM deliveries",
        "UPDATE turns SET finished_at = NULL, outcome = NULL",
        "UPDATE messages SET turn_id = NULL WHERE direction = 'in'",
        "UPDATE deliveries SET state = 'waiting'",
    ],
)
def test_answered_needs_every_proof(bot: Bot, lie: str) -> None:
    bot.say("hello")
    assert endings(bot) == {"answered": 1}
    bot.change(lie)
    bot.change(AGED)
    assert endings(bot) == {"open": 1}
    assert not audited(bot).good


def test_a_report_proves_an_acceptance_too(bot: Bot) -> None:
    bot.say("hello")
    bot.report("queued", provider_id=provider_id(bot))
    bot.change("UPDATE deliveries SET accepted_at = NULL")
    assert endings(bot) == {"answered": 1}


def test_what_is_found_too_late_is_too_late_and_what_came_late_is_counted_beside(bot: Bot) -> None:
    bot.say("hello", late=True)
    bot.slots.places = 0
    bot.say("long ago", sender=OTHER)
    bot.change("UPDATE messages SET too_late = true WHERE turn_id IS NULL AND direction = 'in'")
    assert endings(bot) == {"answered": 1, "too_late": 1}
    assert audited(bot).late == 1


def test_erased_people_leave_the_counts(bot: Bot) -> None:
    bot.say("hello")
    bot.say("hello", sender=OTHER)
    bot.eraser.forget(OTHER)
    assert endings(bot) == {"answered": 1}
    assert audited(bot).good


def test_a_blind_second_send_is_counted(bot: Bot) -> None:
    bot.channel.outcomes = [Ambiguous("cut")]
    bot.say("hello")
    bot.change("UPDATE deliveries SET next_attempt_at = now(), unknown_since = now() - interval '31 seconds'")
    bot.outbox.find_out(10)
    assert audited(bot).resent_unseen == 1
    assert endings(bot) == {"answered": 1}


def test_what_is_open_for_long_with_nothing_planned_is_stuck(bot: Bot) -> None:
    bot.slots.places = 0
    message = bot.say("hello")
    assert audited(bot).good
    assert not audited(bot, stuck_after=timedelta(0)).good
    bot.change(AGED)
    (stuck,) = audited(bot).stuck
    (row,) = bot.rows("SELECT id FROM messages")
    assert (stuck.id, stuck.sid, stuck.phase) == (row["id"], message.provider_id, "stored")
    assert stuck.since == message.received_at - timedelta(minutes=5)
    assert audited(bot, stuck_after=timedelta(minutes=6)).good


def test_a_message_that_came_late_is_open_since_it_was_stored(bot: Bot) -> None:
    bot.slots.places = 0
    bot.say("hello", late=True, received_at=datetime.now(UTC) - timedelta(hours=1))
    assert audited(bot).good


def test_a_planned_retry_is_not_stuck_and_becomes_so_once_it_is_overdue(bot: Bot) -> None:
    bot.llm.answers = [Transient("rate", after=timedelta(seconds=30))]
    bot.say("hello")
    bot.slots.places = 0
    bot.say("and?")  # waits for the same turn
    bot.change(AGED)
    assert audited(bot).good
    bot.change("UPDATE turns SET next_attempt_at = now() - interval '1 second'")
    assert [stuck.phase for stuck in audited(bot).stuck] == ["postponed", "stored"]


def test_a_retry_that_runs_at_this_moment_is_not_stuck(bot: Bot) -> None:
    seen: list[list[str]] = []

    def look(call: int) -> None:
        if call == 2:
            bot.change(AGED)
            seen.append([stuck.phase for stuck in audited(bot).stuck])
            bot.change("UPDATE turns SET worker_id = %(other)s", other=uuid4())  # nobody who shows signs of life
            seen.append([stuck.phase for stuck in audited(bot).stuck])

    bot.llm.answers = [Transient("rate")]
    bot.llm.meanwhile = look
    bot.say("hello")
    bot.change("UPDATE turns SET next_attempt_at = now()")
    for held in bot.turns.claim(1):
        bot.turns.run(held)
    assert seen == [[], ["claimed"]]


def test_a_first_attempt_that_takes_too_long_is_stuck(bot: Bot) -> None:
    phases: list[str] = []

    def look(_: int) -> None:
        bot.change(AGED)
        phases.extend(stuck.phase for stuck in audited(bot).stuck)

    bot.llm.meanwhile = look
    bot.say("hello")
    assert phases == ["claimed"]


def test_a_reply_behind_a_planned_delivery_of_its_sequence_is_not_stuck(bot: Bot) -> None:
    bot.channel.outcomes = [Transient("rate", after=timedelta(minutes=30))]
    bot.say("one")
    bot.say("two")
    bot.change(AGED)
    assert endings(bot) == {"open": 2}
    assert audited(bot).good
    bot.change("UPDATE deliveries SET next_attempt_at = now() - interval '1 second'")
    assert [stuck.phase for stuck in audited(bot).stuck] == ["waiting", "waiting"]


def test_what_waits_while_our_number_rests_is_not_stuck(bot: Bot) -> None:
    bot.channel.outcomes = [Permanent("rejected", code="63038")]
    bot.say("hello")
    bot.change(AGED)
    assert endings(bot) == {"open": 1}
    assert audited(bot).good
    bot.change("UPDATE senders SET paused_until = now() - interval '1 second'")
    assert [stuck.phase for stuck in audited(bot).stuck] == ["waiting"]


def test_a_limit_refuses_with_one_notice_and_then_without(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url, PERSON_TURNS_PER_DAY=1)
    for text in ("one", "two", "three"):
        bot.say(text)
        next_goes(bot)
    assert len(bot.channel.sent) == 2
    assert endings(bot) == {"answered": 1, "refused": 2}
    bot.close()


@pytest.mark.parametrize("state", ["sending", "unknown"])
def test_a_doubtful_send_that_nobody_looks_into_is_stuck(bot: Bot, state: str) -> None:
    bot.channel.outcomes = [Ambiguous("cut")]
    bot.say("hello")
    bot.outbox.find_out(1)  # plans the next look
    bot.change(AGED)
    assert audited(bot).good
    bot.change(
        "UPDATE deliveries SET next_attempt_at = now() - interval '1 second', state = %(state)s::text", state=state
    )
    assert [stuck.phase for stuck in audited(bot).stuck] == [state]


def next_goes(bot: Bot) -> None:
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '5 seconds'")
    for conversation_id in bot.outbox.due(10):
        bot.outbox.push(conversation_id)


def test_a_message_that_a_later_one_overtook_is_out_of_order(bot: Bot) -> None:
    for text in ("one", "two", "three"):
        bot.say(text)
        next_goes(bot)
    assert endings(bot) == {"answered": 3}
    assert audited(bot).good
    ids = [row["id"] for row in bot.rows("SELECT id FROM messages WHERE direction = 'in' ORDER BY id")]
    bot.change(
        "UPDATE deliveries SET accepted_at = now() + interval '1 hour' WHERE id = (SELECT min(id) FROM deliveries)"
    )
    result = audited(bot)
    assert (result.out_of_order, result.good) == ([ids[0]], False)
    bot.change("UPDATE messages SET late = true WHERE id = %(id)s", id=ids[0])
    assert audited(bot).out_of_order == []


def test_order_is_that_of_the_door_and_not_only_that_of_storing(bot: Bot) -> None:
    now = datetime.now(UTC)
    bot.say("stored first", received_at=now)
    next_goes(bot)
    bot.say("came first", received_at=now - timedelta(seconds=3))
    next_goes(bot)
    (overtaken,) = audited(bot).out_of_order
    assert bot.rows("SELECT text FROM messages WHERE id = %(id)s", id=overtaken)[0]["text"] == "came first"


def test_two_that_were_at_the_door_at_once_may_be_stored_in_either_order(bot: Bot) -> None:
    now = datetime.now(UTC)
    bot.say("one", received_at=now)
    next_goes(bot)
    bot.say("two", received_at=now - timedelta(milliseconds=700))
    next_goes(bot)
    assert audited(bot).good


def test_different_people_have_no_order_among_them(bot: Bot) -> None:
    bot.say("one")
    bot.say("two", sender=OTHER)
    bot.change(
        "UPDATE deliveries SET accepted_at = now() + interval '1 hour' WHERE id = (SELECT min(id) FROM deliveries)"
    )
    assert audited(bot).good


def test_the_recount_writes_nothing_and_stays_linear(bot: Bot) -> None:
    """No nested loop over two large tables: each is read once, whatever the planner thinks of empty ones."""
    bot.change(
        "INSERT INTO people DEFAULT VALUES;"
        "INSERT INTO conversations (person_id, channel, sender, recipient) SELECT id, 'twilio', 'a', 'b' FROM people;"
        "INSERT INTO turns (conversation_id, finished_at, outcome)"
        " SELECT c.id, now(), 'answered' FROM conversations c, generate_series(1, 5000);"
        "INSERT INTO messages (conversation_id, turn_id, direction, channel, provider_id, text, received_at)"
        " SELECT conversation_id, id, 'in', 'twilio', 'SM' || id, 'x', now() FROM turns;"
        "INSERT INTO deliveries (conversation_id, turn_id, piece, channel, sender, recipient, body, state,"
        " provider_id, accepted_at)"
        " SELECT conversation_id, id, 1, 'twilio', 'b', 'a', 'x', 'accepted', 'SMout' || id, now() FROM turns;"
        "INSERT INTO reports (channel, provider_id, status, received_at)"
        " SELECT 'twilio', 'SMout' || t.id, s, now() FROM turns t, unnest(ARRAY['sent', 'delivered', 'read']) s;"
        "ANALYZE"
    )
    assert endings(bot) == {"answered": 5000}
    params = {
        "failures": sorted(FAILURES),
        "notice_covers": timedelta(hours=1),
        "stuck_after": timedelta(minutes=2),
        "alive": timedelta(seconds=8),
        "list_at_most": 10,
    }
    with psycopg.connect(bot.database_url) as connection:
        plan = connection.execute(b"EXPLAIN " + load_queries()["recount_endings"], params).fetchall()
    top = "\n".join(line for (line,) in plan).split("SubPlan")[0]
    assert "Nested Loop" not in top, top
