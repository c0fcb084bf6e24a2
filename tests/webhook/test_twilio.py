from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.http import parse_options_header

from core.model import Button, Location, Media
from tests.webhook.posting import (
    ACCOUNT,
    NEXT_TOKEN,
    NUMBER,
    OTHER_ACCOUNT,
    PERSON,
    PUBLIC_URL,
    RecordingDoor,
    Twilio,
    message_form,
    report_form,
    sign,
    twilio_settings,
    web_settings,
)
from webhook.app import create_app
from webhook.limits import LIMIT_BYTES

TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


def test_a_message_is_acknowledged_with_empty_twiml(twilio: Twilio, door: RecordingDoor):
    answer = twilio.post("/whatsapp", message_form())
    assert (answer.status_code, answer.data) == (200, TWIML)
    assert parse_options_header(answer.headers["Content-Type"])[0] == "text/xml"
    assert len(door.messages) == 1


def test_a_message_comes_in_whole(twilio: Twilio, door: RecordingDoor):
    twilio.post("/whatsapp", message_form(ParentExternalUserId="whatsapp:DE.ENT.77", OriginalRepliedMessageSid="SMq"))
    [message] = door.messages
    assert message.provider_id == "SM" + "1" * 32
    assert (message.sender, message.recipient) == (PERSON, NUMBER)
    assert (message.text, message.profile_name) == ("hola, ¿qué tal?", "Ana 🌸")
    assert message.person_ids == ("whatsapp:DE.ENT.77", "whatsapp:DE.13491208655302741918", PERSON)
    assert message.quoted_id == "SMq"
    assert (message.media, message.location, message.button, message.late) == ((), None, None, False)
    assert datetime.now(UTC) - message.received_at < timedelta(seconds=5)


def test_media_location_and_button_are_parsed(twilio: Twilio, door: RecordingDoor):
    url = "https://api.twilio.com/2010-04-01/Accounts/AC/Messages/MM/Media/ME"
    twilio.post("/whatsapp", message_form(Body="", NumMedia="1", MediaUrl0=url, MediaContentType0="audio/ogg"))
    twilio.post("/whatsapp", message_form(Body="", Latitude="52.5", Longitude="13.4", Address="A", Label="L"))
    twilio.post("/whatsapp", message_form(Body="Yes", ButtonPayload="yes", ButtonText="Yes!"))
    twilio.post("/whatsapp", message_form(Body="Second", ListId="two"))
    voice, place, button, item = door.messages
    assert voice.media == (Media(url=url, content_type="audio/ogg"),)
    assert place.location == Location(latitude="52.5", longitude="13.4", address="A", label="L")
    assert button.button == Button(payload="yes", text="Yes!")
    assert item.button == Button(payload="two", text="Second")


def test_a_person_who_hides_their_number_is_a_person(twilio: Twilio, door: RecordingDoor):
    hidden = "whatsapp:US.13491208655302741918"
    twilio.post("/whatsapp", message_form(From=hidden, ExternalUserId=hidden, WaId=None))
    assert door.messages[0].person_ids == (hidden,)


@pytest.mark.parametrize(
    "text",
    ["", " \t\n ", "مرحبا \u202e abc", "👩‍👩‍👧‍👦🇯🇵", "\ufeffBOM", "a+b c%20d&e=f;g", "\U0010ffff\ufffe", "é" * 1600],
)
def test_text_is_kept_as_it_is(twilio: Twilio, door: RecordingDoor, text: str):
    assert twilio.post("/whatsapp", message_form(Body=text)).status_code == 200
    assert door.messages[0].text == text


def test_nul_is_taken_out_of_every_text(twilio: Twilio, door: RecordingDoor):
    assert twilio.post("/whatsapp", message_form(Body="a\0b", ProfileName="\0", Label="\0")).status_code == 200
    assert (door.messages[0].text, door.messages[0].profile_name) == ("ab", "")


@pytest.mark.parametrize("path", ["/whatsapp", "/whatsapp/status"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_only_post_is_allowed_whatever_else_is_wrong(twilio: Twilio, path: str, method: str):
    answer = twilio.send(path, b"x" * (LIMIT_BYTES + 1), method=method, content_type="text/plain")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/whatsapp", "/whatsapp/status"])
def test_more_than_64_kib_is_refused_before_its_type_and_signature(twilio: Twilio, path: str):
    assert twilio.send(path, b"x" * (LIMIT_BYTES + 1), content_type="text/plain").status_code == 413


def test_64_kib_are_read(twilio: Twilio, door: RecordingDoor):
    rest = LIMIT_BYTES - sum(len(part) for part in ("MessageSid=SM1&From=p&To=", "whatsapp%3A%2B14155238886", "&Body="))
    body = b"MessageSid=SM1&From=p&To=whatsapp%3A%2B14155238886&Body=" + b"x" * rest
    assert len(body) == LIMIT_BYTES
    assert twilio.post("/whatsapp", {}, body=body).status_code == 200
    assert len(door.messages) == 1
    assert twilio.post("/whatsapp", {}, body=body + b"x").status_code == 413


@pytest.mark.parametrize("path", ["/whatsapp", "/whatsapp/status"])
@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", "", None])
def test_anything_but_a_form_is_refused_before_its_signature(twilio: Twilio, path: str, kind: str | None):
    assert twilio.send(path, b"a=b", content_type=kind).status_code == 415


def test_the_type_may_carry_a_charset(twilio: Twilio):
    kind = "Application/X-WWW-Form-Urlencoded; charset=UTF-8"
    assert twilio.post("/whatsapp", message_form(), headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize("path", ["/whatsapp", "/whatsapp/status"])
@pytest.mark.parametrize("signature", [None, "", "x", "L/OH5YylLD5NRKLltdqwSvS0BnU=", "é" * 28, "=" * 28])
def test_no_or_a_wrong_signature_is_refused(twilio: Twilio, door: RecordingDoor, path: str, signature: str | None):
    headers = {} if signature is None else {"X-Twilio-Signature": signature}
    assert twilio.send(path, b"MessageSid=SM1&From=p", headers=headers).status_code == 403
    assert (door.messages, door.reports) == ([], [])


@pytest.mark.parametrize("body", [b"Body=%FF", b"Body=\xff", b"Body=%ED%A0%80", b"Body=%C3"])
@pytest.mark.parametrize("read_as", ["\ufffd", "\ufffd" * 3, "", "%FF", "ÿ", "\xed\xa0\x80", "%ED%A0%80", "%C3", "Ã"])
def test_what_is_not_utf_8_cannot_match(twilio: Twilio, body: bytes, read_as: str):
    signature = sign(f"{PUBLIC_URL}/whatsapp", {"Body": read_as})
    assert twilio.send("/whatsapp", body, headers={"X-Twilio-Signature": signature}).status_code == 403


def test_either_token_signs_while_rotating_and_no_other(twilio: Twilio):
    assert twilio.post("/whatsapp", message_form(), token=NEXT_TOKEN).status_code == 200
    assert twilio.post("/whatsapp", message_form(), token="token-of-yesterday").status_code == 403


@pytest.mark.parametrize(("path", "form"), [("/whatsapp", message_form()), ("/whatsapp/status", report_form())])
def test_another_account_is_refused_and_an_absent_one_is_not_another(twilio: Twilio, path: str, form: dict[str, str]):
    assert twilio.post(path, form | {"AccountSid": OTHER_ACCOUNT}).status_code == 403
    assert twilio.post(path, [*form.items(), ("AccountSid", OTHER_ACCOUNT)]).status_code == 403
    assert twilio.post(path, {k: v for k, v in form.items() if k != "AccountSid"}).status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        message_form(MessageSid=None),
        message_form(MessageSid=""),
        message_form(From=None),
        message_form(From=" "),
        message_form(From="\0"),
        message_form(From="whatsapp:" + "1" * 600),
        message_form(ExternalUserId="x" * 18_000),
        message_form(To=None),
        message_form(To="whatsapp:+15550001111"),
        message_form(From=NUMBER),
        message_form(To=NUMBER.removeprefix("whatsapp:")),
        {"AccountSid": ACCOUNT},
    ],
)
def test_what_is_no_message_for_us_is_acknowledged_and_dropped(
    twilio: Twilio, door: RecordingDoor, form: dict[str, str]
):
    answer = twilio.post("/whatsapp", form)
    assert (answer.status_code, answer.data) == (200, TWIML)
    assert (door.messages, door.reports) == ([], [])


def test_a_webhook_at_the_other_ones_address_does_nothing(twilio: Twilio, door: RecordingDoor):
    assert twilio.post("/whatsapp/status", message_form()).status_code == 200
    assert twilio.post("/whatsapp", report_form(To=NUMBER)).status_code == 200
    assert (door.messages, door.reports) == ([], [])


def test_a_report_is_acknowledged_and_carries_our_delivery_id(twilio: Twilio, door: RecordingDoor):
    form = report_form(MessageStatus="undelivered", ErrorCode="63016", ChannelStatusMessage="...")
    answer = twilio.post("/whatsapp/status?delivery=123", form)
    assert (answer.status_code, answer.data) == (200, TWIML)
    [report] = door.reports
    assert (report.delivery_id, report.status, report.error_code) == (123, "undelivered", "63016")
    assert report.provider_id == "SM" + "2" * 32


@pytest.mark.parametrize("delivery", ["", "x", "-1", "1.5", "1e3", "%D9%A1", "9" * 19, "0x1", "1_0", "+1", " 1"])
def test_a_delivery_id_that_is_none_counts_as_absent(twilio: Twilio, door: RecordingDoor, delivery: str):
    assert twilio.post(f"/whatsapp/status?delivery={delivery}", report_form()).status_code == 200
    assert door.reports[0].delivery_id == 0


@pytest.mark.parametrize("form", [report_form(MessageStatus=None), report_form(MessageSid=""), {}])
def test_what_is_no_report_is_acknowledged_and_dropped(twilio: Twilio, door: RecordingDoor, form: dict[str, str]):
    assert twilio.post("/whatsapp/status", form).status_code == 200
    assert door.reports == []


def test_without_redis_the_answer_is_503_and_says_when_to_return(twilio: Twilio, door: RecordingDoor):
    door.away = True
    for path, form in (("/whatsapp", message_form()), ("/whatsapp/status", report_form())):
        answer = twilio.post(path, form)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.parametrize(
    ("public_url", "path", "arrives_as"),
    [
        ("https://h.example", "/whatsapp", "/whatsapp"),
        ("https://h.example", "/whatsapp/", "/whatsapp/"),
        ("https://h.example/", "/whatsapp", "/whatsapp"),
        ("https://h.example:8443", "/whatsapp", "/whatsapp"),
        ("https://h.example", "/whatsapp", "http://10.0.0.1:8000/whatsapp"),
        ("https://h.example", "/whatsapp?a=b%20c+d&e=%3a", "/whatsapp?a=b%20c+d&e=%3a"),
        ("https://h.example", "/whatsapp?", "/whatsapp?"),
        ("https://h.example", "/wh%61tsapp", "/wh%61tsapp"),
        ("https://h.example/bot", "/whatsapp", "/whatsapp"),
        ("https://h.example/bot", "/whatsapp", "/bot/whatsapp"),
        ("https://h.example/bot", "/whatsapp?a=1", "https://h.example/bot/whatsapp?a=1"),
        ("https://h.example/b%C3%B6t/x", "/whatsapp", "/b%C3%B6t/x/whatsapp"),
        ("https://h.example/whatsapp", "/whatsapp", "/whatsapp"),
        ("https://h.example/whatsapp", "/whatsapp", "/whatsapp/whatsapp"),
    ],
)
def test_the_signed_address_is_the_public_one_behind_any_proxy(
    door: RecordingDoor, public_url: str, path: str, arrives_as: str
):
    app = create_app(web_settings(public_url), twilio_settings(), door)
    twilio = Twilio(app, public_url.rstrip("/"))
    assert twilio.post(path, message_form(), arrives_as=arrives_as).status_code == 200
    assert len(door.messages) == 1


@pytest.mark.parametrize("arrives_as", ["/whatsapp?a=b+c", "/whatsapp/", "/whatsapp?a=b%20c&x", "/whatsapp"])
def test_an_address_written_anew_no_longer_matches(twilio: Twilio, arrives_as: str):
    assert twilio.post("/whatsapp?a=b%20c", message_form(), arrives_as=arrives_as).status_code == 403


def test_no_header_of_a_proxy_is_believed(twilio: Twilio):
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Host": "evil.example:abc"}
    assert twilio.post("/whatsapp", message_form(), headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["//whatsapp", "/whatsapp//status", "/", "/nowhere", "/whatsapp/x"])
def test_an_unknown_path_is_404_and_never_a_redirect(twilio: Twilio, path: str):
    assert twilio.send(path).status_code == 404
