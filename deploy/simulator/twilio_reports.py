"""What becomes of a message after Twilio took it: sent, delivered, read or not, each told to the bot."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import uuid4

from deploy.simulator.background import Background
from deploy.simulator.faults import Faults
from deploy.simulator.postman import Letter, Postman
from deploy.simulator.settings import Settings
from deploy.simulator.state import Log, Message, now

STAGES: Final = ("sent", "delivered", "read")
WINDOW: Final = timedelta(hours=24)
"""How long after a person's last message free text may be sent. Source: Twilio docs on WhatsApp as of 2026-11."""
OUTSIDE_WINDOW: Final = 63016
REORDER_SECONDS: Final = 0.3
_FAILURES: Final = {
    63003: "Channel could not find To address",
    OUTSIDE_WINDOW: "Failed to send freeform message because you are outside the allowed window.",
    63018: "Rate limit exceeded for Channel",
    63024: "Invalid message recipient",
}


class Reports:
    """Moves messages along and reports it where the message carries a StatusCallback."""

    def __init__(
        self, *, settings: Settings, log: Log, faults: Faults, postman: Postman, background: Background
    ) -> None:
        self._settings = settings
        self._log = log
        self._faults = faults
        self._postman = postman
        self._background = background

    def follow(self, message: Message) -> None:
        """Starts the life of an accepted message."""
        self._background.start(self._live(message, self._failure(message)))

    def _failure(self, message: Message) -> int | None:
        faults = self._faults.document.twilio
        if faults.undelivered_code and self._faults.undelivered.happens(faults.undelivered_rate):
            return faults.undelivered_code
        if faults.enforce_window:
            last = self._log.last_inbound(message.recipient)
            if last is None or now() - last > WINDOW:
                return OUTSIDE_WINDOW
        return None

    async def _live(self, message: Message, failure: int | None) -> None:
        faults = self._faults.document.twilio
        passed_ms = 0
        for stage, due_ms in zip(STAGES, faults.status_delays_ms, strict=False):
            await asyncio.sleep(max(0, due_ms - passed_ms) / 1000)
            passed_ms = max(passed_ms, due_ms)
            if failure and not (stage == "sent" and faults.undelivered_after_sent):
                error = _FAILURES.get(failure, "Message could not be delivered")
                self._log.move(message, "undelivered", error_code=failure, error=error)
                self._tell(message)
                return
            self._log.move(message, stage)
            self._tell(message)

    def _tell(self, message: Message) -> None:
        if message.status_callback:
            # Written down now: by the time that it goes out the message may have moved on.
            self._background.start(self._report(message, self._form(message)))

    async def _report(self, message: Message, form: dict[str, str]) -> None:
        fate = self._faults.callbacks.draw()
        if fate.kind == "drop":
            return
        pause = fate.delay_s + (REORDER_SECONDS if fate.kind == "reorder" else 0)
        if pause:
            await asyncio.sleep(pause)
        letter = Letter(
            endpoint="status", url=message.status_callback, form=form, token=str(uuid4()), about=message.sid
        )
        for _ in range(2 if fate.kind == "duplicate" else 1):
            await self._postman.deliver(letter)

    def _form(self, message: Message) -> dict[str, str]:
        """Returns the report's fields. Source: Twilio docs on status callbacks as of 2026-11, seen payloads."""
        form = {
            "ChannelPrefix": "whatsapp",
            "ApiVersion": "2010-04-01",
            "MessageStatus": message.status,
            "SmsSid": message.sid,
            "SmsStatus": message.status,
            "ChannelInstallSid": "XE" + self._settings.account_sid[2:],
            "To": message.recipient,
            "From": message.sender,
            "MessageSid": message.sid,
            "StructuredMessage": "false",
            "AccountSid": self._settings.account_sid,
            "ChannelToAddress": message.recipient.removeprefix("whatsapp:"),
            "ExternalUserId": self._log.user_id(message.recipient),
        }
        if message.service_sid:
            form["MessagingServiceSid"] = message.service_sid
        if message.status != "sent":
            form["EventType"] = message.status.upper()
        if message.error_code is not None:
            form["ErrorCode"] = str(message.error_code)
            form["ErrorMessage"] = form["ChannelStatusMessage"] = message.error_message or ""
        return form
