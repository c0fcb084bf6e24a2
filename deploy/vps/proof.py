"""`python -m deploy.vps.proof trial|webhook|worker-PID` ends with 0 when this very release is really at work here.

Started by systemd in the environment of the bot. The message that it signs is from our own number to our own number:
the webhook checks its signature like any other, acknowledges it, and keeps nothing.
"""

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import psycopg
from twilio.request_validator import RequestValidator

from core import __version__
from core.config import DatabaseSettings, Environment, TwilioSettings, WebSettings
from core.errors import ConfigurationError

WITHIN_S: Final = 120.0
"""A small server that is busy starts a worker slowly; what has ended meanwhile is noticed by whoever asked."""
_EVERY_S: Final = 0.2
_CALL_S: Final = 5.0
_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 - what HOST may say
_BEATS: Final = """
SELECT version FROM workers WHERE host = %s AND pid = %s AND beat_at > now() - interval '10 seconds'
"""
_opener: Final = build_opener(ProxyHandler({}))


class NotProven(Exception):
    """The message says what is wrong."""


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 proven, 1 not, 2 wrong configuration or usage."""
    try:
        check = _check(*arguments)
    except (TypeError, ValueError):
        print("usage: python -m deploy.vps.proof trial|webhook|worker-PID", file=sys.stderr)
        return 2
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    end = time.monotonic() + WITHIN_S
    while True:
        try:
            check()
        except NotProven as error:
            if time.monotonic() > end:
                print(f"not proven within {WITHIN_S:g} s: {error}", file=sys.stderr)
                return 1
        else:
            print(f"{arguments[0]}: {__version__} is at work")
            return 0
        time.sleep(_EVERY_S)


def _check(what: str) -> Callable[[], None]:
    """Raises: ValueError on an unknown name; ConfigurationError."""
    environment = Environment(os.environ)
    if what.startswith("worker-"):
        pid = int(what.removeprefix("worker-"))
        database = environment.read(DatabaseSettings)
        environment.check()
        return lambda: worker(database.conninfo, pid)
    web, twilio = environment.read(WebSettings), environment.read(TwilioSettings)
    environment.check()
    port = {"webhook": web.port, "trial": int(os.environ.get("TRIAL_PORT", "8009"))}.get(what)
    if port is None:
        raise ValueError(what)
    host = "127.0.0.1" if what == "trial" or web.host in _EVERYWHERE else web.host
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    # On trial only: its counters are nobody's, while a wrong signature at the one that serves is worth an alert.
    return lambda: webhook(address, web.public_url, twilio, forge=what == "trial")


def webhook(address: str, public_url: str, twilio: TwilioSettings, *, forge: bool) -> None:
    """It serves this release, takes what our token signed and, with `forge`, refuses what it did not.

    Raises: NotProven.
    """
    status, body = _call(f"{address}/readyz")
    if status != HTTPStatus.OK or f'"version":"{__version__}"' not in body.replace(" ", "").replace("\n", ""):
        raise NotProven(f"/readyz: {status} {body.strip()[:200]}; expected version {__version__}")
    form = {
        "MessageSid": f"SM{secrets.token_hex(16)}",
        "AccountSid": twilio.account_sid,
        "From": twilio.number,
        "To": twilio.number,
        "Body": f"proof of {__version__}",
    }
    signed = RequestValidator(twilio.auth_tokens[0]).compute_signature(  # pyright: ignore[reportUnknownMemberType]
        f"{public_url}/whatsapp", form
    )
    status, body = _call(f"{address}/whatsapp", form, signed)
    if status != HTTPStatus.OK or "<Response" not in body:
        raise NotProven(f"a signed message was answered {status}")
    if forge and (status := _call(f"{address}/whatsapp", form, signed[::-1])[0]) != HTTPStatus.FORBIDDEN:
        raise NotProven(f"a message with a wrong signature was answered {status}")


def worker(conninfo: str, pid: int) -> None:
    """That process shows signs of life in Postgres, as this release. Raises: NotProven."""
    try:
        with psycopg.connect(conninfo, connect_timeout=3, prepare_threshold=None) as connection:
            row = connection.execute(_BEATS, (socket.gethostname(), pid)).fetchone()
    except psycopg.Error as error:
        raise NotProven(f"no answer from Postgres ({type(error).__name__})") from None
    if row is None or row[0] != __version__:
        raise NotProven(f"worker {pid} shows no sign of life as {__version__}")


def _call(url: str, form: dict[str, str] | None = None, signature: str = "") -> tuple[int, str]:
    headers = {"X-Twilio-Signature": signature} if form else {}
    request = Request(url, urlencode(form).encode() if form else None, headers)  # noqa: S310 - http, this host
    try:
        with _opener.open(request, timeout=_CALL_S) as answer:
            return answer.status, answer.read(10_000).decode(errors="replace")
    except HTTPError as error:
        with error:
            return error.code, error.read(10_000).decode(errors="replace")
    except OSError as error:
        raise NotProven(f"{url}: {type(error).__name__}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
