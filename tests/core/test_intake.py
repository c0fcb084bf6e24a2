"""Stored once, in the order of the door, and removed from the inbox only after the commit."""

import threading
import time
from datetime import timedelta

import psycopg
import pytest
import redis

from core.adapters.redis_inbox import person_key
from core.errors import Transient
from core.keeping.catchup import TimeIsUp
from core.model import Button, Location, Media
from core.store import Store
from tests.fakes import SOMEBODY, Bot, RunsHere

WAITS_FOR_A_LOCK = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
INBOUND = "SELECT * FROM messages WHERE direction = 'in' ORDER BY id"


def test_a_webhook_delivered_twice_is_stored_and_answered_once(bot: Bot) -> None:
    message = bot.say("hello")
    bot.door.accept(message)
    bot.take_in()
    assert len(bot.rows(INBOUND)) == 1
    assert len(bot.channel.sent) == 1


def test_the_same_text_twice_is_two_messages(bot: Bot) -> None:
    bot.say("ok")
    bot.say("ok")
    assert len(bot.rows(INBOUND)) == 2


def test_two_workers_that_read_the_same_inbox_keep_its_order(bot: Bot) -> None:
    bot.slots.places = 0
    for text in "abc":
        bot.accept(text)
    person = person_key(SOMEBODY)
    early = bot.inboxes.read(person, limit=2)
    bot.accept("d")
    assert bot.intake.drain(person, bot.slots) == 4
    assert bot.inboxes.remove(early) == 0
    assert [m["text"] for m in bot.rows(INBOUND)] == ["a", "b", "c", "d"]


def test_what_was_not_committed_stays_in_the_inbox(bot: Bot) -> None:
    bot.accept("hello")
    bot.change("ALTER TABLE messages RENAME TO gone")
    with pytest.raises(Exception, match="not_migrated"):
        bot.take_in()
    bot.change("ALTER TABLE gone RENAME TO messages")
    assert bot.take_in() == 1


def test_postgres_away_is_transient_and_frees_the_place(bot: Bot) -> None:
    class Counting(RunsHere):
        released = 0

        def release(self) -> None:
            self.released += 1

    slots = Counting(bot.turns.run)
    bot.accept("hello")
    store: Store = bot.store
    store.close()
    with pytest.raises(Transient):
        bot.intake.drain(person_key(SOMEBODY), slots)
    assert slots.released == 1
    assert bot.inboxes.read(person_key(SOMEBODY), limit=10).entries


def test_an_unreadable_entry_is_buried_and_blocks_nothing(bot: Bot) -> None:
    good = bot.accept("hello")
    inbox = bot.inboxes.read(person_key(SOMEBODY), limit=10)
    newer = inbox.entries[0].replace(b'"version":1', b'"version":99').replace(good.provider_id.encode(), b"SMother")
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.lpush(f"sisters:inbox:{inbox.person}", newer, b"\xff{")
    bot.take_in()
    assert bot.inboxes.read(inbox.person, limit=10).entries == ()
    assert [m["text"] for m in bot.rows(INBOUND)] == ["hello"]
    assert [d["reason"] for d in bot.rows("SELECT * FROM dead_letters ORDER BY id")][1].startswith("version 99")


def test_a_person_is_one_under_all_their_ids(bot: Bot) -> None:
    bot.say("one")
    bot.say("two", external_id="whatsapp:DE.1")
    bot.say("three", sender="whatsapp:DE.1", external_id="whatsapp:DE.1")
    bot.say("four", sender="whatsapp:DE.1", external_id="whatsapp:DE.ENT.9", parent_external_id="whatsapp:DE.ENT.9")
    assert len(bot.rows("SELECT * FROM people")) == 1
    (conversation,) = bot.rows("SELECT * FROM conversations")
    assert conversation["sender"] == "whatsapp:DE.1"  # the newest message's
    values = {(i["kind"], i["value"]) for i in bot.rows("SELECT * FROM identities")}
    assert ("address", SOMEBODY) in values
    assert ("external", "whatsapp:DE.1") in values
    assert ("parent", "whatsapp:DE.ENT.9") in values


def test_a_hidden_number_seen_first_by_its_bare_id_is_found_again(bot: Bot) -> None:
    bot.say("one", sender="whatsapp:DE.7", external_id="whatsapp:DE.7")
    bot.say("two", sender="whatsapp:DE.7")
    assert len(bot.rows("SELECT * FROM people")) == 1


def test_who_writes_while_their_delete_takes_effect_is_new(bot: Bot) -> None:
    bot.say("hello")
    with psycopg.connect(bot.database_url) as deleting:
        deleting.execute(b"SELECT FROM conversations FOR UPDATE")
        deleting.execute(b"UPDATE people SET erase_requested_at = now()")
        deleting.execute(b"DELETE FROM identities")
        writing = threading.Thread(target=bot.say, args=("hello again",))
        writing.start()
        while not bot.rows(WAITS_FOR_A_LOCK):
            time.sleep(0.01)
    writing.join()
    assert bot.eraser.erase_settled() == 1
    assert [m["text"] for m in bot.rows(INBOUND)] == ["hello again"]
    assert len(bot.rows("SELECT FROM identities")) == 1
    assert len(bot.channel.sent) == 2


def test_an_erased_message_told_again_makes_nobody(bot: Bot) -> None:
    message = bot.say("hello")
    bot.eraser.forget(SOMEBODY)
    bot.door.accept(message)
    assert bot.take_in() == 0
    assert bot.rows("SELECT FROM people") == []


def test_two_people_never_share_a_conversation(bot: Bot) -> None:
    bot.say("one")
    bot.say("two", sender="whatsapp:+491700000002")
    assert len(bot.rows("SELECT DISTINCT conversation_id FROM messages WHERE direction = 'in'")) == 2


def test_everything_that_came_with_a_message_is_kept(bot: Bot) -> None:
    bot.say(
        "look",
        media=(Media(url="https://api.twilio.com/x", content_type="image/jpeg"),),
        location=Location(latitude="1.5", longitude="2.5", label="here\0"),
        button=Button(payload="yes", text="Yes"),
    )
    (message,) = bot.rows(INBOUND)
    assert message["attachments"]["media"][0]["content_type"] == "image/jpeg"
    assert message["attachments"]["location"]["label"] == "here"
    assert message["attachments"]["button"]["payload"] == "yes"


def test_nul_and_right_to_left_marks_do_no_harm(bot: Bot) -> None:
    bot.say("a\0b \u202eabc")
    assert bot.rows(INBOUND)[0]["text"] == "ab \u202eabc"


def test_whoever_has_no_more_time_leaves_the_next_inbox_as_it_is(bot: Bot) -> None:
    for sender in (SOMEBODY, "whatsapp:+491700000002"):
        bot.accept("hello", sender=sender)

    def once() -> None:
        if bot.rows("SELECT FROM messages"):
            raise TimeIsUp

    with pytest.raises(TimeIsUp):
        bot.intake.drain_waiting(bot.slots, older_than=timedelta(0), go_on=once)
    assert bot.inboxes.backlog().inboxes == 1
