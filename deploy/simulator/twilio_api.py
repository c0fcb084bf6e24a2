"""How Twilio's REST API says who may call it and what is wrong."""

import base64
from typing import Final

from aiohttp import web

from deploy.simulator.faults import SPARED, Fate, Faults
from deploy.simulator.settings import Settings
from deploy.simulator.wire import Answer, json_answer

_CODE_OF: Final = {401: 20003, 404: 20404, 429: 20429, 500: 20500, 503: 20503}
_OPEN: Final = 500
"""From this status on a client cannot know whether the call was carried out."""
_MESSAGES: Final = {
    20003: "Authenticate",
    20429: "Too Many Requests",
    20500: "An internal server error has occurred",
    20503: "Service unavailable",
    21211: "The 'To' number is not a valid phone number or user id.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21609: "The 'StatusCallback' URL is not a valid URL.",
    21610: "Attempt to send to unsubscribed recipient",
    21611: "This 'From' number has exceeded the maximum number of queued messages",
    21617: "The concatenated message body exceeds the 1600 character limit.",
    21619: "A text message body or media urls must be specified.",
    21655: "The ContentSid is invalid",
    21656: "The ContentVariables parameter is invalid.",
    63007: "Twilio could not find a Channel with the specified From address",
    63038: "Account exceeded the daily messages limit",
}


def problem(code: int, *, status: int = 400, message: str = "", retry_after: float | None = None) -> Answer:
    """Returns Twilio's error body. Source: Twilio docs, "Error and warning dictionary", as of 2026-11."""
    body = {
        "code": code,
        "message": message or _MESSAGES.get(code, f"Error {code}"),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return json_answer(body, status=status, headers=headers)


def not_found(path: str) -> Answer:
    """Returns the 404 for a resource that is not there."""
    return problem(20404, status=404, message=f"The requested resource {path} was not found")


class Twilio:
    """Twilio's side of every call: credentials and faults."""

    def __init__(self, *, settings: Settings, faults: Faults) -> None:
        self._account = settings.account_sid
        self._faults = faults
        pairs = [(settings.account_sid, settings.auth_token)]
        if settings.api_key:
            pairs.append((settings.api_key, settings.api_secret))
        self._accepted = {"Basic " + base64.b64encode(f"{name}:{word}".encode()).decode() for name, word in pairs}

    def refuse(self, request: web.Request) -> Answer | None:
        """The error for missing or wrong credentials, or for another account than ours."""
        authorised = request.headers.get("Authorization", "") in self._accepted
        if authorised and request.match_info.get("account", self._account) == self._account:
            return None
        return problem(20003, status=401)

    def draw(self, endpoint: str, body: bytes) -> Fate:
        """What befalls this call; the faults may be meant for some calls only."""
        del body
        calls = self._faults.document.twilio.calls
        return SPARED if calls and endpoint not in calls else self._faults.twilio.draw()

    def fail(self, endpoint: str, *, accepted: bool) -> Answer:
        """The error that the faults ask for. One below 500 would say that nothing was accepted."""
        del endpoint
        faults = self._faults.document.twilio
        status = self._faults.twilio.pick([s for s in faults.status if not accepted or s >= _OPEN])
        code = faults.code or _CODE_OF.get(status, 20500)
        return problem(code, status=status, retry_after=faults.retry_after)

    def trickle_s(self) -> float:
        """Twilio's answers do not trickle."""
        return 0.0

    def about(self, endpoint: str, body: bytes) -> str:
        """Of a message that was refused, nothing is known."""
        del endpoint, body
        return ""
