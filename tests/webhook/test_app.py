import json
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from werkzeug.test import Client

from tests.core.logged import Lines, logged
from tests.webhook.posting import PERSON, RecordingDoor, Twilio, message_form, twilio_settings, web_settings
from webhook.app import create_app


def get(twilio: Twilio, path: str, peer: str = "203.0.113.9", **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Client(twilio.app).get(path, headers=named, environ_overrides={"REMOTE_ADDR": peer})
    return answer.status_code, answer.get_data(as_text=True)


def test_alive_whether_redis_is_or_not(twilio: Twilio, door: RecordingDoor):
    door.away = True
    assert get(twilio, "/healthz")[0] == 200


def test_ready_says_release_and_redis(twilio: Twilio, door: RecordingDoor):
    status, body = get(twilio, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "version": version("sisters"), "redis": True})
    door.away = True
    status, body = get(twilio, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "version": version("sisters"), "redis": False})


def test_health_is_also_served_below_the_public_path(door: RecordingDoor):
    twilio = Twilio(create_app(web_settings("https://h.example/bot"), twilio_settings(), door))
    assert [get(twilio, path)[0] for path in ("/healthz", "/bot/healthz", "/bot/nowhere", "/bot")] == [
        200,
        200,
        404,
        404,
    ]


@pytest.mark.parametrize(
    "peer", ["127.0.0.1", "::1", "10.1.2.3", "172.18.0.4", "192.168.1.1", "::ffff:127.0.0.1", "fd00::1"]
)
def test_near_peers_read_the_metrics(twilio: Twilio, peer: str):
    assert get(twilio, "/metrics", peer)[0] == 200


@pytest.mark.parametrize("peer", ["8.8.8.8", "", "::ffff:8.8.8.8", "2001:4860:4860::8888"])
def test_far_or_unknown_peers_do_not_read_the_metrics(twilio: Twilio, peer: str):
    assert get(twilio, "/metrics", peer)[0] == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_a_forwarded_request_is_not_near(twilio: Twilio, header: str):
    assert get(twilio, "/metrics", "127.0.0.1", **{header: "127.0.0.1"})[0] == 403


def test_the_token_opens_the_metrics_from_anywhere(door: RecordingDoor):
    twilio = Twilio(create_app(web_settings(METRICS_TOKEN="secret"), twilio_settings(), door))
    assert get(twilio, "/metrics", "8.8.8.8", Authorization="Bearer secret")[0] == 200
    assert get(twilio, "/metrics", "8.8.8.8", Authorization="Bearer wrong")[0] == 403
    assert get(twilio, "/metrics", "8.8.8.8", Authorization="Bearer ")[0] == 403


def test_an_empty_token_opens_nothing(twilio: Twilio):
    assert get(twilio, "/metrics", "8.8.8.8", Authorization="Bearer ")[0] == 403


def value(twilio: Twilio, name: str) -> float:
    lines = get(twilio, "/metrics", "127.0.0.1")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)


def test_messages_and_refusals_are_counted(twilio: Twilio, door: RecordingDoor):
    names = [
        "sisters_webhook_messages_total",
        "sisters_webhook_ack_seconds_count",
        'sisters_webhook_refusals_total{reason="not_our_number"}',
        'sisters_webhook_refusals_total{reason="unsigned"}',
        'sisters_webhook_refusals_total{reason="signature"}',
        'sisters_webhook_refusals_total{reason="method_not_allowed"}',
        'sisters_webhook_refusals_total{reason="redis"}',
    ]
    before = [value(twilio, name) for name in names]
    twilio.post("/whatsapp", message_form())
    twilio.post("/whatsapp", message_form(To="whatsapp:+15550001111"))
    twilio.send("/whatsapp", b"")
    twilio.send("/whatsapp", b"", headers={"X-Twilio-Signature": "x"})
    twilio.send("/whatsapp", b"", method="GET")
    door.away = True
    twilio.post("/whatsapp", message_form())
    assert [value(twilio, name) - was for name, was in zip(names, before, strict=True)] == [1] * 7


class BrokenDoor(RecordingDoor):
    def accept(self, message: object) -> None:
        raise RuntimeError(f"cannot do {message}")


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged("webhook") as stream:
        yield stream


def test_neither_text_nor_address_is_logged_on_any_path(lines: Lines):
    doors = [RecordingDoor(), RecordingDoor(away=True), BrokenDoor()]
    form = message_form(Body="a secret wish")
    statuses: list[int] = []
    for door in doors:
        twilio = Twilio(create_app(web_settings(), twilio_settings(), door))
        statuses.append(twilio.post("/whatsapp", form, headers={"I-Twilio-Idempotency-Token": "token-7"}).status_code)
        twilio.post("/whatsapp", form, token="wrong")
        twilio.post("/whatsapp", form | {"To": PERSON})
    assert statuses == [200, 503, 500]
    told = lines.getvalue()
    for secret in ("secret wish", "4915112345678", "13491208655302741918", "Ana", "14155238886"):
        assert secret not in told
    assert {line["event"] for line in lines.told()} >= {"ignored", "refused", "not_accepted"}
    assert "token-7" in told
    assert "RuntimeError" in told


def test_the_same_refusal_is_not_logged_again_and_again(lines: Lines, twilio: Twilio):
    for _ in range(20):
        assert twilio.send("/whatsapp", b"x").status_code == 403
    assert lines.getvalue().count('"refused"') == 1
