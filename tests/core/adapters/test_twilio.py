import base64
import logging
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.adapters.twilio import TwilioChannel
from core.config import TwilioSettings
from core.errors import Ambiguous, OutsideError, Permanent, Transient
from core.model import Media
from core.ports import Outgoing, ProviderMessage
from tests.core.adapters.scripted import ScriptedServer, Step, closed_port, cut, hang, reply, trickle

ACCOUNT = "AC" + "0" * 32
SID = "SM" + "a" * 32
SENDER, PERSON = "whatsapp:+15550001111", "whatsapp:+15552223333"
TEXT = "only for her eyes 🌸"
MESSAGE = Outgoing(delivery_id=42, sender=SENDER, recipient=PERSON, body=TEXT)
STATUS_URL = "https://bot.example.com/whatsapp/status#rc=2&rp=5xx,ct,rt"


def row(**more: Any) -> dict[str, Any]:
    return {
        "sid": SID,
        "account_sid": ACCOUNT,
        "from": SENDER,
        "to": PERSON,
        "body": TEXT,
        "status": "queued",
        "direction": "outbound-api",
        "error_code": None,
        "date_created": "Sun, 22 Nov 2026 10:00:00 +0000",
        "date_updated": "Sun, 22 Nov 2026 10:00:00 +0000",
        "date_sent": None,
    } | more


def settings(base_url: str, **more: Any) -> TwilioSettings:
    named = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "token,old", "TWILIO_WHATSAPP_NUMBER": SENDER}
    return TwilioSettings.model_validate(named | {"TWILIO_BASE_URL": base_url} | more)


@contextmanager
def channel(
    *script: Step, path: str = "", status_url: str = STATUS_URL, timeout_s: float = 10
) -> Generator[tuple[TwilioChannel, ScriptedServer]]:
    with ScriptedServer(*script) as server:
        adapter = TwilioChannel(
            settings(server.url + path), status_url=status_url, connections=10, timeout=timedelta(seconds=timeout_s)
        )
        with closing(adapter):
            yield adapter, server


def error(status: int, code: int | None = None, **headers: str) -> Step:
    return reply(status, {"code": code, "message": f"{TEXT} to {PERSON}", "more_info": "", "status": status}, **headers)


CREATED = reply(201, row())


def test_a_message_on_the_wire_is_what_twilio_documents() -> None:
    with channel(CREATED) as (adapter, server):
        assert adapter.send(MESSAGE) == SID
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert seen.headers["host"] == urlsplit(server.url).netloc
    assert base64.b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode() == f"{ACCOUNT}:token"
    assert seen.form == {
        "To": PERSON,
        "From": SENDER,
        "Body": TEXT,
        "StatusCallback": "https://bot.example.com/whatsapp/status?delivery=42#rc=2&rp=5xx,ct,rt",
    }


@pytest.mark.parametrize(
    ("status_url", "callback"),
    [
        ("https://h/s", "https://h/s?delivery=42"),
        ("https://h/s?a=1", "https://h/s?a=1&delivery=42"),
        ("https://h/s?a=1#rc=2", "https://h/s?a=1&delivery=42#rc=2"),
        ("", None),
    ],
)
def test_our_delivery_id_rides_in_the_query_before_the_overrides(status_url: str, callback: str | None) -> None:
    with channel(CREATED, status_url=status_url) as (adapter, server):
        adapter.send(MESSAGE)
        assert server.seen[0].form.get("StatusCallback") == callback


def test_an_api_key_replaces_the_token_on_the_wire_but_not_the_account() -> None:
    with ScriptedServer(CREATED) as server:
        keyed = settings(server.url, TWILIO_API_KEY="SKkey", TWILIO_API_SECRET="secret")
        with closing(TwilioChannel(keyed, status_url=STATUS_URL, connections=1)) as adapter:
            adapter.send(MESSAGE)
        (seen,) = server.seen
    assert base64.b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode() == "SKkey:secret"
    assert ACCOUNT in seen.target


def test_a_stand_in_serves_every_host_whatever_region_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    with channel(CREATED, reply(200, {"success": True}), path="/twilio/") as (adapter, server):
        adapter.send(MESSAGE)
        adapter.show_typing(SID)
        assert [seen.target for seen in server.seen] == [
            f"/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
            "/twilio/v2/Indicators/Typing.json",
        ]


@pytest.mark.parametrize(
    ("step", "kind", "reason", "code"),
    [
        (error(429, 20429), Transient, "rate", "20429"),
        (error(429), Transient, "rate", ""),
        (error(400, 21611), Transient, "rejected", "21611"),
        (error(400, 63038), Transient, "rejected", "63038"),
        (error(401, 20003), Permanent, "auth", "20003"),
        (error(403, 20403), Permanent, "auth", "20403"),
        (error(400, 21211), Permanent, "rejected", "21211"),
        (error(400, 21610), Permanent, "rejected", "21610"),
        (error(400, 63016), Permanent, "rejected", "63016"),
        (reply(404, b"nothing here"), Permanent, "rejected", "404"),
        (reply(307, b"", Location="https://elsewhere.test/"), Permanent, "rejected", "307"),
        (error(408), Ambiguous, "server", "408"),
        (error(500, 20500), Ambiguous, "server", "20500"),
        (reply(502, b"<html>bad gateway</html>"), Ambiguous, "server", "502"),
        (error(503, 20503), Ambiguous, "server", "20503"),
        (cut(), Ambiguous, "disconnected", ""),
        (cut(b"HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n{"), Ambiguous, "disconnected", ""),
        (reply(201, b""), Ambiguous, "unreadable", ""),
        (reply(201, b'{"sid": "SM'), Ambiguous, "unreadable", ""),
        (reply(201, b"[]"), Ambiguous, "unreadable", ""),
        (reply(201, b"[" * 100_000), Ambiguous, "unreadable", ""),
        (reply(201, {}), Ambiguous, "unreadable", ""),
        (reply(201, row(sid=7)), Ambiguous, "unreadable", ""),
        (reply(201, row(date_created="Sun, 99 Nov 2026 99:00:00 +0000")), Ambiguous, "unreadable", ""),
    ],
)
def test_every_failed_send_has_its_kind(step: Step, kind: type[OutsideError], reason: str, code: str) -> None:
    with channel(step) as (adapter, server):
        with pytest.raises(OutsideError) as raised:
            adapter.send(MESSAGE)
        assert len(server.seen) == 1
    assert (type(raised.value), raised.value.reason, raised.value.code) == (kind, reason, code)
    assert PERSON not in repr(raised.value)
    assert TEXT not in repr(raised.value)


def test_a_text_that_cannot_be_encoded_is_permanent_and_never_sent() -> None:
    with channel(CREATED) as (adapter, server):
        with pytest.raises(Permanent, match=r"^encoding$"):
            adapter.send(Outgoing(delivery_id=1, sender=SENDER, recipient=PERSON, body="half \ud83c"))
        assert server.seen == []


def test_a_problem_in_the_newer_error_shape_has_its_code_too() -> None:
    problem = {"type": "https://twilio.com/21610", "title": TEXT, "status": 400, "code": 21610, "detail": PERSON}
    with channel(reply(400, problem)) as (adapter, _), pytest.raises(Permanent) as raised:
        adapter.send(MESSAGE)
    assert raised.value.code == "21610"


def test_retry_after_reaches_the_caller() -> None:
    with channel(error(429, 20429, Retry_After="3")) as (adapter, _), pytest.raises(Transient) as raised:
        adapter.send(MESSAGE)
    assert raised.value.after == timedelta(seconds=3)


def test_a_limit_without_retry_after_says_how_long_to_rest() -> None:
    with channel(error(429, 63038)) as (adapter, _), pytest.raises(Transient) as raised:
        adapter.send(MESSAGE)
    assert raised.value.after == timedelta(minutes=30)


def test_a_refused_connection_was_certainly_not_sent() -> None:
    with (
        closing(TwilioChannel(settings(closed_port()), status_url="", connections=1)) as adapter,
        pytest.raises(Transient, match=r"^connect$"),
    ):
        adapter.send(MESSAGE)


def test_a_send_without_a_whole_answer_in_time_is_ambiguous_even_when_it_trickles() -> None:
    slow = trickle(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{        }", every=0.1)
    with channel(slow, timeout_s=1) as (adapter, _):
        started = time.monotonic()
        with pytest.raises(Ambiguous, match=r"^timeout$"):
            adapter.send(MESSAGE)
        assert time.monotonic() - started < 1.5


def test_a_send_never_goes_out_twice_by_itself() -> None:
    with channel(CREATED, cut(), CREATED) as (adapter, server):
        adapter.send(MESSAGE)
        with pytest.raises(Ambiguous, match=r"^disconnected$"):
            adapter.send(MESSAGE)
        assert len(server.seen) == 2


def test_a_connection_that_closed_while_idle_costs_no_ambiguous_send() -> None:
    with channel(CREATED) as (adapter, server):
        adapter.send(MESSAGE)
        server.drop_connections()
        time.sleep(0.05)
        assert adapter.send(MESSAGE) == SID


def test_sends_share_connections() -> None:
    with channel(CREATED) as (adapter, server):
        for _ in range(100):
            adapter.send(MESSAGE)
        assert server.connections == 1


def page(*rows: dict[str, Any], following: str | None = None) -> Step:
    return reply(200, {"messages": list(rows), "next_page_uri": following, "page": 0, "page_size": 50})


def test_the_newest_messages_to_a_person_come_as_ours() -> None:
    failed = row(sid="SM2", status="undelivered", error_code=63016, body=None, date_created=None)
    with channel(page(row(), failed)) as (adapter, server):
        messages = adapter.recent_to(PERSON, limit=5)
    assert messages == [
        ProviderMessage(
            provider_id=SID,
            sender=SENDER,
            recipient=PERSON,
            body=TEXT,
            inbound=False,
            status="queued",
            error_code="",
            created_at=datetime(2026, 11, 22, 10, tzinfo=UTC),
        ),
        ProviderMessage(
            provider_id="SM2",
            sender=SENDER,
            recipient=PERSON,
            body="",
            inbound=False,
            status="undelivered",
            error_code="63016",
            created_at=None,
        ),
    ]
    assert parse_qs(urlsplit(server.seen[0].target).query) == {"To": [PERSON], "PageSize": ["5"]}


def test_no_more_messages_come_than_asked_for() -> None:
    with channel(page(row(), row(), row(), following="/2010-04-01/next.json?Page=1")) as (adapter, server):
        assert len(adapter.recent_to(PERSON, limit=2)) == 2
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("step", "kind", "reason"),
    [
        (error(500), Transient, "server"),
        (error(429), Transient, "rate"),
        (error(401), Permanent, "auth"),
        (cut(), Transient, "disconnected"),
        (reply(200, b"?"), Transient, "malformed"),
        (reply(200, {}), Transient, "malformed"),
        (reply(200, {"messages": [3]}), Transient, "malformed"),
    ],
)
def test_a_log_that_cannot_be_read_is_never_ambiguous(step: Step, kind: type[OutsideError], reason: str) -> None:
    with channel(step) as (adapter, _), pytest.raises(kind, match=f"^{reason}"):
        adapter.recent_to(PERSON, limit=5)


def test_the_log_is_read_page_by_page_both_ways() -> None:
    following = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?PageToken=PA1&Page=1"
    first, second = row(sid="SM1", direction="inbound"), row(sid="SM2")
    since, until = datetime(2026, 11, 22, 8, tzinfo=UTC), datetime(2026, 11, 22, 9, tzinfo=UTC)
    with channel(page(first, following=following), page(second)) as (adapter, server):
        messages = list(adapter.log(since, until))
    assert [(m.provider_id, m.inbound) for m in messages] == [("SM1", True), ("SM2", False)]
    assert parse_qs(urlsplit(server.seen[0].target).query) == {
        "DateSent<": ["2026-11-22T09:00:00Z"],
        "DateSent>": ["2026-11-22T08:00:00Z"],
        "PageSize": ["1000"],
    }
    assert server.seen[1].target == following


def test_what_people_sent_to_our_number_is_read_page_by_page_newest_first() -> None:
    following = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?PageToken=PA1&Page=1"
    sent = "Sun, 22 Nov 2026 08:30:00 +0000"
    inbound = {"direction": "inbound", "from": PERSON, "to": SENDER, "num_media": "1", "date_sent": sent}
    since, until = datetime(2026, 11, 22, 8, tzinfo=UTC), datetime(2026, 11, 22, 9, tzinfo=UTC)
    script = page(row(**inbound), row(sid="SM2"), following=following), page(row(**inbound | {"sid": "SM3"}))
    with channel(*script) as (adapter, server):
        messages = list(adapter.received(SENDER, since=since, until=until))
    assert [(m.provider_id, m.sent_at, m.media_count) for m in messages] == [
        (SID, datetime(2026, 11, 22, 8, 30, tzinfo=UTC), 1),
        ("SM3", datetime(2026, 11, 22, 8, 30, tzinfo=UTC), 1),
    ]
    assert parse_qs(urlsplit(server.seen[0].target).query) == {
        "To": [SENDER],
        "DateSent<": ["2026-11-22T09:00:00Z"],
        "DateSent>": ["2026-11-22T08:00:00Z"],
        "PageSize": ["250"],
    }


def test_an_odd_row_does_not_hide_the_others() -> None:
    odd = row(direction="inbound", num_media="many", date_sent="yesterday", body="half \ud83c")
    since, until = datetime(2026, 11, 22, 8, tzinfo=UTC), datetime(2026, 11, 22, 9, tzinfo=UTC)
    with channel(page(odd, row(direction="inbound"))) as (adapter, _):
        first, _ = adapter.received(SENDER, since=since, until=until)
    assert (first.sent_at, first.media_count, first.body) == (None, 0, "half ?")


def test_attachments_come_as_the_webhook_would_have_told_them() -> None:
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}/Media"
    media = {"sid": "ME1", "account_sid": ACCOUNT, "parent_sid": SID, "content_type": "audio/ogg"}
    listed = {"media_list": [media | {"uri": f"{path}/ME1.json"}], "next_page_uri": None}
    with channel(reply(200, listed)) as (adapter, server):
        assert adapter.media(SID) == [Media(url=f"{server.url}{path}/ME1", content_type="audio/ogg")]
    assert urlsplit(server.seen[0].target).path == f"{path}.json"


def test_one_message_can_be_fetched_by_its_sid() -> None:
    with channel(reply(200, row(status="delivered"))) as (adapter, server):
        assert adapter.fetch(SID).status == "delivered"
    assert server.seen[0].target == f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json"


def test_a_message_that_is_not_there_is_permanent() -> None:
    with channel(error(404, 20404)) as (adapter, _), pytest.raises(Permanent) as raised:
        adapter.fetch(SID)
    assert raised.value.code == "20404"


def test_typing_names_the_message_it_answers() -> None:
    with channel(reply(200, {"success": True})) as (adapter, server):
        adapter.show_typing(SID)
    assert server.seen[0].target == "/v2/Indicators/Typing.json"
    assert server.seen[0].form == {"channel": "whatsapp", "messageId": SID}


@pytest.mark.parametrize("step", [error(404), error(500), cut(), reply(200, b"?"), reply(200, b"[]"), hang(3)])
def test_typing_never_raises_and_never_takes_over_2_s(step: Step) -> None:
    with channel(step) as (adapter, _):
        started = time.monotonic()
        adapter.show_typing(SID)
        assert time.monotonic() - started < 2.3


def test_no_text_and_no_address_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with channel(CREATED, error(400, 21211), page(row())) as (adapter, _):
        adapter.send(MESSAGE)
        with pytest.raises(Permanent):
            adapter.send(MESSAGE)
        adapter.recent_to(PERSON, limit=1)
    for secret in (TEXT, PERSON[-8:], "token"):
        assert secret not in caplog.text
