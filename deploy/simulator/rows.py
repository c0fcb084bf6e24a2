"""How messages and calls look as JSON: the same in the lists and in the events of the phone page."""

from typing import Any, Final

from deploy.simulator.calls import Call
from deploy.simulator.state import Log, Media, Message, iso

MEDIA_PATH: Final = "/simulator/media/"
_OF_OPENAI: Final = frozenset({"chat", "moderation", "embeddings", "transcription", "models"})


def person_of(log: Log, message: Message) -> str:
    """Returns the address by which the message's person is known best."""
    return log.person(message.sender if message.direction == "inbound" else message.recipient)


def message_json(log: Log, message: Message) -> dict[str, Any]:
    """Returns a message as `GET /simulator/messages` shows it."""
    form = message.form or {}
    return {
        "number": message.number,
        "sid": message.sid,
        "person": person_of(log, message),
        "direction": message.direction,
        "from": message.sender,
        "to": message.recipient,
        "body": message.body,
        "status": message.status,
        "error_code": message.error_code,
        "error_message": message.error_message,
        "created_at": iso(message.created_at),
        "updated_at": iso(message.updated_at),
        "media": [_media_json(log, media) for media in message.media],
        "profile_name": form.get("ProfileName", ""),
        "quoted_sid": form.get("OriginalRepliedMessageSid", ""),
        "button": form.get("ButtonPayload", ""),
        "button_text": form.get("ButtonText", ""),
        "location": _place(form) if "Latitude" in form else None,
        "message_type": form.get("MessageType", "text"),
        "forwarded": form.get("Forwarded") == "true",
        "status_callback": message.status_callback,
        "carried": message.carried if message.direction == "inbound" else "",
        "read_at": iso(message.read_at) if message.read_at else None,
    }


def call_json(log: Log, number: int, call: Call) -> dict[str, Any]:
    """Returns a call as `GET /simulator/calls` shows it."""
    about = log.find(call.about)
    return {
        "number": number,
        "at": iso(call.at),
        "direction": call.direction,
        "endpoint": call.endpoint,
        "vendor": "openai" if call.endpoint in _OF_OPENAI else "twilio",
        "method": call.method,
        "path": call.path,
        "status": call.status,
        "took_ms": round(call.took_ms, 1),
        "request": call.request.decode(errors="replace"),
        "answer": call.answer.decode(errors="replace"),
        "request_bytes": call.request_bytes,
        "answer_bytes": call.answer_bytes,
        "request_type": call.request_type,
        "answer_type": call.answer_type,
        "fault": call.fault,
        "about": call.about,
        "person": person_of(log, about) if about else "",
        "attempt": call.attempt,
        "signature": call.signature,
        "signature_ok": call.signature_ok,
    }


def _media_json(log: Log, media: Media) -> dict[str, Any]:
    return {
        "sid": media.sid,
        "content_type": media.content_type,
        "bytes": media.size_bytes,
        "url": media.url,
        "href": f"{MEDIA_PATH}{media.sid}" if log.media(media.sid) else "",
    }


def _place(form: dict[str, str]) -> dict[str, str]:
    names = {"latitude": "Latitude", "longitude": "Longitude", "label": "Label", "address": "Address"}
    return {key: form.get(name, "") for key, name in names.items()}
