import json

import pytest

from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_NUMBER
from deploy.simulator.state import user_id_of
from tests.deploy.simulator.world import EMPTY_TWIML, Reply, World, eventually, signed

PERSON = "whatsapp:+491700000001"


def test_the_webhook_is_signed_and_carries_what_whatsapp_sends(world: World):
    answer = world.inbound(body="¿Qué tal? 🌸 \x00", profile_name="Ada")
    (heard,) = world.bot.heard
    assert heard.path == "/whatsapp?a=1&b=%20x"
    assert signed(heard, world.bot.url)
    assert heard.headers["I-Twilio-Idempotency-Token"]
    form = dict(heard.form)
    assert json.loads(form.pop("ChannelMetadata"))["data"]["context"] == {"ProfileName": "Ada", "WaId": "491700000001"}
    assert form == {
        "MessageSid": answer["sid"],
        "SmsSid": answer["sid"],
        "SmsMessageSid": answer["sid"],
        "AccountSid": SIMULATED_ACCOUNT_SID,
        "From": PERSON,
        "To": SIMULATED_NUMBER,
        "Body": "¿Qué tal? 🌸 \x00",
        "NumMedia": "0",
        "NumSegments": "1",
        "ReferralNumMedia": "0",
        "ProfileName": "Ada",
        "WaId": "491700000001",
        "MessageType": "text",
        "SmsStatus": "received",
        "ApiVersion": "2010-04-01",
        "ExternalUserId": user_id_of(PERSON),
    }
    assert answer["acknowledged"] is True
    assert [a["status"] for a in answer["deliveries"][0]["attempts"]] == [200]


def test_an_empty_body_is_signed_too(world: World):
    world.inbound(body="")
    (heard,) = world.bot.heard
    assert heard.form["Body"] == ""
    assert signed(heard, world.bot.url)


def test_the_very_same_webhook_comes_as_often_as_asked_and_stands_once_in_the_log(world: World):
    answer = world.inbound(times=3)
    assert len(answer["deliveries"]) == len(world.bot.heard) == 3
    assert len({(h.form["MessageSid"], h.headers["I-Twilio-Idempotency-Token"]) for h in world.bot.heard}) == 1
    assert len(world.messages()) == 1


def test_an_earlier_webhook_can_be_sent_again(world: World):
    sid = world.inbound(body="first")["sid"]
    world.call("POST", "/simulator/inbound", {"message_sid": sid})
    assert [h.form["Body"] for h in world.bot.heard] == ["first", "first"]
    assert world.bot.heard[0].form == world.bot.heard[1].form
    assert len(world.messages()) == 1


def test_a_hidden_number_shows_only_the_user_id_and_is_the_same_person(world: World):
    world.inbound(body="seen")
    world.inbound(body="hidden", hidden=True)
    form = world.bot.heard[1].form
    assert form["From"] == form["ExternalUserId"] == user_id_of(PERSON)
    assert "WaId" not in form
    world.twilio.messages.create(to=user_id_of(PERSON), from_=SIMULATED_NUMBER, body="answer")
    for name in ("+491700000001", "491700000001", PERSON, user_id_of(PERSON)):
        assert [m["body"] for m in world.messages(name)] == ["seen", "hidden", "answer"]
    assert {m["person"] for m in world.messages()} == {PERSON}


def test_a_user_id_may_write_by_itself_and_with_a_parent(world: World):
    world.inbound(**{"from": "DE.abc123"})
    world.inbound(**{"from": "DE.abc123", "parent_external_user_id": "DE.ENT.9"})
    first, second = (h.form for h in world.bot.heard)
    assert first["From"] == first["ExternalUserId"] == "whatsapp:DE.abc123"
    assert second["From"] == second["ParentExternalUserId"] == "whatsapp:DE.ENT.9"


def test_button_location_and_quote_have_their_own_fields(world: World):
    quoted = world.twilio.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="yes or no?").sid
    world.inbound(body="", button={"text": "Yes", "payload": "yes-1"}, quoted_sid=quoted)
    world.inbound(body="", location={"latitude": 1.5, "longitude": -2, "label": "Here"})
    tap, place = (h.form for h in world.bot.heard)
    assert (tap["Body"], tap["ButtonText"], tap["ButtonPayload"], tap["MessageType"]) == (
        "Yes",
        "Yes",
        "yes-1",
        "button",
    )
    assert (tap["OriginalRepliedMessageSid"], tap["OriginalRepliedMessageSender"]) == (quoted, SIMULATED_NUMBER)
    assert (place["Latitude"], place["Longitude"], place["Label"]) == ("1.5", "-2.0", "Here")
    assert "Address" not in place


def test_an_unanswered_or_failing_bot_is_tried_again_as_the_fragment_says(world: World):
    world.bot.replies = [Reply(status=503), Reply(after_s=0.6)]
    answer = world.inbound()
    attempts = answer["deliveries"][0]["attempts"]
    assert [(a["status"], a["failure"]) for a in attempts] == [(503, ""), (0, "rt"), (200, "")]
    assert len({h.headers["I-Twilio-Idempotency-Token"] for h in world.bot.heard}) == 1
    assert answer["acknowledged"] is True


def test_a_refusal_is_not_tried_again_unless_the_fragment_says_so(world: World):
    world.bot.replies = [Reply(status=403)]
    answer = world.inbound()
    assert [a["status"] for a in answer["deliveries"][0]["attempts"]] == [403]
    assert answer["acknowledged"] is False


def test_retries_end_with_the_count_of_the_fragment(world: World):
    world.bot.replies = [Reply(status=500)] * 9
    assert len(world.inbound()["deliveries"][0]["attempts"]) == 3


def test_what_the_bot_answers_as_text_or_twiml_reaches_the_person(world: World):
    twiml = b"<Response><Message><Body>inner</Body></Message><Message>plain</Message></Response>"
    world.bot.replies = [Reply(content_type="text/plain", body=b"OK"), Reply(body=twiml), Reply(body=EMPTY_TWIML)]
    for _ in range(3):
        world.inbound()
    replies = [m for m in world.messages() if m["direction"] == "outbound-reply"]
    assert [m["body"] for m in replies] == ["OK", "inner", "plain"]
    assert {m["to"] for m in replies} == {PERSON}


def test_an_answer_at_once_does_not_wait_for_the_delivery(world: World):
    answer = world.call(
        "POST", "/simulator/inbound", {"from": "+491700000001", "wait": False, "delay_ms": 100}, expect=202
    )
    assert answer["sid"]
    assert world.bot.heard == []
    eventually(lambda: len(world.bot.heard) == 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"from": "nobody"},
        {"from": ""},
        {"colour": 1},
        {"times": 0},
        {"message_sid": "x"},
        {"media": [{"content_type": 1}]},
    ],
)
def test_what_nobody_can_send_is_refused(world: World, fields: dict[str, object]):
    world.call("POST", "/simulator/inbound", {"from": "+491700000001", "body": "x"} | fields, expect=400)
    assert world.messages() == []


def test_a_dropped_webhook_stands_in_the_log_only(world: World):
    world.faults(webhook={"drop": 1, "count": 1})
    assert world.inbound()["acknowledged"] is False
    assert world.bot.heard == []
    assert len(world.messages()) == 1
    assert world.inbound()["acknowledged"] is True


def test_an_overtaken_webhook_arrives_after_the_next_one(world: World):
    world.faults(webhook={"reorder": 1, "count": 1})
    for body in ("first", "second"):
        world.call("POST", "/simulator/inbound", {"from": "+491700000001", "body": body, "wait": False}, expect=202)
    eventually(lambda: len(world.bot.heard) == 2)
    assert [h.form["Body"] for h in world.bot.heard] == ["second", "first"]


def test_the_log_is_read_from_a_number_on_or_only_the_newest(world: World):
    for body in ("one", "two", "three"):
        world.inbound(body=body)
    first = world.messages()[0]["number"]

    def read(query: str) -> list[str]:
        return [row["body"] for row in world.call("GET", f"/simulator/messages?{query}")]

    assert read(f"after={first}") == ["two", "three"]
    assert read("limit=1") == read(f"after={first}&limit=1") == ["three"]
    assert (read("limit=0"), read("limit=9")) == ([], ["one", "two", "three"])
    wrong = world.call("GET", "/simulator/messages?after=x&limit=-1", expect=400)
    assert wrong["problems"] == ["after: must be a whole number", "limit: must be a whole number"]


def test_clearing_forgets_messages_and_calls(world: World):
    world.inbound()
    world.call("DELETE", "/simulator/state", expect=204)
    assert world.messages() == []
    assert world.call("GET", "/simulator/calls") == []
    assert world.inbound()["acknowledged"] is True
