"""What happened to a message, in order of time, without its text unless asked for."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from core.errors import Ambiguous, Permanent, Transient
from core.operations.timeline import Event, story, timeline
from core.store import load_queries
from tests.fakes import SOMEBODY, Bot, completion

LONG = "This is a sentence of a long answer. " * 60  # two pieces


def told(bot: Bot, name: str, *, texts: bool = False) -> Sequence[Event]:
    events = timeline(bot.store, name, channels=("twilio",), texts=texts)
    assert events is not None
    assert [event.at for event in events] == sorted(event.at for event in events)
    return events


def names(events: Sequence[Event]) -> list[str]:
    return [event.event for event in events]


def one(events: Sequence[Event], name: str) -> Event:
    (event,) = (event for event in events if event.event == name)
    return event


def sid(bot: Bot, place: int = -1) -> str:
    return bot.rows("SELECT provider_id FROM deliveries ORDER BY id")[place]["provider_id"]


def test_an_answered_message_is_told_from_the_door_to_the_reader(bot: Bot) -> None:
    bot.llm.answers = [completion("Lots!", took=timedelta(0))]
    message = bot.say("Who knows about music?", received_at=datetime.now(UTC) - timedelta(seconds=1))
    for status in ("sent", "delivered", "read"):
        bot.report(status, provider_id=sid(bot))
    events = told(bot, message.provider_id)
    stages = ["received", "stored", "owed", "claimed", "routed", "moderated", "asked", "moderated", "replied"]
    stages += ["waiting", "sending", "accepted"]
    # Stored, owed and claimed share one transaction, as replied and waiting do: their times are equal.
    assert names(events) == [*stages, "sent", "delivered", "read"]
    assert one(events, "received").facts["sid"] == message.provider_id
    routed = one(events, "routed")
    assert (routed.facts["character"], routed.about) == ("kasho", True)
    assert one(events, "asked").facts["model"] == "fake-1"
    assert one(events, "replied").facts["reason"] == "llm"
    assert one(events, "accepted").facts["sid"] == sid(bot)


def test_what_decided_who_answers_is_told_in_numbers_and_in_words_only_when_asked(bot: Bot) -> None:
    message = bot.say("Do you know a song about a guitar?")
    (turn,) = bot.rows("SELECT decision FROM turns")
    words = {each["term"] for each in turn["decision"]["evidence"]}
    assert {"song", "guitar"} <= words
    routed = one(told(bot, message.provider_id), "routed").facts
    assert (routed["character"], routed["tier"]) == (turn["decision"]["character"], turn["decision"]["tier"])
    assert (routed["confidence"], routed["scores"]) == (turn["decision"]["confidence"], turn["decision"]["scores"])
    assert not any(word in json.dumps([event.as_json() for event in told(bot, message.provider_id)]) for word in words)
    assert "guitar" in one(told(bot, message.provider_id, texts=True), "routed").facts["why"]


def test_every_id_leads_to_the_same_story(bot: Bot) -> None:
    message = bot.say("hello")
    bot.report("sent", provider_id=sid(bot))
    (ids,) = bot.rows(
        "SELECT m.id AS m, t.id AS t, d.id AS d FROM messages m JOIN turns t ON t.id = m.turn_id"
        " JOIN deliveries d ON d.turn_id = t.id WHERE m.direction = 'in'"
    )
    whole = told(bot, message.provider_id)
    for name in (str(ids["m"]), f"m{ids['m']}", f"t{ids['t']}", f"d{ids['d']}", sid(bot)):
        assert told(bot, name) == whole


def test_a_provider_id_that_only_a_report_knows_leads_to_the_delivery_it_names(bot: Bot) -> None:
    bot.say("hello")
    (delivery,) = bot.rows("SELECT id FROM deliveries")
    bot.report("sent", provider_id="SMsecond", delivery_id=delivery["id"])
    assert told(bot, "SMsecond") == told(bot, f"d{delivery['id']}")


@pytest.mark.parametrize(
    "name", ["m999", "t999", "d999", "999", "SM" + "f" * 32, "nonsense", "9" * 19, "9" * 40, "", "x'"]
)
def test_what_nothing_bears_has_no_story(bot: Bot, name: str) -> None:
    bot.say("hello")
    assert timeline(bot.store, name, channels=("twilio",)) is None


def test_what_waits_for_a_turn_has_only_its_own_beginning(bot: Bot) -> None:
    bot.slots.places = 0
    message = bot.say("hello")
    assert names(told(bot, message.provider_id)) == ["received", "stored"]


def test_an_erased_person_has_no_story(bot: Bot) -> None:
    message = bot.say("hello")
    delivery = sid(bot)
    bot.eraser.forget(SOMEBODY)
    assert timeline(bot.store, message.provider_id, channels=("twilio",)) is None
    assert timeline(bot.store, delivery, channels=("twilio",)) is None


def test_merged_messages_say_into_which(bot: Bot) -> None:
    def more(call: int) -> None:
        if call == 1:
            bot.accept("two")
            bot.take_in()

    bot.llm.meanwhile = more
    first = bot.say("one")
    events = told(bot, first.provider_id)
    ids = [row["id"] for row in bot.rows("SELECT id FROM messages WHERE direction = 'in' ORDER BY id")]
    merged = one(events, "merged")
    assert (merged.facts["message"], merged.facts["into"]) == (ids[0], ids[1])
    assert one(events, "asked").facts["superseded"] is True


def test_refused_and_failed_are_told_with_their_reason(bot: Bot) -> None:
    assert one(told(bot, bot.say("flag-me").provider_id), "refused").facts["reason"] == "moderation_in"
    bot.llm.answers = [Permanent("auth")]
    assert one(told(bot, bot.say("hello").provider_id), "failed").facts["reason"] == "auth"


def test_a_planned_retry_is_told_with_its_time(bot: Bot) -> None:
    bot.llm.answers = [Transient("rate", after=timedelta(seconds=30))]
    message = bot.say("hello")
    planned = told(bot, message.provider_id)[-1]
    assert (planned.event, planned.facts["reason"]) == ("retry_planned", "rate")
    assert planned.at > datetime.now(UTC)
    bot.change("UPDATE turns SET next_attempt_at = now() - interval '1 second'")
    assert "retry_due" in names(told(bot, message.provider_id))


def test_a_delivery_tells_its_doubts_refusals_and_retries(bot: Bot) -> None:
    bot.channel.outcomes = [Transient("rate", code="20429", after=timedelta(seconds=30)), Ambiguous("cut")]
    message = bot.say("hello")
    planned = told(bot, message.provider_id)[-1]
    assert (planned.event, planned.facts["error_code"]) == ("retry_planned", "20429")
    bot.change("UPDATE deliveries SET next_attempt_at = now()")
    bot.outbox.push(bot.rows("SELECT conversation_id AS id FROM deliveries")[0]["id"])
    events = told(bot, message.provider_id)
    assert one(events, "doubted").facts["error_code"] == "cut"
    assert one(events, "sending").facts["attempt"] == 2


def test_a_refused_piece_is_given_up_and_the_rest_cancelled(bot: Bot) -> None:
    bot.llm.answers = [LONG]
    bot.channel.outcomes = [Permanent("rejected", code="63016")]
    events = told(bot, bot.say("tell me").provider_id)
    assert one(events, "given_up").facts["error_code"] == "63016"
    assert names(events).index("given_up") < names(events).index("cancelled")


def test_a_piece_that_was_reported_failed_is_told_by_the_report(bot: Bot) -> None:
    message = bot.say("hello")
    bot.report("undelivered", provider_id=sid(bot), error_code="63003")
    events = told(bot, message.provider_id)
    assert one(events, "undelivered").facts["error_code"] == "63003"
    assert "given_up" not in names(events)


def test_no_text_and_no_address_is_told_unless_asked_for(bot: Bot) -> None:
    bot.llm.answers = ["A secret answer."]
    message = bot.say("a secret question", profile_name="Alice Secret")
    shown = json.dumps([event.as_json() for event in told(bot, message.provider_id)])
    assert "secret" not in shown.lower()
    assert SOMEBODY.removeprefix("whatsapp:") not in shown
    asked = told(bot, message.provider_id, texts=True)
    assert one(asked, "received").facts["text"] == "a secret question"
    assert one(asked, "replied").facts["text"] == "A secret answer."
    assert "A secret answer." in one(asked, "waiting").facts["body"]


def test_an_event_is_one_flat_object_with_its_time_in_utc(bot: Bot) -> None:
    message = bot.say("hello", received_at=datetime(2026, 11, 22, 10, 0, tzinfo=UTC))
    first = told(bot, message.provider_id)[0].as_json()
    assert list(first)[:2] == ["at", "event"]
    assert (first["at"], first["event"]) == ("2026-11-22T10:00:00.000+00:00", "received")


def test_a_provider_id_is_found_without_reading_whole_tables(bot: Bot) -> None:
    params = {"kind": "sid", "number": None, "sid": "SM1", "channels": ["twilio"]}
    with psycopg.connect(bot.database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(b"EXPLAIN " + load_queries()["find_timeline"], params).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Seq Scan" not in text, text
    for index in ("messages_stored_once", "deliveries_provider_id", "reports_told_once"):
        assert index in text


def facts(bot: Bot, name: str) -> dict[str, Any]:
    found = story(bot.store, name, channels=("twilio",))
    assert found is not None
    return found.as_json()["facts"]


def test_an_answered_message_comes_to_a_decision_verdicts_a_prompt_and_sends(bot: Bot) -> None:
    message = bot.say("Who knows about music?")
    told = facts(bot, message.provider_id)
    assert (told["ending"], told["merged_into"], told["reason"]) == ("answered", None, "llm")
    assert (told["decision"]["character"], told["decision"]["tier"]) == ("kasho", "words")
    assert [(c["direction"], c["judgement"], c["flagged"]) for c in told["moderation"]] == [
        ("in", "pass", False),
        ("out", "pass", False),
    ]
    prompt = bot.llm.prompts[-1]
    assert (told["prompt_messages"], told["prompt_characters"]) == (len(prompt), sum(len(m.text) for m in prompt))
    assert [(s["sid"], s["state"], s["attempts"]) for s in told["sends"]] == [(sid(bot), "accepted", 1)]
    assert "turn" not in told


def test_what_moderation_refuses_is_told_with_its_categories(bot: Bot) -> None:
    told = facts(bot, bot.say("flag-me").provider_id)
    assert (told["ending"], told["reason"]) == ("refused", "moderation_in")
    (check,) = told["moderation"]
    assert (check["judgement"], check["categories"]) == ("refuse", ["harassment"])
    assert told["prompt_messages"] is None


def test_a_failed_piece_makes_the_ending_failed(bot: Bot) -> None:
    message = bot.say("hello")
    bot.report("failed", provider_id=sid(bot), error_code="63024")
    assert facts(bot, message.provider_id)["ending"] == "failed"


def test_a_message_without_a_turn_has_no_facts_but_its_ending(bot: Bot) -> None:
    assert story(bot.store, "SM" + "0" * 32, channels=("twilio",)) is None
    bot.slots.places = 0
    message = bot.say("hello")
    assert facts(bot, message.provider_id) == {"ending": None}


def test_of_merged_messages_each_knows_its_ending(bot: Bot) -> None:
    def more(call: int) -> None:
        if call == 1:
            bot.accept("two")
            bot.take_in()

    bot.llm.meanwhile = more
    first = bot.say("one")
    ids = [row["id"] for row in bot.rows("SELECT id FROM messages WHERE direction = 'in' ORDER BY id")]
    merged = facts(bot, first.provider_id)
    assert (merged["ending"], merged["merged_into"], merged["superseded"]) == ("merged", ids[1], True)
    assert facts(bot, f"m{ids[1]}")["ending"] == "answered"
