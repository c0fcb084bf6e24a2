"""A real simulator on a free loopback port, and a bot that writes down what it was told."""

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openai import OpenAI
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from deploy.simulator.settings import SIMULATED_AUTH_TOKEN

EMPTY_TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response />'


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One webhook as the bot got it."""

    path: str
    headers: dict[str, str]
    form: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the bot answers; it waits first."""

    status: int = 200
    content_type: str = "text/xml"
    body: bytes = EMPTY_TWIML
    after_s: float = 0.0


class Bot:
    """The receiver of webhooks. `replies` are used up one a call; after them it answers as a good bot does."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.replies: list[Reply] = []
        bot = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(parse_qsl(body, keep_blank_values=True, strict_parsing=True))
                bot.heard.append(Heard(path=self.path, headers=dict(self.headers.items()), form=form))
                reply = bot.replies.pop(0) if bot.replies else Reply()
                time.sleep(reply.after_s)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                del format, args

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                del request, client_address  # a caller that hung up

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def statuses(self) -> list[str]:
        """The statuses that were reported, in order."""
        return [h.form["MessageStatus"] for h in self.heard if "MessageStatus" in h.form]


@dataclass(slots=True, kw_only=True)
class World:
    """A simulator, its callers and its bot."""

    url: str
    bot: Bot
    twilio: Client
    openai: OpenAI

    def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """Returns the JSON that one of the simulator's own calls answers."""
        status, _, raw = self.raw(method, path, b"" if body is None else json.dumps(body).encode())
        assert status == expect, raw
        return json.loads(raw) if raw else None

    def raw(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Returns status, headers and body of any call; redirects are not followed."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def faults(self, **sections: Any) -> None:
        """Puts faults in force."""
        self.call("PUT", "/simulator/faults", sections)

    def inbound(self, **fields: Any) -> Any:
        """A person writes."""
        return self.call("POST", "/simulator/inbound", {"from": "+491700000001", "body": "hello", **fields})

    def messages(self, person: str = "") -> list[dict[str, Any]]:
        """The simulator's log."""
        return self.call("GET", f"/simulator/messages?person={person}")


def signed(heard: Heard, url: str) -> bool:
    """Whether the vendor's own validator accepts a webhook."""
    validator: Any = RequestValidator(SIMULATED_AUTH_TOKEN)
    return bool(validator.validate(url + heard.path, heard.form, heard.headers["X-Twilio-Signature"]))


def eventually(check: Callable[[], bool], *, within_s: float = 5) -> None:
    """Waits until the check holds."""
    end = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)
