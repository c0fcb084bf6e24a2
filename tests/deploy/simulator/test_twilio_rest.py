from datetime import UTC, datetime, timedelta

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageInstance

from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_NUMBER
from tests.deploy.simulator.world import World, eventually

PERSON = "whatsapp:+491700000001"
OTHER = "whatsapp:+491700000002"
HIDDEN = "whatsapp:US.13491208655302741918"


def send(world: World, body: str = "hi", to: str = PERSON) -> MessageInstance:
    return world.twilio.messages.create(to=to, from_=SIMULATED_NUMBER, body=body)


def test_a_created_message_is_queued_and_can_be_fetched(world: World):
    made = send(world, "Hallo 🌸 \u200f שלום")
    assert made.sid is not None
    assert made.sid.startswith("SM")
    assert len(made.sid) == 34
    assert (made.status, made.direction, made.num_media) == ("queued", "outbound-api", "0")
    assert made.date_created is not None
    fetched = world.twilio.messages(made.sid).fetch()
    assert (fetched.body, fetched.to, fetched.from_) == ("Hallo 🌸 \u200f שלום", PERSON, SIMULATED_NUMBER)


def test_a_person_without_a_number_can_be_written_to(world: World):
    assert send(world, to=HIDDEN).to == HIDDEN


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": "whatsapp:nobody"}, 21211),
        ({"to": "+491700000001"}, 21211),
        ({"body": "x" * 1601}, 21617),
        ({"body": "🌸" * 801}, 21617),
        ({"body": ""}, 21619),
        ({"from_": "whatsapp:+4930000000"}, 63007),
        ({"status_callback": "http://our_bot/status"}, 21609),
        ({"status_callback": "http://bot/" + "x" * 4000}, 21609),
        ({"content_sid": "HX" + "0" * 32}, 21655),
    ],
)
def test_a_wrong_create_gets_the_vendors_own_error(world: World, fields: dict[str, str], code: int):
    given = {"to": PERSON, "from_": SIMULATED_NUMBER, "body": "hi"} | fields
    with pytest.raises(TwilioRestException) as caught:
        world.twilio.messages.create(**given)  # pyright: ignore[reportArgumentType]
    assert (caught.value.status, caught.value.code) == (400, code)
    assert world.messages() == []


def test_exactly_1600_units_pass(world: World):
    assert send(world, "🌸" * 800).sid


def test_who_sent_stop_cannot_be_written_to(world: World):
    world.faults(twilio={"opted_out": [PERSON]})
    with pytest.raises(TwilioRestException) as caught:
        send(world)
    assert caught.value.code == 21610
    assert send(world, to=OTHER).sid


def test_a_wrong_token_and_a_foreign_account_are_refused(world: World):
    stranger = Client(SIMULATED_ACCOUNT_SID, "wrong", http_client=world.twilio.http_client)
    stranger.api.base_url = world.url
    with pytest.raises(TwilioRestException) as caught:
        stranger.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hi")
    assert (caught.value.status, caught.value.code) == (401, 20003)
    with pytest.raises(TwilioRestException) as caught:
        world.twilio.api.v2010.accounts("AC" + "0" * 32).messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hi")
    assert caught.value.status == 401


def test_what_is_not_there_is_a_404(world: World):
    with pytest.raises(TwilioRestException) as caught:
        world.twilio.messages("SM" + "0" * 32).fetch()
    assert (caught.value.status, caught.value.code) == (404, 20404)


def test_a_list_comes_newest_first_and_in_pages(world: World):
    for number in range(7):
        send(world, f"m{number}")
    listed = world.twilio.messages.list(page_size=3)
    assert [m.body for m in listed] == [f"m{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
    pages = world.call("GET", "/simulator/calls?endpoint=list")
    assert len(pages) == 3
    assert "PageToken=PASM" in pages[1]["path"]


def test_a_message_that_comes_while_pages_are_read_shifts_none(world: World):
    for number in range(4):
        send(world, f"m{number}")
    rows = world.twilio.messages.stream(page_size=2)
    first = [next(rows).body, next(rows).body]
    send(world, "new")
    assert first + [row.body for row in rows] == ["m3", "m2", "m1", "m0"]


def test_a_list_can_be_narrowed_by_address_and_date(world: World):
    world.faults(twilio={"status_delays_ms": [0]})
    send(world, "one")
    send(world, "two", to=OTHER)
    world.inbound(body="three")
    eventually(lambda: all(m["status"] != "queued" for m in world.messages()))
    messages, now = world.twilio.messages, datetime.now(UTC)
    assert [m.body for m in messages.list(to=OTHER)] == ["two"]
    assert [m.body for m in messages.list(to=SIMULATED_NUMBER)] == ["three"]
    assert [m.body for m in messages.list(from_=SIMULATED_NUMBER, to=PERSON)] == ["one"]
    assert len(messages.list(date_sent_after=now - timedelta(minutes=1))) == 3
    assert messages.list(date_sent_after=now + timedelta(minutes=1)) == []
    assert messages.list(date_sent_before=now - timedelta(minutes=1)) == []
    assert len(messages.list(date_sent=now)) == 3
    assert messages.list(date_sent=now - timedelta(days=1)) == []


def test_a_message_that_is_still_queued_is_not_found_by_date(world: World):
    world.faults(twilio={"status_delays_ms": []})
    made = send(world)
    assert made.date_sent is None
    assert world.twilio.messages.list(date_sent_after=datetime.now(UTC) - timedelta(minutes=1)) == []
    assert len(world.twilio.messages.list(limit=5)) == 1


def test_the_typing_indicator_wants_a_message_of_a_person(world: World):
    sid = world.inbound()["sid"]
    typing = world.twilio.messaging.v2.typing_indicator
    assert typing.create(channel="whatsapp", message_id=sid).success is True
    with pytest.raises(TwilioRestException):
        typing.create(channel="whatsapp", message_id="SM" + "0" * 32)


def test_who_reads_a_message_has_read_what_that_person_wrote_before(world: World):
    first, second, third = (world.inbound(body=text)["sid"] for text in ("one", "two", "three"))
    other = world.inbound(**{"from": OTHER})["sid"]
    world.twilio.messaging.v2.typing_indicator.create(channel="whatsapp", message_id=second)
    read = {message["sid"]: message["read_at"] is not None for message in world.messages()}
    assert read == {first: True, second: True, third: False, other: False}


def test_media_need_the_token_and_redirect_to_the_bytes(world: World):
    given = {"content_type": "audio/ogg", "data_base64": "aGVsbG8="}
    sid = world.inbound(media=[given])["sid"]
    form = world.bot.heard[-1].form
    assert sid.startswith("MM")
    path = form["MediaUrl0"].removeprefix(world.url)
    assert world.raw("GET", path)[0] == 401
    auth = {"Authorization": "Basic QUM1MTU3MzI1MTU3MzI1MTU3MzI1MTU3MzI1MTU3MzI1MTpzaW11bGF0ZWQtYXV0aC10b2tlbg=="}
    status, headers, _ = world.raw("GET", path, headers=auth)
    assert status == 307
    status, headers, data = world.raw("GET", headers["location"])
    assert (status, headers["content-type"], data) == (200, "audio/ogg", b"hello")
    (listed,) = world.twilio.messages(sid).media.list()
    assert listed.content_type == "audio/ogg"
    assert listed.delete()
    assert world.raw("GET", path, headers=auth)[0] == 404


def test_a_message_can_be_blanked_and_deleted(world: World):
    sid = send(world, "secret").sid or ""
    assert world.twilio.messages(sid).update(body="").body == ""
    assert world.twilio.messages(sid).delete()
    assert world.messages() == []


def test_a_template_is_sent_as_the_text_that_a_person_sees(world: World):
    raw = b'{"language":"en","variables":{"1":"x"},"types":{"twilio/quick-reply":{"body":"Hi {{1}}","actions":[]}}}'
    auth = {"Authorization": "Basic QUM1MTU3MzI1MTU3MzI1MTU3MzI1MTU3MzI1MTU3MzI1MTpzaW11bGF0ZWQtYXV0aC10b2tlbg=="}
    status, _, body = world.raw("POST", "/v1/Content", raw, auth)
    assert status == 201
    sid = world.twilio.content.v1.contents(body.decode().split('"sid":"')[1][:34]).fetch().sid or ""
    made = world.twilio.messages.create(
        to=PERSON, from_=SIMULATED_NUMBER, content_sid=sid, content_variables='{"1":"Ada"}'
    )
    assert made.body == "Hi Ada"
