"""A person writes: the message enters the log and goes to the bot as WhatsApp's real webhook."""

import asyncio
import base64
import binascii
import json
import re
from typing import Annotated, Any, Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from deploy.simulator.faults import Faults
from deploy.simulator.postman import Attempt, Letter, Postman
from deploy.simulator.settings import Settings
from deploy.simulator.state import Log, Media, Message, new_sid, now, user_id_of
from deploy.simulator.twiml import replies_in

ADDRESS: Final = re.compile(r"whatsapp:(\+\d{6,15}|[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128})")
"""A phone number or a business-scoped user id. Source: Twilio docs on WhatsApp usernames as of 2026-11."""
SID: Final = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
MEDIA_BYTES: Final = 16 * 1024 * 1024
REORDER_SECONDS: Final = 0.3
"""How long an overtaken webhook is held back."""
_SMALLEST_PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_MESSAGE_TYPES: Final = {"image/webp": "sticker", "text/vcard": "contacts", "text/x-vcard": "contacts"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Attachment(_Part):
    """One file of a message; without data a small one is made."""

    content_type: str = Field(pattern=r"^[\w.+-]+/[\w.+-]+(;.*)?$")
    data_base64: str | None = None


class Tap(_Part):
    """A tapped quick-reply button."""

    text: str
    payload: str = ""


class Place(_Part):
    """A shared location; degrees."""

    latitude: float
    longitude: float
    address: str = ""
    label: str = ""


class Inbound(_Part):
    """The body of `POST /simulator/inbound`: what a person does, and how the network treats it."""

    sender: str = Field(default="", alias="from")
    """+49..., whatsapp:+49... or a business-scoped user id; may be absent when `message_sid` is sent again."""
    body: str = ""
    media: Annotated[tuple[Attachment, ...], Field(max_length=10)] = ()
    """At most 10 files, 16 MB in all. Source: Twilio docs on WhatsApp media as of 2026-11."""
    times: Annotated[int, Field(ge=1, le=100)] = 1
    """How often the very same webhook is delivered, all at once."""
    delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    wait: bool = True
    """Whether the answer comes after the delivery and tells of it."""
    message_sid: str = ""
    profile_name: str = "Simulated person"
    external_user_id: str = ""
    parent_external_user_id: str = ""
    hidden: bool = False
    """Whether the person hides their number: From is then their user id."""
    wa_id: str | None = None
    button: Tap | None = None
    location: Place | None = None
    quoted_sid: str = ""
    forwarded: bool = False
    wrong_signature: bool = False
    """Whether it is signed with another token, as by somebody who only knows the bot's address."""
    fields: dict[str, str] = {}
    """More form fields, or other values for those above."""


class Burst(_Part):
    """Several messages in one call, written in this order."""

    burst: Annotated[tuple[Inbound, ...], Field(min_length=1, max_length=50)]
    gap_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Between one message and the next."""
    shuffle: bool = False
    """Whether all are written first and then delivered in the opposite order."""
    wait: bool = True


class InboundError(ValueError):
    """What was asked for cannot be sent."""

    def __init__(self, sentence: str, *, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class People:
    """The people's side of the wire."""

    def __init__(self, *, settings: Settings, log: Log, faults: Faults, postman: Postman, own_url: str) -> None:
        self._settings = settings
        self._log = log
        self._faults = faults
        self._postman = postman
        self._own_url = own_url

    def check(self, inbound: Inbound) -> None:
        """Raises: InboundError when the message cannot be written, or be sent again."""
        if inbound.message_sid and not SID.fullmatch(inbound.message_sid):
            raise InboundError("message_sid must be SM or MM and 32 hexadecimal digits")
        if known := self._log.find(inbound.message_sid):
            if known.form is None:
                raise InboundError("message_sid names a message of the bot")
            return
        for name, given in zip(
            ("from", "external_user_id", "parent_external_user_id"), _addresses(inbound), strict=True
        ):
            if (given or name == "from") and not ADDRESS.fullmatch(given):
                raise InboundError(f"{name} must be a phone number (+49170...) or a user id (US.1349...)")
        if sum(len(_bytes_of(each) or b"") for each in inbound.media) > MEDIA_BYTES:
            raise InboundError(f"media: at most {MEDIA_BYTES} bytes in all", status=413)

    def write(self, inbound: Inbound) -> Message:
        """Puts the message into the log and returns it, or the one that is sent again.

        Raises: InboundError.
        """
        self.check(inbound)
        if known := self._log.find(inbound.message_sid):
            return known
        sender, user_id = self._who(inbound)
        at = now()
        sid = inbound.message_sid or new_sid("MM" if inbound.media else "SM")
        message = Message(
            sid=sid,
            direction="inbound",
            sender=sender,
            recipient=self._settings.number,
            body=inbound.button.text if inbound.button and not inbound.body else inbound.body,
            status="received",
            created_at=at,
            updated_at=at,
            sent_at=at,
            media=tuple(self._attach(sid, each) for each in inbound.media),
            token=str(uuid4()),
            forged=inbound.wrong_signature,
        )
        message.form = self._form(inbound, message, user_id)
        self._log.add(message)
        return message

    async def deliver(self, message: Message, inbound: Inbound) -> list[list[Attempt]]:
        """Delivers the webhook as often as asked (and as faults will) and returns the attempts of each delivery."""
        if inbound.delay_ms:
            await asyncio.sleep(inbound.delay_ms / 1000)
        fate = self._faults.webhook.draw()
        if fate.kind == "drop":
            self._log.carry(message, "dropped")
            return []
        pause = fate.delay_s + (REORDER_SECONDS if fate.kind == "reorder" else 0)
        if pause:
            await asyncio.sleep(pause)
        times = inbound.times + (fate.kind == "duplicate")
        lost = 1 if fate.kind == "timeout" else 0
        deliveries = (
            self._deliver_once(message, forged=inbound.wrong_signature, answers_lost=lost) for _ in range(times)
        )
        return list(await asyncio.gather(*deliveries))

    async def _deliver_once(self, message: Message, *, forged: bool, answers_lost: int) -> list[Attempt]:
        letter = Letter(
            endpoint="webhook",
            url=self._settings.webhook_url,
            form=message.form or {},
            token=message.token,
            about=message.sid,
            forged=forged,
            answers_lost=answers_lost,
        )
        attempts = await self._postman.deliver(letter)
        if attempts and attempts[-1].good:
            self._log.carry(message, "acknowledged")
            self._reply(message, attempts[-1])
        else:
            self._log.carry(message, "refused")
        return attempts

    def _reply(self, message: Message, attempt: Attempt) -> None:
        """What the bot answered in TwiML (or in plain text, by mistake) reaches the person as a message."""
        for body in replies_in(attempt.content_type, attempt.body):
            at = now()
            reply = Message(
                sid=new_sid("SM"),
                direction="outbound-reply",
                sender=message.recipient,
                recipient=message.sender,
                body=body,
                status="sent",
                created_at=at,
                updated_at=at,
                sent_at=at,
            )
            self._log.add(reply)

    def _who(self, inbound: Inbound) -> tuple[str, str]:
        """Returns the From and the ExternalUserId of a message, and remembers the person."""
        given, user_id, parent = _addresses(inbound)
        by_number = ":+" in given
        user_id = user_id or (user_id_of(given) if by_number else given)
        self._log.know(given, user_id, parent)
        hidden = parent or user_id
        return (hidden if inbound.hidden or not by_number else given), user_id

    def _attach(self, message_sid: str, attachment: Attachment) -> Media:
        sid, data = new_sid("ME"), _bytes_of(attachment)
        if data is None:
            data = _SMALLEST_PNG if attachment.content_type == "image/png" else b"simulated " + sid.encode()
        self._log.keep_media(sid, data, attachment.content_type)
        path = f"/2010-04-01/Accounts/{self._settings.account_sid}/Messages/{message_sid}/Media/{sid}"
        return Media(
            sid=sid,
            content_type=attachment.content_type,
            size_bytes=len(data),
            url=self._own_url + path,
            created_at=now(),
        )

    def _form(self, inbound: Inbound, message: Message, user_id: str) -> dict[str, str]:
        """Returns the webhook's fields. Source: Twilio docs on WhatsApp webhooks as of 2026-11, seen payloads."""
        wa_id = inbound.wa_id
        if wa_id is None:
            wa_id = message.sender.partition("+")[2]
        form = {
            "SmsMessageSid": message.sid,
            "NumMedia": str(len(message.media)),
            "ProfileName": inbound.profile_name,
            "MessageType": _message_type(inbound),
            "SmsSid": message.sid,
            **({"WaId": wa_id} if wa_id else {}),
            "SmsStatus": "received",
            "Body": message.body,
            "To": message.recipient,
            "NumSegments": "1",
            "ReferralNumMedia": "0",
            "MessageSid": message.sid,
            "AccountSid": self._settings.account_sid,
            "From": message.sender,
            "ApiVersion": "2010-04-01",
            "ExternalUserId": user_id,
        }
        if inbound.parent_external_user_id:
            form["ParentExternalUserId"] = _full(inbound.parent_external_user_id)
        for number, media in enumerate(message.media):
            form |= {f"MediaUrl{number}": media.url, f"MediaContentType{number}": media.content_type}
        if button := inbound.button:
            form |= {"ButtonText": button.text, "ButtonPayload": button.payload or button.text, "ButtonType": "REPLY"}
        if place := inbound.location:
            form |= {"Latitude": str(place.latitude), "Longitude": str(place.longitude)}
            form |= {k: v for k, v in (("Address", place.address), ("Label", place.label)) if v}
        if inbound.quoted_sid:
            quoted = self._log.find(inbound.quoted_sid)
            form["OriginalRepliedMessageSid"] = inbound.quoted_sid
            form["OriginalRepliedMessageSender"] = quoted.sender if quoted else message.recipient
        if inbound.forwarded:
            form["Forwarded"] = "true"
        form["ChannelMetadata"] = _metadata(form)
        return form | inbound.fields


def _addresses(inbound: Inbound) -> tuple[str, str, str]:
    """Returns who writes: by address, by user id, by parent's user id; "" where not given."""
    return _full(inbound.sender), _full(inbound.external_user_id), _full(inbound.parent_external_user_id)


def _bytes_of(attachment: Attachment) -> bytes | None:
    if attachment.data_base64 is None:
        return None
    try:
        return base64.b64decode(attachment.data_base64, validate=True)
    except binascii.Error:
        raise InboundError("media.data_base64 is not base64") from None


def _full(address: str) -> str:
    return f"whatsapp:{address}" if address and not address.startswith("whatsapp:") else address


def _message_type(inbound: Inbound) -> str:
    if inbound.location:
        return "location"
    if inbound.button:
        return "button"
    if not inbound.media:
        return "text"
    kind = inbound.media[0].content_type.partition(";")[0]
    main = kind.partition("/")[0]
    return _MESSAGE_TYPES.get(kind) or (main if main in {"image", "audio", "video"} else "document")


def _metadata(form: dict[str, str]) -> str:
    names = ("ProfileName", "WaId", "Forwarded", "ButtonText")
    context: dict[str, Any] = {name: form[name] for name in names if name in form}
    return json.dumps({"type": "whatsapp", "data": {"context": context}}, ensure_ascii=False, separators=(",", ":"))
