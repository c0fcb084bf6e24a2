"""What could not be read is kept, shown without its text, and put back or dropped exactly once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis

from core.adapters.redis_inbox import RedisInboxes, person_key
from core.errors import Transient
from core.model import InboundMessage, StatusReport, dump_inbound, dump_report
from core.operations.audit import recount
from core.operations.dead_letters import DeadLetters, veiled
from tests.fakes import SOMEBODY, Bot

KEY = person_key(SOMEBODY)


@pytest.fixture
def letters(bot: Bot) -> DeadLetters:
    return DeadLetters(store=bot.store, inboxes=bot.inboxes, person_key=person_key)


def buried(bot: Bot, payload: bytes, *, source: str = "inbox", person: str | None = KEY) -> int:
    (row,) = bot.rows(
        "INSERT INTO dead_letters (source, person, payload, reason)"
        " VALUES (%(source)s, %(person)s, %(payload)s, 'fields []') RETURNING id",
        source=source,
        person=person,
        payload=payload,
    )
    return row["id"]


def newer(bot: Bot, text: str = "from the future") -> InboundMessage:
    return replace(bot.message(text), version=99)


def test_an_unreadable_entry_is_buried_with_the_key_of_its_inbox(bot: Bot, letters: DeadLetters) -> None:
    bot.door.accept(newer(bot))
    bot.take_in()
    (listed,) = letters.all()
    assert (listed.source, listed.reason) == ("inbox", "version 99, this release reads up to 1")
    letter = letters.read(listed.id)
    assert letter is not None
    assert letter.person == KEY


def test_the_list_is_read_in_pages_and_in_order(bot: Bot, letters: DeadLetters) -> None:
    bot.change(
        "INSERT INTO dead_letters (source, payload, reason) SELECT 'inbox', 'x', 'r' FROM generate_series(1, 1100)"
    )
    ids = [letter.id for letter in letters.all()]
    assert len(ids) == 1100
    assert ids == sorted(ids)


def test_replayed_it_goes_back_into_its_inbox_and_is_answered_once_it_can_be_read(
    bot: Bot, letters: DeadLetters
) -> None:
    message = bot.message("hello again")
    assert letters.replay(buried(bot, dump_inbound(message))) == "done"
    assert list(letters.all()) == []
    assert bot.take_in() == 1
    assert bot.llm.own_texts() == ["hello again"]


def test_what_is_replayed_has_lost_its_place_and_counts_as_late(bot: Bot, letters: DeadLetters) -> None:
    early = bot.message("first", received_at=datetime(2026, 11, 22, tzinfo=UTC))
    bot.say("second")
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
    letters.replay(buried(bot, dump_inbound(early)))
    bot.take_in()
    result = recount(bot.store)
    assert (result.endings["answered"], result.late, result.out_of_order) == (2, 1, [])


def test_what_is_still_unreadable_goes_back_as_it_is_and_is_buried_again(bot: Bot, letters: DeadLetters) -> None:
    payload = dump_inbound(newer(bot))
    assert letters.replay(buried(bot, payload)) == "done"
    assert bot.inboxes.read(KEY, limit=10).entries == (payload,)
    bot.take_in()
    assert len(list(letters.all())) == 1


def test_a_letter_without_a_known_inbox_goes_where_its_message_belongs_or_stays(bot: Bot, letters: DeadLetters) -> None:
    readable = buried(bot, dump_inbound(bot.message("hello")), person=None)
    damaged = buried(bot, b"\xff{", person=None)
    stranger = buried(bot, b"{}", source="elsewhere")
    assert [letters.replay(letter) for letter in (readable, damaged, stranger)] == ["done", "no_place", "no_place"]
    assert [letter.id for letter in letters.all()] == [damaged, stranger]
    assert len(bot.inboxes.read(KEY, limit=10).entries) == 1


def test_a_report_goes_back_into_the_list_of_reports_and_is_applied(bot: Bot, letters: DeadLetters) -> None:
    bot.say("hello")
    (delivery,) = bot.rows("SELECT provider_id FROM deliveries")
    report = StatusReport(
        channel="twilio", provider_id=delivery["provider_id"], status="read", received_at=datetime.now(UTC)
    )
    assert letters.replay(buried(bot, dump_report(report), source="reports", person=None)) == "done"
    bot.outbox.take_reports()
    assert bot.rows("SELECT status FROM deliveries") == [{"status": "read"}]


def test_dropped_it_is_gone(bot: Bot, letters: DeadLetters) -> None:
    letter = buried(bot, b"x")
    assert [letters.drop(letter), letters.drop(letter)] == ["done", "unknown"]
    assert letters.read(letter) is None


def test_two_who_replay_at_once_put_it_back_once(bot: Bot) -> None:
    class Slow(RedisInboxes):
        def put_back(self, person: str, entry: bytes) -> None:
            time.sleep(0.2)
            super().put_back(person, entry)

    slow = Slow(redis.Redis.from_url(bot.redis_url))  # pyright: ignore[reportUnknownMemberType]
    letters = DeadLetters(store=bot.store, inboxes=slow, person_key=person_key)
    letter = buried(bot, dump_inbound(newer(bot)))
    with ThreadPoolExecutor(8) as pool:
        fates = list(pool.map(letters.replay, [letter] * 8))
    slow.close()
    assert sorted(fates) == ["done"] + ["unknown"] * 7
    assert len(bot.inboxes.read(KEY, limit=10).entries) == 1


def test_put_back_twice_a_message_is_still_stored_once(bot: Bot, letters: DeadLetters) -> None:
    message = bot.say("hello")
    for _ in range(2):
        letters.replay(buried(bot, dump_inbound(message)))
    assert bot.take_in() == 0
    assert len(bot.rows("SELECT * FROM messages WHERE direction = 'in'")) == 1


def test_the_row_stays_when_redis_is_away(bot: Bot) -> None:
    class Away(RedisInboxes):
        def put_back(self, person: str, entry: bytes) -> None:
            raise Transient("redis", code=f"{len(person)} {len(entry)}")

    letters = DeadLetters(store=bot.store, inboxes=Away(redis.Redis(port=1)), person_key=person_key)
    letter = buried(bot, dump_inbound(newer(bot)))
    with pytest.raises(Transient):
        letters.replay(letter)
    assert letters.read(letter) is not None


@pytest.mark.parametrize("letter", [0, -1, 999, 2**63, 10**30])
def test_an_id_that_cannot_be_is_unknown(letters: DeadLetters, letter: int) -> None:
    assert letters.read(letter) is None
    assert (letters.replay(letter), letters.drop(letter)) == ("unknown", "unknown")


def test_shown_are_shape_ids_and_times_but_no_text_and_no_address(bot: Bot) -> None:
    message = replace(newer(bot, "a secret"), profile_name="Alice", external_id="whatsapp:DE.134912086553")
    shown = veiled(dump_inbound(message))
    assert shown["provider_id"] == message.provider_id
    assert (shown["version"], shown["text"], shown["sender"]) == (99, "<8 characters>", "<22 characters>")
    for hidden in ("secret", "49170", "Alice", "1349"):
        assert hidden not in json.dumps(shown)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"\xff", "1 bytes that are no JSON"),
        (b'["+491700000001"]', "17 bytes of JSON that are no object"),
        (
            b'{"+491700000001": 1, "provider_id": "491700000001"}',
            {"<field 0>": "<int>", "provider_id": "<12 characters>"},
        ),
        (b'{"delivery_id": 491700000001, "late": "491700000001"}', {"delivery_id": "<int>", "late": "<12 characters>"}),
        (b'{"received_at": "+4917000000010", "media": ["x"]}', {"received_at": "<14 characters>", "media": "<list>"}),
        (b"[" * 100_000, "100000 bytes that are no JSON"),
    ],
)
def test_damaged_payloads_show_nothing_by_accident(payload: bytes, shown: object) -> None:
    assert veiled(payload) == shown


def test_forgetting_a_person_erases_the_dead_letters_of_every_inbox_they_had(bot: Bot, letters: DeadLetters) -> None:
    bot.say("hello", external_id="US.1")
    for person in (person_key("US.1"), KEY, person_key("somebody else"), None):
        buried(bot, b"about " + SOMEBODY.encode(), person=person)
    assert bot.eraser.forget(SOMEBODY)
    assert [row["person"] for row in bot.rows("SELECT person FROM dead_letters ORDER BY id")] == [
        person_key("somebody else"),
        None,  # which person it speaks of nobody can tell
    ]
    assert len(list(letters.all())) == 2


def test_who_could_never_be_read_can_be_forgotten_too(bot: Bot, letters: DeadLetters) -> None:
    bot.door.accept(newer(bot))
    bot.take_in()
    assert bot.eraser.forget(SOMEBODY.removeprefix("whatsapp:"))
    assert list(letters.all()) == []
    assert not bot.eraser.forget(SOMEBODY)


def test_letters_are_found_by_the_key_that_redis_knew_the_person_by(bot: Bot, letters: DeadLetters) -> None:
    bot.accept("hello", sender="whatsapp:+491700000009", external_id="US.9")
    bot.accept("from another phone", sender=SOMEBODY, external_id="US.9")
    bot.take_in()
    bot.change("DELETE FROM identities WHERE value = 'US.9'")  # as if it had been stored by an older release
    buried(bot, b"x", person=person_key("US.9"))
    assert bot.eraser.forget(SOMEBODY)
    assert list(letters.all()) == []


def test_delete_in_the_chat_erases_them_as_well(bot: Bot, letters: DeadLetters) -> None:
    buried(bot, b"x")
    bot.say("DELETE")
    assert len(list(letters.all())) == 1
    bot.say("DELETE")
    assert list(letters.all()) == []
