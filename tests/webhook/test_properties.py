from urllib.parse import parse_qsl, quote

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webhook.posting import ACCOUNT, NUMBER, RecordingDoor, Twilio, twilio_settings, web_settings
from webhook.app import create_app
from webhook.signature import Form, parse_form

PATHS = st.sampled_from(["/whatsapp", "/whatsapp/status", "/whatsapp/status?delivery=7"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NAMES = st.sampled_from(
    ["MessageSid", "From", "To", "AccountSid", "Body", "MessageStatus", "NumMedia", "MediaUrl0", "Latitude",
     "Longitude", "ButtonPayload", "ListId", "ExternalUserId", "ErrorCode", ""]
)  # fmt: skip
VALUES = st.one_of(TEXT, st.sampled_from([NUMBER, ACCOUNT, "", "\0", "0"]))
FORMS = st.lists(st.tuples(st.one_of(NAMES, TEXT), VALUES), max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Twilio-Signature", "X-Forwarded-For", "I-Twilio-Idempotency-Token", "Authorization"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
)


def fresh() -> tuple[Twilio, RecordingDoor]:
    door = RecordingDoor()
    return Twilio(create_app(web_settings(), twilio_settings(), door)), door


TWILIO, DOOR = fresh()


@settings(max_examples=300, deadline=None)
@given(PATHS, st.binary(max_size=300), HEADERS, st.sampled_from(["POST", "GET", "OPTIONS"]))
def test_no_bytes_without_a_signature_are_enqueued_or_make_an_error(
    path: str, body: bytes, headers: dict[str, str], method: str
):
    assert TWILIO.send(path, body, headers=headers, method=method).status_code in (403, 405)
    assert (DOOR.messages, DOOR.reports) == ([], [])


@settings(max_examples=300, deadline=None)
@given(PATHS, FORMS)
def test_no_form_without_a_signature_is_enqueued(path: str, form: list[tuple[str, str]]):
    body = "&".join(f"{quote(name)}={quote(value)}" for name, value in form).encode()
    assert TWILIO.send(path, body, headers={"X-Twilio-Signature": "A" * 28}).status_code == 403
    assert (DOOR.messages, DOOR.reports) == ([], [])


@settings(max_examples=500, deadline=None)
@given(PATHS, FORMS)
def test_no_signed_form_makes_an_error_and_what_passes_is_whole(path: str, form: list[tuple[str, str]]):
    twilio, door = fresh()
    assert twilio.post(path, form).status_code in (200, 403)
    for message in door.messages:
        assert message.provider_id
        assert message.sender
        assert message.recipient == NUMBER
        assert "\0" not in repr(message)
    for report in door.reports:
        assert report.provider_id
        assert report.status


@settings(max_examples=1000, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(st.sampled_from(["a", "=", "&", "+", "%", "%4", "%41", "%c3%a9", "%ff", "ö", ";", "\0"]))
        .map("".join)
        .map(str.encode),
    )
)
def test_a_form_is_read_as_urllib_reads_it(body: bytes):
    expected: Form | None = Form()
    try:
        for name, value in parse_qsl(body.decode(), keep_blank_values=True, errors="strict"):
            expected.setdefault(name, []).append(value)
    except UnicodeDecodeError:
        expected = None
    assert parse_form(body) == expected
