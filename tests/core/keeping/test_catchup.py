"""What never reached us is found in the provider's log: answered once, in order, or recorded as too late."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis

from core.adapters.redis_inbox import inboxes, person_key
from core.config import DatabaseSettings
from core.errors import Permanent, Transient
from core.intake import INBOXES_AT_ONCE, Intake
from core.keeping.catchup import GRACE, ROWS_AT_ONCE
from core.keeping.latecomers import too_late
from core.model import Button, Location, Media
from core.ports import ProviderMessage
from core.store import load_queries, migrate
from tests.fakes import OUR_NUMBER, SOMEBODY, Bot

INBOUND = "SELECT * FROM messages WHERE direction = 'in' ORDER BY id"
HIDDEN = "whatsapp:DE.ENT.9"
_numbers = itertools.count(1)


def ago(**span: float) -> datetime:
    """A moment as the log tells it: whole seconds."""
    return (datetime.now(UTC) - timedelta(**span)).replace(microsecond=0)


def logged(bot: Bot, text: str, at: datetime, **changes: Any) -> ProviderMessage:
    """A message of the provider's log, put where its time is; inbound unless told otherwise."""
    values: dict[str, Any] = {
        "provider_id": f"SMlog{next(_numbers)}",
        "sender": SOMEBODY,
        "recipient": OUR_NUMBER,
        "body": text,
        "inbound": True,
        "status": "received",
        "error_code": "",
        "created_at": at,
        "sent_at": at,
    }
    message = ProviderMessage(**values | changes)
    bot.channel.log.insert(0, message)
    bot.channel.log.sort(key=lambda m: m.sent_at or datetime.now(UTC), reverse=True)
    return message


def answered_from_elsewhere(bot: Bot, at: datetime, **changes: Any) -> ProviderMessage:
    return logged(
        bot, "hi!", at, **{"inbound": False, "sender": OUR_NUMBER, "recipient": SOMEBODY, "status": "sent"} | changes
    )


def has_run(bot: Bot, **span: float) -> None:
    """The database is three days old and last read the log so long ago."""
    bot.catch_up.run_due()
    bot.change(
        "UPDATE catch_up SET started_at = now() - interval '3 days', read_until = now() - %(span)s,"
        " next_run_at = now()",
        span=timedelta(**span),
    )
    bot.channel.readings.clear()  # one from the migration, when that was more than the grace ago


def answer_what_waits(bot: Bot) -> None:
    for turn in bot.turns.claim(100):
        bot.turns.run(turn)


def mark(bot: Bot) -> datetime:
    return bot.rows("SELECT read_until FROM catch_up")[0]["read_until"]


def test_a_message_that_never_reached_us_is_answered_as_late(bot: Bot) -> None:
    has_run(bot, minutes=5)
    lost = logged(bot, "is anybody there?", ago(minutes=2))
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.as_json() == {"read": 1, "late": 1, "too_late": 0, "failed": 0}
    assert bot.rows("SELECT worker_id, finished_at FROM turns") == [{"worker_id": None, "finished_at": None}]
    answer_what_waits(bot)
    (message,) = bot.rows(INBOUND)
    assert (message["provider_id"], message["late"], message["too_late"]) == (lost.provider_id, True, False)
    assert message["received_at"] == lost.sent_at
    assert bot.llm.own_texts() == ["is anybody there?"]
    assert len(bot.channel.sent) == 1


def test_reading_the_same_log_again_does_nothing_more(bot: Bot) -> None:
    has_run(bot, minutes=5)
    logged(bot, "hello", ago(minutes=2))
    bot.catch_up.run_due()
    answer_what_waits(bot)
    for _ in range(2):
        assert bot.started_catch_up().run_due() is not None
        bot.catch_up.run(timedelta(hours=2))
    assert len(bot.rows(INBOUND)) == 1
    assert bot.rows("SELECT * FROM turns WHERE finished_at IS NULL") == []


def test_two_that_read_at_once_while_the_door_delivers_store_each_message_once(bot: Bot) -> None:
    has_run(bot, minutes=20)
    lost = [logged(bot, f"message {n}", ago(minutes=10, seconds=-n)) for n in range(10)]
    for each in lost[::3]:
        bot.accept(each.body, provider_id=each.provider_id)
    actions: list[Callable[[], object]] = [lambda: bot.catch_up.run(timedelta(hours=1))] * 3
    bot.slots.places = 0
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(action) for action in [*actions, bot.take_in]]:
            done.result()
    assert sorted(m["provider_id"] for m in bot.rows(INBOUND)) == sorted(m.provider_id for m in lost)
    assert len(bot.rows("SELECT * FROM turns")) == 1


def test_what_is_young_is_left_to_the_door(bot: Bot) -> None:
    has_run(bot, minutes=5)
    logged(bot, "hello", ago(seconds=GRACE.total_seconds() - 5))
    bot.catch_up.run_due()
    assert bot.rows(INBOUND) == []
    assert mark(bot) < ago(seconds=GRACE.total_seconds() - 5)


def test_nothing_from_before_the_first_start_is_ever_answered(bot: Bot) -> None:
    bot.change("UPDATE catch_up SET started_at = now()")
    logged(bot, "from another life", ago(minutes=5))
    assert bot.catch_up.run_due() is not None
    assert bot.started_catch_up().run_due() is not None
    assert bot.rows(INBOUND) == []
    assert bot.catch_up.run(timedelta(hours=1)).too_late == 1  # whoever asks for it by hand gets the record
    answer_what_waits(bot)
    assert bot.channel.sent == []


def test_a_database_starts_when_it_is_made_and_not_when_a_worker_is_up(empty_database_url: str, redis_url: str) -> None:
    migrate(DatabaseSettings.model_validate({"DATABASE_URL": empty_database_url}))
    bot = Bot(empty_database_url, redis_url)
    bot.change("UPDATE catch_up SET started_at = started_at - interval '5 minutes'")  # the worker took so long
    logged(bot, "lost meanwhile", ago(minutes=2))
    bot.catch_up.run_due()
    answer_what_waits(bot)
    assert len(bot.channel.sent) == 1
    bot.close()


def test_what_is_older_than_an_answer_may_be_is_recorded_and_never_answered(bot: Bot) -> None:
    has_run(bot, hours=30)
    old = logged(bot, "hello?", ago(hours=24))
    logged(bot, "still nobody?", ago(hours=22))
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert (caught.late, caught.too_late) == (1, 1)
    answer_what_waits(bot)
    first, second = bot.rows(INBOUND)
    assert (first["provider_id"], first["too_late"], first["turn_id"]) == (old.provider_id, True, None)
    assert second["turn_id"] is not None
    assert bot.llm.own_texts() == ["still nobody?"]


def test_a_restored_backup_answers_nothing_that_was_answered(bot: Bot) -> None:
    has_run(bot, hours=2)
    people = [f"whatsapp:+49170000010{n}" for n in range(3)]
    for person in people:
        for minutes in (50, 40):
            logged(bot, f"asked {minutes} minutes ago", ago(minutes=minutes), sender=person)
            bot.catch_up.run(timedelta(hours=1))
            answer_what_waits(bot)
            bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
    open_question = logged(bot, "and this?", ago(minutes=1), sender=people[0])
    # The log tells when the answers went out; in this test they all went out just now.
    at = ago(minutes=30)
    bot.channel.log[:] = [m if m.inbound else replace(m, created_at=at, sent_at=at) for m in bot.channel.log]
    sent = len(bot.channel.sent)
    assert sent == 6
    bot.change("DELETE FROM people WHERE id <> (SELECT min(id) FROM people)")
    bot.change("DELETE FROM turns")  # of whom the backup knew, it lacks the rest

    caught = bot.started_catch_up().run_due()
    assert caught is not None
    assert (caught.late, caught.too_late) == (1, 6)
    answer_what_waits(bot)
    assert len(bot.channel.sent) == sent + 1
    assert bot.llm.own_texts() == ["and this?"]
    assert bot.rows("SELECT provider_id FROM messages WHERE late AND NOT too_late") == [
        {"provider_id": open_question.provider_id}
    ]


def test_an_answer_that_we_have_a_row_for_leaves_an_earlier_lost_message_answerable(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "hello", ago(minutes=10))
    bot.say("thanks")
    bot.catch_up.run_due()
    answer_what_waits(bot)
    assert bot.llm.own_texts() == ["hello"]


def test_a_send_whose_id_we_do_not_know_yet_is_nobody_elses_answer(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "lost", ago(minutes=10))
    bot.channel.outcomes = [Transient("rate")]
    bot.say("not lost")
    (delivery,) = bot.rows("SELECT * FROM deliveries")
    answered_from_elsewhere(bot, ago(seconds=1), body=delivery["body"] + " ")
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert (caught.late, caught.too_late) == (1, 0)


def test_whoever_was_answered_from_elsewhere_is_not_answered_again(bot: Bot) -> None:
    has_run(bot, minutes=20)
    at = ago(minutes=10)
    logged(bot, "lost", at)
    answered_from_elsewhere(bot, at)
    logged(bot, "lost too", ago(minutes=9))
    bot.catch_up.run_due()
    assert [(m["text"], m["too_late"]) for m in bot.rows(INBOUND)] == [("lost", True), ("lost too", False)]


def test_an_erased_message_does_not_come_back(bot: Bot) -> None:
    has_run(bot, minutes=20)
    message = bot.say("forget this")
    assert bot.eraser.forget(SOMEBODY)
    logged(bot, "forget this", ago(minutes=2), provider_id=message.provider_id)
    bot.catch_up.run_due()
    assert bot.rows(INBOUND) == []
    assert bot.rows("SELECT * FROM people") == []


def test_a_message_that_was_forgotten_before_it_was_stored_does_not_come_back(bot: Bot) -> None:
    has_run(bot, minutes=20)
    message = bot.accept("forget this")
    assert bot.eraser.forget(SOMEBODY)
    logged(bot, "forget this", ago(minutes=2), provider_id=message.provider_id)
    caught = bot.catch_up.run(timedelta(hours=1))
    assert (caught.late, caught.too_late) == (0, 0)
    assert bot.rows("SELECT FROM people") == []


def test_the_person_is_found_by_any_id_that_the_log_calls_them(bot: Bot) -> None:
    bot.say("hello", external_id=HIDDEN, parent_external_id=HIDDEN)
    has_run(bot, minutes=20)
    logged(bot, "by number", ago(minutes=3))
    logged(bot, "by hidden id", ago(minutes=2), sender=HIDDEN)
    bot.catch_up.run_due()
    assert len(bot.rows("SELECT * FROM people")) == 1
    assert [m["text"] for m in bot.rows(INBOUND)] == ["hello", "by number", "by hidden id"]


def test_one_first_met_in_the_log_is_the_same_person_at_the_door(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "from a hidden number", ago(minutes=2), sender=HIDDEN)
    bot.catch_up.run_due()
    bot.say("with my number shown", parent_external_id=HIDDEN, external_id=HIDDEN)
    assert len(bot.rows("SELECT * FROM people")) == 1


def test_a_late_message_does_not_change_where_replies_go(bot: Bot) -> None:
    bot.say("hello", external_id=HIDDEN)
    bot.say("I hide now", sender=HIDDEN, external_id=HIDDEN, profile_name="Ada")
    has_run(bot, minutes=20)
    logged(bot, "from when I did not", ago(minutes=2))
    bot.catch_up.run_due()
    (conversation,) = bot.rows("SELECT sender, profile_name FROM conversations")
    assert conversation == {"sender": HIDDEN, "profile_name": "Ada"}


def test_late_messages_are_stored_in_the_order_of_the_log_and_answered_together(bot: Bot) -> None:
    has_run(bot, minutes=20)
    at = ago(minutes=2)
    for text in "abc":
        logged(bot, text, at)  # all in one second
    bot.channel.log[:] = sorted(bot.channel.log, key=lambda m: m.body, reverse=True)
    bot.catch_up.run_due()
    answer_what_waits(bot)
    assert bot.llm.own_texts() == ["a", "b", "c"]
    assert len(bot.channel.sent) == 1


def test_attachments_are_asked_for(bot: Bot) -> None:
    has_run(bot, minutes=20)
    there = logged(bot, "", ago(minutes=3), media_count=1)
    logged(bot, "deleted meanwhile", ago(minutes=2), media_count=1)
    bot.channel.attachments[there.provider_id] = [Media(url="https://api.twilio.com/x", content_type="audio/ogg")]
    bot.catch_up.run_due()
    first, second = bot.rows(INBOUND)
    assert first["attachments"]["media"] == [{"url": "https://api.twilio.com/x", "content_type": "audio/ogg"}]
    assert second["attachments"] is None


def test_what_waits_in_an_inbox_is_taken_from_there_with_all_its_fields(bot: Bot) -> None:
    has_run(bot, minutes=20)
    message = bot.accept("", location=Location(latitude="1", longitude="2"))
    logged(bot, "", ago(minutes=2), provider_id=message.provider_id)
    logged(bot, "really lost", ago(minutes=1))
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.zadd("sisters:waiting", {person_key(SOMEBODY): 1})  # pyright: ignore[reportUnknownMemberType]
    bot.catch_up.run_due()
    first, second = bot.rows(INBOUND)
    assert (first["attachments"]["location"]["latitude"], first["late"]) == ("1", False)
    assert (second["text"], second["late"]) == ("really lost", True)


def long_ago(bot: Bot, *senders: str) -> None:
    """Their inboxes have waited since then."""
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.zadd("sisters:waiting", {person_key(sender): 1 for sender in senders})  # pyright: ignore[reportUnknownMemberType]


def test_however_many_inboxes_wait_the_log_overtakes_none_of_them(bot: Bot) -> None:
    has_run(bot, minutes=20)
    people = [f"whatsapp:+4917000{n:05d}" for n in range(INBOXES_AT_ONCE + 2)]
    for sender in people:
        message = bot.accept("yes", sender=sender, button=Button(payload="yes", text="yes"))
        logged(bot, "yes", ago(minutes=2), sender=sender, provider_id=message.provider_id)
    long_ago(bot, *people)
    bot.catch_up.run_due()
    rows = bot.rows(INBOUND)
    assert len(rows) == len(people)
    assert [row for row in rows if row["late"] or row["attachments"] is None] == []


def test_a_late_delete_is_no_confirmation_of_one_written_after_it(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "DELETE", ago(minutes=2))
    bot.say("DELETE")
    bot.catch_up.run_due()
    answer_what_waits(bot)
    assert bot.rows("SELECT erase_requested_at FROM people") == [{"erase_requested_at": None}]


def test_a_late_start_does_not_undo_a_later_stop(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "START", ago(minutes=2))
    bot.say("STOP")
    bot.catch_up.run_due()
    answer_what_waits(bot)
    assert bot.rows("SELECT silenced_at IS NULL AS spoken_to FROM conversations") == [{"spoken_to": False}]


def test_a_late_start_ends_an_earlier_silence_whatever_was_written_since(bot: Bot) -> None:
    has_run(bot, minutes=20)
    bot.say("STOP")
    bot.change("UPDATE conversations SET silenced_at = now() - interval '10 minutes'")
    bot.change("UPDATE messages SET received_at = now() - interval '10 minutes'")
    logged(bot, "START", ago(minutes=2))
    bot.say("hello?")
    bot.catch_up.run_due()
    answer_what_waits(bot)
    assert bot.rows("SELECT silenced_at IS NULL AS spoken_to FROM conversations") == [{"spoken_to": True}]


def test_a_stop_is_heeded_even_where_it_is_too_late_to_say_so(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "STOP", ago(minutes=10))
    answered_from_elsewhere(bot, ago(minutes=9))
    bot.catch_up.run_due()
    assert bot.rows("SELECT silenced_at IS NULL AS spoken_to FROM conversations") == [{"spoken_to": False}]


def test_a_start_since_then_outweighs_it(bot: Bot) -> None:
    has_run(bot, minutes=20)
    logged(bot, "STOP", ago(minutes=10))
    answered_from_elsewhere(bot, ago(minutes=9))
    bot.say("START")
    bot.catch_up.run_due()
    assert bot.rows("SELECT silenced_at IS NULL AS spoken_to FROM conversations") == [{"spoken_to": True}]


def test_the_next_reading_begins_ten_minutes_before_the_mark(bot: Bot) -> None:
    has_run(bot, hours=1)
    bot.catch_up.run_due()
    since, until = bot.channel.readings[-1]
    assert timedelta(minutes=69) < datetime.now(UTC) - since < timedelta(minutes=71)
    assert mark(bot) == until


def test_a_reading_that_fails_in_the_middle_keeps_the_mark_and_is_repeated_soon(bot: Bot) -> None:
    has_run(bot, hours=1)
    before = mark(bot)
    for n in range(4):
        logged(bot, f"message {n}", ago(minutes=30 - n))
    for error in (Transient("server"), Permanent("auth", code="20003")):
        bot.channel.log_fails, bot.channel.log_fails_after = error, 2
        caught = bot.started_catch_up().run_due()
        assert caught is not None
        assert (caught.late, mark(bot)) == (0, before)
    (row,) = bot.rows("SELECT next_run_at < now() + interval '1 minute' AS soon, leased_until FROM catch_up")
    assert row == {"soon": True, "leased_until": None}
    bot.channel.log_fails = None
    bot.change("UPDATE catch_up SET next_run_at = now()")
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.late == 4
    assert mark(bot) > before


def test_redis_away_is_waited_out_while_something_is_missing(bot: Bot) -> None:
    has_run(bot, hours=1)
    before = mark(bot)
    logged(bot, "lost", ago(minutes=2))
    away = inboxes("redis://127.0.0.1:1/0")
    bot.intake = Intake(
        store=bot.store, inboxes=away, cast=bot.cast, worker_id=bot.worker_id, turn_deadline=bot.settings.deadline
    )
    bot.started_catch_up().run_due()
    assert mark(bot) == before
    assert bot.rows(INBOUND) == []


def test_a_log_too_long_to_be_held_is_read_in_halves_and_the_mark_moves_between(bot: Bot) -> None:
    has_run(bot, hours=4)
    known = ROWS_AT_ONCE + 10
    bot.change(
        "INSERT INTO erased SELECT sha256(convert_to('twilio:SMknown' || n, 'UTF8')) FROM generate_series(1, %(n)s) n",
        n=known,
    )
    first = ago(hours=4)
    lost = logged(bot, "lost", ago(hours=3))
    bot.channel.log += [
        replace(lost, provider_id=f"SMknown{n}", sent_at=first + timedelta(seconds=n * 14000 // known))
        for n in range(known, 0, -1)
    ]
    marks: list[datetime] = []
    bot.channel.while_reading = lambda: marks.append(mark(bot))
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.late == 1
    assert caught.read >= known
    whole, older, newer = bot.channel.readings[-3:]
    assert (older[0], older[1], newer[1]) == (whole[0], newer[0], whole[1])
    assert marks == [marks[0], marks[0], older[1]]
    assert mark(bot) == newer[1]


def test_one_worker_reads_at_a_time_and_by_the_clock(bot: Bot) -> None:
    has_run(bot, minutes=5)
    other = uuid4()
    bot.change("INSERT INTO workers (id, host, pid, version) VALUES (%(w)s, 'h', 1, 'v')", w=other)
    bot.change("UPDATE catch_up SET worker_id = %(w)s, leased_until = now() + interval '1 minute'", w=other)
    assert bot.started_catch_up().run_due() is None
    bot.change("UPDATE workers SET beat_at = now() - interval '1 minute' WHERE id = %(w)s", w=other)
    assert bot.catch_up.run_due() is not None  # it died
    assert bot.catch_up.run_due() is None  # it is not time yet
    bot.change("UPDATE catch_up SET next_run_at = now()")
    assert bot.catch_up.run_due() is not None


def test_who_lost_the_lease_moves_no_mark(bot: Bot) -> None:
    has_run(bot, minutes=5)
    before = mark(bot)
    bot.channel.while_reading = lambda: bot.change("UPDATE catch_up SET worker_id = %(w)s", w=uuid4())
    bot.catch_up.run_due()
    assert mark(bot) == before


def test_a_worker_that_stops_ends_its_reading(bot: Bot) -> None:
    has_run(bot, minutes=5)
    logged(bot, "lost", ago(minutes=2))
    before = mark(bot)
    bot.catch_up.stop()
    bot.catch_up.run_due()
    assert mark(bot) == before


def test_a_new_person_met_in_the_log_and_at_the_door_at_once_is_one_person(bot: Bot) -> None:
    bot.slots.places = 0
    has_run(bot, minutes=20)
    for n in range(20):
        sender = f"whatsapp:+4917000002{n:02d}"
        logged(bot, "lost", ago(minutes=2), sender=sender)
        bot.accept("not lost", sender=sender, external_id=f"whatsapp:DE.{n}")
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(bot.take_in), pool.submit(bot.catch_up.run, timedelta(hours=1))]:
            done.result()
    assert len(bot.rows(INBOUND)) == 40
    assert len(bot.rows("SELECT * FROM people")) == 20


ODD = [
    {"body": "half \ud83c"},  # no UTF-8
    {"sender": "whatsapp:" + token_hex(8000)},  # no index takes that much
]


@pytest.mark.parametrize("odd", ODD, ids=["text", "address"])
def test_what_cannot_be_stored_keeps_nobody_elses_out_and_holds_the_mark(bot: Bot, odd: dict[str, str]) -> None:
    has_run(bot, minutes=20)
    first = logged(bot, odd.get("body", "odd"), ago(minutes=3), sender=odd.get("sender", "whatsapp:+491700000009"))
    logged(bot, "lost", ago(minutes=2))
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.as_json() == {"read": 2, "late": 1, "too_late": 0, "failed": 1}
    assert mark(bot) == first.sent_at


def test_what_could_not_be_stored_is_answered_once_it_can_be(bot: Bot) -> None:
    has_run(bot, minutes=50)
    odd = logged(bot, "half \ud83c", ago(minutes=40))
    bot.catch_up.run_due()
    assert mark(bot) == odd.sent_at
    bot.channel.log[:] = [replace(odd, body="whole")]  # as with a release that mends it
    bot.change("UPDATE catch_up SET next_run_at = now()")
    bot.catch_up.run_due()
    assert [message["text"] for message in bot.rows(INBOUND)] == ["whole"]
    assert mark(bot) > ago(minutes=2)


def test_what_fails_for_longer_than_an_hour_holds_no_mark(bot: Bot) -> None:
    has_run(bot, hours=3)
    logged(bot, "half \ud83c", ago(hours=2))
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.failed == 0
    assert mark(bot) > ago(minutes=2)


def test_a_reading_that_is_cut_off_at_a_held_mark_does_not_begin_again_at_once(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_run(bot, minutes=50)
    logged(bot, "half \ud83c", ago(minutes=40))
    logged(bot, "lost", ago(minutes=39), sender="whatsapp:+491700000009")

    def cut_off(*_: Any, **__: Any) -> None:
        bot.catch_up.stop()

    monkeypatch.setattr("core.keeping.latecomers._log.exception", cut_off)
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert (caught.failed, caught.late) == (1, 0)
    (row,) = bot.rows("SELECT next_run_at > now() + interval '1 minute' AS later FROM catch_up")
    assert row["later"]


def test_an_inbox_that_cannot_be_stored_ends_no_reading(bot: Bot) -> None:
    has_run(bot, minutes=20)
    odd = "whatsapp:\0"
    bot.accept("odd", sender=odd)
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.zadd("sisters:waiting", {person_key(odd): 1})  # pyright: ignore[reportUnknownMemberType]
    logged(bot, "lost", ago(minutes=2))
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.late == 1


def test_after_a_reading_that_did_not_come_to_its_end_less_is_read_at_once(bot: Bot) -> None:
    has_run(bot, hours=1)
    logged(bot, "lost", ago(minutes=30))
    bot.channel.log_fails = Transient("timeout")
    bot.catch_up.run_due()
    bot.channel.log_fails = None
    bot.change("UPDATE catch_up SET next_run_at = now()")
    caught = bot.catch_up.run_due()
    assert caught is not None
    assert caught.late == 1
    spans = [until - since for since, until in bot.channel.readings]
    assert spans[1] <= spans[0] / 2 + timedelta(seconds=1)
    assert len(spans) == 3


def test_what_is_known_is_looked_up_by_index_alone(bot: Bot) -> None:
    bot.say("hello")
    many = "SELECT %s FROM %s o, generate_series(1, 20000) n WHERE o.id = 1"
    bot.change("INSERT INTO erased SELECT sha256(n::text::bytea) FROM generate_series(1, 20000) n")
    bot.change(
        "INSERT INTO messages (conversation_id, direction, channel, provider_id, text, received_at) "
        + many % ("conversation_id, 'in', 'twilio', 'SMa' || n, '', now()", "messages")
    )
    bot.change(
        "INSERT INTO deliveries (conversation_id, turn_id, piece, channel, sender, recipient, body, provider_id) "
        + many % ("conversation_id, turn_id, n + 1, 'twilio', sender, recipient, '', 'SMb' || n", "deliveries")
    )
    bot.change(
        "INSERT INTO former_ids (channel, provider_id, delivery_id, status, error_code, reported_at) "
        + many % ("'twilio', 'SMd' || n, id, 'failed', '63018', now()", "deliveries")
    )
    bot.change("ANALYZE")
    given = {"channel": "twilio", "provider_ids": [f"SM{kind}{n}" for kind in "abc" for n in range(300)]}
    with psycopg.connect(bot.database_url) as connection:
        plan = connection.execute(b"EXPLAIN " + load_queries()["known_to_us"], given).fetchall()
        assert [line for (line,) in plan if "Seq Scan" in line] == []
        assert len(connection.execute(load_queries()["known_to_us"], given).fetchall()) == 598  # from 1 on, and no SMc


def test_postgres_away_is_told(bot: Bot) -> None:
    bot.store.close()
    with pytest.raises(Transient):
        bot.catch_up.run_due()


@pytest.mark.parametrize(
    ("sent", "oldest", "answered", "overtaken", "expected"),
    [
        (10, 5, None, None, False),
        (4, 5, None, None, True),
        (5, 5, None, None, False),
        (10, 5, 9, None, False),
        (10, 5, 10, None, True),
        (10, 5, 11, None, True),
        (10, 5, None, 11, True),
        (10, 5, None, 10, False),
    ],
)
def test_the_rule_of_too_late(
    sent: int, oldest: int, answered: int | None, overtaken: int | None, *, expected: bool
) -> None:
    def at(minute: int | None) -> Any:
        return None if minute is None else datetime(2026, 11, 22, 10, minute, tzinfo=UTC)

    assert too_late(at(sent), oldest=at(oldest), answered_at=at(answered), overtaken_at=at(overtaken)) is expected
