import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import (
    WIRE_VERSION,
    Button,
    InboundMessage,
    Location,
    Media,
    StatusReport,
    Unreadable,
    dump_inbound,
    dump_report,
    load_inbound,
    load_report,
)

NOW = datetime(2026, 11, 22, 17, 53, 0, 123456, tzinfo=UTC)
MESSAGE = InboundMessage(channel="twilio", provider_id="SM1", sender="whatsapp:+49", recipient="us", received_at=NOW)
REPORT = StatusReport(channel="twilio", provider_id="SM1", status="sent", received_at=NOW)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MESSAGES = st.builds(
    InboundMessage,
    channel=st.just("twilio"),
    provider_id=TEXT,
    sender=TEXT,
    recipient=TEXT,
    received_at=st.datetimes(timezones=st.just(UTC)),
    text=TEXT,
    external_id=TEXT,
    parent_external_id=TEXT,
    profile_name=TEXT,
    media=st.lists(st.builds(Media, url=TEXT, content_type=TEXT), max_size=2).map(tuple),
    location=st.none() | st.builds(Location, latitude=TEXT, longitude=TEXT, address=TEXT, label=TEXT),
    button=st.none() | st.builds(Button, payload=TEXT, text=TEXT),
    quoted_id=TEXT,
    late=st.booleans(),
    traceparent=TEXT,
)


@given(MESSAGES)
def test_a_message_survives_redis_unchanged(message: InboundMessage):
    assert load_inbound(dump_inbound(message)) == message


@given(st.builds(StatusReport, channel=TEXT, provider_id=TEXT, status=TEXT, delivery_id=st.integers(0, 2**62),
                 received_at=st.datetimes(timezones=st.just(UTC)), error_code=TEXT))  # fmt: skip
def test_a_report_survives_redis_unchanged(report: StatusReport):
    assert load_report(dump_report(report)) == report


def test_an_older_release_that_knew_fewer_fields_is_read():
    old = {"channel": "twilio", "provider_id": "SM1", "sender": "whatsapp:+49", "recipient": "us"}
    assert load_inbound(json.dumps(old | {"received_at": NOW.isoformat()}).encode()) == MESSAGE


def test_a_newer_version_is_unreadable_and_says_so():
    with pytest.raises(Unreadable, match=f"reads up to {WIRE_VERSION}"):
        load_inbound(dump_inbound(replace(MESSAGE, version=WIRE_VERSION + 1)))
    with pytest.raises(Unreadable, match="version"):
        load_report(dump_report(replace(REPORT, version=WIRE_VERSION + 1)))


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[]", b'{"text": "my secret", "sender": 5}'])
def test_a_damaged_entry_is_unreadable_and_its_text_is_not_told(raw: bytes):
    with pytest.raises(Unreadable) as told:
        load_inbound(raw)
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None


def test_the_ids_of_a_person_stand_strongest_first_without_repeats():
    assert MESSAGE.person_ids == ("whatsapp:+49",)
    assert replace(MESSAGE, external_id="e", parent_external_id="p").person_ids == ("p", "e", "whatsapp:+49")
    assert replace(MESSAGE, external_id="whatsapp:+49").person_ids == ("whatsapp:+49",)


def test_a_field_that_only_a_newer_release_knows_is_passed_over():
    newer = json.loads(dump_inbound(MESSAGE)) | {"of_tomorrow": "00-1-2-01"}
    assert load_inbound(json.dumps(newer).encode()) == MESSAGE
