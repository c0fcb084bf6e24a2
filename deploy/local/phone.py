"""A person's side of the simulator: writes messages and reads what came back."""

from typing import Any, Final
from urllib.parse import quote

from deploy.local.loopback import call

WRITE_TIMEOUT_S: Final = 20.0
"""The simulator answers when the webhook did, after Twilio's own retries (15 s in all)."""


class Phone:
    """All people of one simulator; each is named by the number they write from."""

    def __init__(self, url: str) -> None:
        self.url: Final = url

    def write(self, person: str, body: str, **more: Any) -> str:
        """Sends one message, waits until its webhook was answered, and returns its SID. `more`: times, delay_ms, ...

        Raises: Refused, OSError.
        """
        return self.inbound(person, body, **more)["sid"]

    def inbound(self, person: str, body: str, **more: Any) -> dict[str, Any]:
        """As `write`, but returns all that the simulator says of it: sid, acknowledged, each attempt.

        Raises: Refused, OSError.
        """
        message = {"from": person, "body": body, **more}
        return call("POST", f"{self.url}/simulator/inbound", message, timeout_s=WRITE_TIMEOUT_S)

    def messages(self, person: str = "", *, after: int = 0) -> list[dict[str, Any]]:
        """Everything said both ways, oldest first, of one person or of all; `after` is a message's `number`."""
        return call("GET", f"{self.url}/simulator/messages?person={quote(person, safe='')}&after={after}")

    def replies(self, person: str = "", *, after: int = 0) -> list[dict[str, Any]]:
        """What the bot said."""
        return [m for m in self.messages(person, after=after) if m["direction"] != "inbound"]

    def set_faults(self, faults: dict[str, Any]) -> None:
        """Puts a document of faults in force; {} ends all."""
        call("PUT", f"{self.url}/simulator/faults", faults)

    def stats(self) -> dict[str, Any]:
        """How many calls there were, by endpoint and status, and how many faults befell them."""
        return call("GET", f"{self.url}/simulator/stats")
