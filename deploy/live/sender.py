"""Where Twilio calls for our number: read, and set when the user says yes."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from core.config import TwilioSettings
from core.errors import Permanent

RETRIES: Final = "rc=3&rp=5xx,ct,rt&ct=2000&rt=4000&tt=15000"
"""Three retries on 5xx and timeouts, all within 15 s: by default Twilio retries only what it could not connect to.

Source: Twilio docs (connection overrides) as of 2026-11.
"""
_TIMEOUT_S: Final = 15.0
_AT_MOST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What Twilio calls for a message that came in, and to report on one that went out."""

    message: str
    status: str


def addresses(public_url: str) -> Addresses:
    """Returns both for a bot that is reachable there, with Twilio's retries switched on."""
    root = public_url.rstrip("/")
    return Addresses(message=f"{root}/whatsapp#{RETRIES}", status=f"{root}/whatsapp/status#{RETRIES}")


class Sender:
    """Our WhatsApp number in Twilio's list of senders; Twilio's sandbox number is in nobody's."""

    def __init__(self, settings: TwilioSettings) -> None:
        user, password = settings.api_key or settings.account_sid, settings.api_secret or settings.auth_tokens[0]
        http = _HttpClient(settings.base_url)
        self._senders: Any = Client(
            user, password, settings.account_sid, http_client=http
        ).messaging.v2.channels_senders
        self._number = settings.number
        self._sid = ""
        self._webhook: dict[str, Any] = {}

    def current(self) -> Addresses | None:
        """What is set now, None where the account has no such sender. Raises: Permanent."""
        for row in self._asked(lambda: self._senders.list(channel="whatsapp", limit=_AT_MOST)):
            if row.sender_id == self._number:
                self._sid, self._webhook = row.sid, dict(row.webhook or {})
                told = self._webhook.get
                return Addresses(message=told("callback_url") or "", status=told("status_callback_url") or "")
        return None

    def set(self, to: Addresses) -> None:
        """Changes both addresses and nothing else of the sender. Raises: Permanent."""
        webhook = self._webhook | {
            "callback_url": to.message,
            "callback_method": "POST",
            "status_callback_url": to.status,
            "status_callback_method": "POST",
        }
        self._asked(lambda: self._senders(self._sid).update(_Update(webhook)))

    def _asked(self, call: Any) -> Any:
        try:
            return call()
        except TwilioRestException as error:
            raise Permanent("twilio", code=str(error.code or error.status)) from None
        except (TwilioException, OSError, ValueError) as error:
            raise Permanent("twilio", code=type(error).__name__) from None


class _Update:
    """The part of an update that we mean: twilio's own class would send null for all the rest."""

    def __init__(self, webhook: dict[str, Any]) -> None:
        self._webhook = {name: value for name, value in webhook.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """What goes over the wire."""
        return {"webhook": self._webhook}


class _HttpClient(TwilioHttpClient):
    """Twilio's own, with a bound, and with TWILIO_BASE_URL in place of every host of Twilio's where that is set."""

    def __init__(self, base_url: str) -> None:
        super().__init__(timeout=_TIMEOUT_S)
        self._base_url = base_url.rstrip("/")

    def request(self, method: str, url: str, *arguments: Any, **more: Any) -> Response:
        if self._base_url:
            parts = urlsplit(url)
            url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        return super().request(method, url, *arguments, **more)
