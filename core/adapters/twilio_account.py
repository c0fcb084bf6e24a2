"""What Twilio says of our account and of our WhatsApp sender: for whoever sets it up, never on the way of a message."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from core.adapters.transport import Transport
from core.adapters.twilio import reading, rest_client
from core.config import TwilioSettings

TIMEOUT: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """`status` is active, suspended or closed; `kind` is Trial or Full."""

    status: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A registered WhatsApp number with the addresses that Twilio calls; they carry their connection overrides."""

    sid: str
    status: str
    webhook_url: str
    status_url: str


class TwilioAccount:
    """Reads account and senders. Every call ends within 10 s. Close it at the end."""

    def __init__(self, settings: TwilioSettings) -> None:
        self._transport = Transport(connections=1)
        self._sid = settings.account_sid
        self._client = rest_client(settings, self._transport, timeout=TIMEOUT)

    def log_in(self) -> None:
        """Reads one row of the message log: any key that may send may do this. Raises: Transient, Permanent."""
        with reading():
            self._client.messages.list(limit=1, page_size=1)

    def account(self) -> Account:
        """Returns the account's state. Raises: Transient, Permanent (a restricted key may not read it)."""
        with reading():
            found: Any = self._client.api.v2010.accounts(self._sid).fetch()
            return Account(status=str(found.status), kind=str(found.type))

    def sender(self, number: str) -> Sender | None:
        """Returns the registered sender of that number ("whatsapp:+..."); None when the account has none.

        Raises: Transient, Permanent. Source: Twilio's Senders API, v2, as of 2026-11.
        """
        with reading():
            for row in self._client.messaging.v2.channels_senders.stream(channel="whatsapp", page_size=100, limit=1000):
                found: Any = row
                if found.sender_id == number:
                    hook: dict[str, Any] = found.webhook or {}
                    return Sender(
                        sid=str(found.sid),
                        status=str(found.status),
                        webhook_url=str(hook.get("callback_url") or ""),
                        status_url=str(hook.get("status_callback_url") or ""),
                    )
        return None

    def close(self) -> None:
        """Closes the kept connections."""
        self._transport.close()
