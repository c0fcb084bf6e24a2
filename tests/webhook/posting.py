"""Posts to the webhook as Twilio does, and a door that records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask
from twilio.request_validator import RequestValidator
from werkzeug.test import Client, TestResponse

from core.config import TwilioSettings, WebSettings
from core.errors import Transient
from core.model import InboundMessage, StatusReport
from webhook.signature import Form, parse_form

ACCOUNT = "AC" + "0" * 32
OTHER_ACCOUNT = "AC" + "f" * 32
TOKEN = "token-of-today"
NEXT_TOKEN = "token-of-tomorrow"
NUMBER = "whatsapp:+14155238886"
PUBLIC_URL = "https://bot.example.com"
PERSON = "whatsapp:+4915112345678"


@dataclass
class RecordingDoor:
    """Takes everything; with `away` nothing, as when Redis is gone."""

    messages: list[InboundMessage] = field(default_factory=list)
    reports: list[StatusReport] = field(default_factory=list)
    away: bool = False

    def accept(self, message: InboundMessage) -> None:
        if self.away:
            raise Transient("redis_timeout")
        self.messages.append(message)

    def report(self, report: StatusReport) -> None:
        if self.away:
            raise Transient("redis_timeout")
        self.reports.append(report)

    def ready(self) -> bool:
        return not self.away


def web_settings(public_url: str = PUBLIC_URL, **more: Any) -> WebSettings:
    return WebSettings.model_validate({"PUBLIC_URL": public_url, **more})


def twilio_settings(tokens: str = f"{TOKEN},{NEXT_TOKEN}") -> TwilioSettings:
    return TwilioSettings.model_validate(
        {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": tokens, "TWILIO_WHATSAPP_NUMBER": NUMBER}
    )


def message_form(**changes: str | None) -> dict[str, str]:
    """A text message as Twilio posts it; None takes a parameter out."""
    form: dict[str, str | None] = {
        "SmsMessageSid": "SM" + "1" * 32,
        "NumMedia": "0",
        "ProfileName": "Ana 🌸",
        "SmsSid": "SM" + "1" * 32,
        "WaId": "4915112345678",
        "SmsStatus": "received",
        "Body": "hola, ¿qué tal?",
        "To": NUMBER,
        "NumSegments": "1",
        "MessageSid": "SM" + "1" * 32,
        "AccountSid": ACCOUNT,
        "From": PERSON,
        "ApiVersion": "2010-04-01",
        "ExternalUserId": "whatsapp:DE.13491208655302741918",
    }
    return {name: value for name, value in (form | changes).items() if value is not None}


def report_form(**changes: str | None) -> dict[str, str]:
    form: dict[str, str | None] = {
        "AccountSid": ACCOUNT,
        "From": NUMBER,
        "To": PERSON,
        "MessageSid": "SM" + "2" * 32,
        "MessageStatus": "delivered",
        "SmsSid": "SM" + "2" * 32,
        "SmsStatus": "delivered",
        "ApiVersion": "2010-04-01",
    }
    return {name: value for name, value in (form | changes).items() if value is not None}


def sign(url: str, form: Mapping[str, str] | Form, token: str = TOKEN) -> str:
    return RequestValidator(token).compute_signature(url, form)  # pyright: ignore[reportUnknownMemberType]


@dataclass
class Twilio:
    """Posts as Twilio would: signed for the address that it was configured with."""

    app: Flask
    public_url: str = PUBLIC_URL

    def post(
        self,
        path: str,
        form: Mapping[str, str] | Sequence[tuple[str, str]],
        *,
        token: str = TOKEN,
        arrives_as: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        signature: str | None = None,
    ) -> TestResponse:
        """`path` follows the public URL; `arrives_as` is the request line's target after the proxies."""
        raw = urlencode(form, quote_via=quote).encode() if body is None else body
        signed = parse_form(raw)
        assert signed is not None
        return self.send(
            arrives_as or path,
            raw,
            headers={"X-Twilio-Signature": signature or sign(self.public_url + path, signed, token)}
            | dict(headers or {}),
        )

    def send(
        self,
        target: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = "application/x-www-form-urlencoded",
    ) -> TestResponse:
        path, _, query = target.partition("?")
        path = path if path.startswith("/") else "/" + path.partition("://")[2].partition("/")[2]
        return Client(self.app).open(
            path,
            method=method,
            data=body,
            query_string=query,
            headers=dict(headers or {}),
            content_type=content_type,
            environ_overrides={"RAW_URI": target, "REMOTE_ADDR": "203.0.113.9"},
        )
