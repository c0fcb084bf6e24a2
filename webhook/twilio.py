"""Twilio's two webhooks: a message from a person, and what became of a delivery."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from flask import Blueprint, Response, request

from core import tracing
from core.config import TwilioSettings
from core.model import LONGEST_ID, TWILIO, Button, InboundMessage, Location, Media, StatusReport
from core.ports import Door
from webhook.limits import Refusal, read_form_body
from webhook.metrics import ACK_SECONDS, MESSAGES, REFUSALS, REPORTS
from webhook.signature import Form, Signatures, parse_form

EMPTY_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
_MEDIA_LIMIT: Final = 10
"""Attachments of one message. Source: Twilio docs as of 2026-11 (WhatsApp has 0 or 1, others up to 10)."""
_BIGINT_DIGITS: Final = 18

_IDS: Final = (
    "MessageSid",
    "From",
    "ExternalUserId",
    "ParentExternalUserId",
    "OriginalRepliedMessageSid",
    "MessageStatus",
    "ErrorCode",
)
_SPAN: Final = {"http.request.method": "POST", "http.route": "/whatsapp"}
_log = structlog.get_logger(__name__)


def blueprint(twilio: TwilioSettings, signatures: Signatures, door: Door) -> Blueprint:
    """`POST /whatsapp` and `POST /whatsapp/status`. Nothing passes to the door without a valid signature."""
    pages = Blueprint("twilio", __name__)

    def verified() -> Form:
        """The form of a request that Twilio signed for our account. Raises: Refusal."""
        form = parse_form(read_form_body())
        signature = request.environ.get("HTTP_X_TWILIO_SIGNATURE")
        if not signature:  # whoever looks about on the internet: no sign of a wrong token or address of ours
            raise Refusal(403, "unsigned")
        if form is None or not signatures.accept(request.environ["RAW_URI"], form, signature):
            raise Refusal(403, "signature")
        # An absent account is not another one.
        if any(sid not in ("", twilio.account_sid) for sid in form.get("AccountSid", ())):
            raise Refusal(403, "account")
        return form

    def whatsapp() -> Response:
        began = time.perf_counter()
        form = verified()
        reason = _why_no_message(form, twilio.number)
        if reason:
            return _ignored(reason, form)
        carried = request.environ.get("HTTP_TRACEPARENT")  # a proxy's
        # Begun only now: a flood of what nobody signed costs no spans.
        with tracing.resume("POST /whatsapp", [carried], _SPAN, kind="server") as span:
            message = parse_message(form, datetime.now(UTC), traceparent=tracing.traceparent())
            span.set({"messaging.message.id": message.provider_id})
            door.accept(message)
            span.set({"http.response.status_code": 200})
        MESSAGES.inc()
        ACK_SECONDS.observe(time.perf_counter() - began)
        return _acknowledged()

    def status() -> Response:
        form = verified()
        reason = _why_no_report(form)
        if reason:
            return _ignored(reason, form)
        door.report(parse_report(form, request.args.get("delivery", ""), datetime.now(UTC)))
        REPORTS.inc()
        return _acknowledged()

    _post_only(pages, "/whatsapp", whatsapp)
    _post_only(pages, "/whatsapp/status", status)
    return pages


def parse_message(form: Form, received_at: datetime, *, traceparent: str = "") -> InboundMessage:
    """Returns the message that the form holds. Source: FACTS 1.1 and 1.2 (Twilio docs as of 2026-11)."""
    first = form.first
    text = first("Body")
    payload = first("ButtonPayload") or first("ListId")
    return InboundMessage(
        channel=TWILIO,
        provider_id=first("MessageSid"),
        sender=first("From"),
        recipient=first("To"),
        received_at=received_at,
        text=text,
        external_id=first("ExternalUserId"),
        parent_external_id=first("ParentExternalUserId"),
        profile_name=first("ProfileName"),
        media=_media(form),
        location=_location(form),
        button=Button(payload=payload, text=first("ButtonText") or first("ListTitle") or text) if payload else None,
        quoted_id=first("OriginalRepliedMessageSid"),
        traceparent=traceparent,
    )


def parse_report(form: Form, delivery: str, received_at: datetime) -> StatusReport:
    """Returns the status report that the form holds. `delivery` is our own id from the callback's query."""
    first = form.first
    known = delivery.isascii() and delivery.isdigit() and len(delivery) <= _BIGINT_DIGITS
    return StatusReport(
        channel=TWILIO,
        provider_id=first("MessageSid"),
        status=first("MessageStatus"),
        received_at=received_at,
        delivery_id=int(delivery) if known else 0,
        error_code=first("ErrorCode"),
    )


def _media(form: Form) -> tuple[Media, ...]:
    if "MediaUrl0" not in form:
        return ()
    urls = ((form.first(f"MediaUrl{i}"), form.first(f"MediaContentType{i}")) for i in range(_MEDIA_LIMIT))
    return tuple(Media(url=url, content_type=kind) for url, kind in urls if url)


def _location(form: Form) -> Location | None:
    latitude, longitude = form.first("Latitude"), form.first("Longitude")
    if not latitude or not longitude:
        return None
    return Location(latitude=latitude, longitude=longitude, address=form.first("Address"), label=form.first("Label"))


def _why_no_message(form: Form, our_number: str) -> str:
    """Returns why a signed form is no message for us, or "". An error would only make Twilio repeat it."""
    if "MessageStatus" in form:
        return "status_at_message_url"
    if not form.first("MessageSid").strip():
        return "no_message_sid"
    if not form.first("From").strip():
        return "no_sender"
    if any(len(form.first(name)) > LONGEST_ID for name in _IDS):
        return "id_too_long"
    if form.first("To") != our_number:
        return "not_our_number"
    # We would answer ourselves for ever. A deployment proves itself with such a message, which nobody keeps.
    return "from_ourselves" if form.first("From") == our_number else ""


def _why_no_report(form: Form) -> str:
    if not form.first("MessageStatus"):
        return "message_at_status_url" if "Body" in form else "no_status"
    if any(len(form.first(name)) > LONGEST_ID for name in _IDS):
        return "id_too_long"
    return "" if form.first("MessageSid").strip() else "no_message_sid"


def _ignored(reason: str, form: Form) -> Response:
    REFUSALS.labels(reason).inc()
    _log.warning("ignored", reason=reason, sid=form.first("MessageSid")[:64])
    return _acknowledged()


def _acknowledged() -> Response:
    """Empty TwiML: a plain text answer with 200 would be sent to the person. Source: Twilio docs as of 2026-11."""
    return Response(EMPTY_TWIML, 200, mimetype="text/xml")


def _post_only(pages: Blueprint, path: str, view: Callable[[], Response]) -> None:
    # A redirect for a final slash would break the signature; an automatic OPTIONS would answer 200.
    pages.add_url_rule(path, view_func=view, methods=["POST"], strict_slashes=False, provide_automatic_options=False)
