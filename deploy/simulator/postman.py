"""Carries webhooks to the bot under Twilio's own timeouts and retry rules."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qsl, urldefrag, urlencode

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    TCPConnector,
)
from yarl import URL

from deploy.simulator.calls import CALL_BYTES, Call, Calls
from deploy.simulator.signature import sign
from deploy.simulator.state import now

ANSWER_BYTES: Final = 64 * 1024
"""How much of the bot's answer is looked at. Source: Twilio docs, TwiML documents are at most 64 kB, as of 2026-11."""
_LEAST_MS: Final = 100
_POLICIES: Final = frozenset({"4xx", "5xx", "ct", "rt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """How long Twilio waits and how often it tries again; the defaults are its own.

    Source: Twilio docs, "Webhooks: connection overrides", as of 2026-11.
    """

    connect: timedelta = timedelta(milliseconds=5000)
    read: timedelta = timedelta(milliseconds=15000)
    total: timedelta = timedelta(milliseconds=15000)
    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})


def read_overrides(url: str) -> tuple[str, Overrides]:
    """Returns the URL without its fragment, and what the fragment says; values out of range are ignored."""
    bare, fragment = urldefrag(url)
    if not fragment:
        return bare, _DEFAULT
    given = dict(parse_qsl(fragment))
    policy = frozenset(given.get("rp", "ct").split(","))
    if "all" in policy:
        policy = _POLICIES
    return bare, Overrides(
        connect=_ms(given, "ct", _DEFAULT.connect, 10_000),
        read=_ms(given, "rt", _DEFAULT.read, 15_000),
        total=_ms(given, "tt", _DEFAULT.total, 15_000),
        retries=int(rc) if (rc := given.get("rc", "1")) in {"0", "1", "2", "3", "4", "5"} else _DEFAULT.retries,
        policy=policy & _POLICIES,
    )


def _ms(given: Mapping[str, str], key: str, default: timedelta, most: int) -> timedelta:
    text = given.get(key, "")
    return timedelta(milliseconds=int(text)) if text.isdecimal() and _LEAST_MS <= int(text) <= most else default


_DEFAULT: Final = Overrides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One webhook to be delivered: an endpoint's name for the log, the URL with its fragment, the form."""

    endpoint: str
    url: str
    form: Mapping[str, str]
    token: str
    """I-Twilio-Idempotency-Token: the same on every retry."""
    about: str
    forged: bool = False
    """Whether it is signed with another token than the account's, as by somebody who only knows the address."""
    answers_lost: int = 0
    """How many answers come too late for Twilio, whatever the bot did: it waits in vain and tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: the HTTP status (0: none came) and, without an answer, "ct" or "rt" as the retry policy calls it."""

    status: int
    took_ms: float
    failure: str = ""
    content_type: str = ""
    body: bytes = b""

    def as_json(self) -> dict[str, Any]:
        """The attempt for the answer of `POST /simulator/inbound`."""
        return {"status": self.status, "took_ms": round(self.took_ms, 1), "failure": self.failure}

    @property
    def good(self) -> bool:
        """Whether the bot took it."""
        return self.status // 100 == 2  # noqa: PLR2004 - any success

    def wants(self, policy: frozenset[str]) -> bool:
        """Whether this outcome is one that the policy tries again."""
        return (self.failure or f"{self.status // 100}xx") in policy


class Postman:
    """Delivers letters; one pool of connections for all."""

    def __init__(self, *, token: str, calls: Calls) -> None:
        self._token = token
        self._calls = calls
        # Kept shorter than gunicorn's 2 s: a connection that the server closes just as we write would look like
        # a failure that the real Twilio does not have.
        connector = TCPConnector(limit=0, keepalive_timeout=1.0, use_dns_cache=True)
        self._session = ClientSession(connector=connector)

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def deliver(self, letter: Letter) -> list[Attempt]:
        """Returns every attempt, the last one being the outcome. Never raises for what the bot does."""
        url, overrides = read_overrides(letter.url)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": sign("forged" if letter.forged else self._token, url, letter.form),
            "I-Twilio-Idempotency-Token": letter.token,
            "User-Agent": "TwilioProxy/1.1",
            "Accept": "*/*",
        }
        body = urlencode(letter.form).encode()
        attempts: list[Attempt] = []
        deadline = perf_counter() + overrides.total.total_seconds()
        while (left := deadline - perf_counter()) > 0 and len(attempts) <= overrides.retries:
            at = now()
            attempt = await self._try(url, body, headers, overrides, left)
            if len(attempts) < letter.answers_lost and not attempt.failure:
                attempt = await _too_late(attempt, overrides.read.total_seconds(), left)
            attempts.append(attempt)
            self._note(letter, url, body, headers, attempt, len(attempts), at)
            if not attempt.wants(overrides.policy):
                break
        return attempts

    async def _try(
        self, url: str, body: bytes, headers: Mapping[str, str], overrides: Overrides, left: float
    ) -> Attempt:
        started = perf_counter()
        timeout = ClientTimeout(
            total=left, sock_connect=overrides.connect.total_seconds(), sock_read=overrides.read.total_seconds()
        )
        status = 0
        try:
            # The URL goes out as it was configured: another spelling of it would not match the signature.
            target = URL(url, encoded=True)
            async with self._session.post(target, data=body, headers=headers, timeout=timeout) as response:
                status = response.status
                answer = (await response.read())[:ANSWER_BYTES]
                content_type = response.headers.get("Content-Type", "")
        except (ClientConnectorError, ConnectionTimeoutError):
            return Attempt(status=0, took_ms=_since(started), failure="ct")
        except (TimeoutError, ClientError):
            # An answer that was already partly received is not tried again (Twilio docs as of 2026-11).
            return Attempt(status=status, took_ms=_since(started), failure="partial" if status else "rt")
        return Attempt(status=status, took_ms=_since(started), content_type=content_type, body=answer)

    def _note(
        self,
        letter: Letter,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        attempt: Attempt,
        number: int,
        at: Any,
    ) -> None:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        call = Call(
            at=at,
            direction="out",
            endpoint=letter.endpoint,
            method="POST",
            path=url,
            status=attempt.status,
            took_ms=attempt.took_ms,
            request=body[:CALL_BYTES],
            answer=attempt.body[:CALL_BYTES],
            request_bytes=len(body),
            answer_bytes=len(attempt.body),
            request_type=headers["Content-Type"],
            answer_type=attempt.content_type,
            fault=attempt.failure,
            about=letter.about,
            attempt=number,
            signature=headers["X-Twilio-Signature"],
            signature_ok=sign(self._token, url, form) == headers["X-Twilio-Signature"],
        )
        self._calls.add(call)


async def _too_late(attempt: Attempt, read_s: float, left: float) -> Attempt:
    """Returns the attempt as Twilio sees it when the bot's answer comes after the read timeout."""
    waits = max(0.0, min(read_s, left) - attempt.took_ms / 1000)
    await asyncio.sleep(waits)
    return Attempt(status=0, took_ms=attempt.took_ms + waits * 1000, failure="rt")


def _since(started: float) -> float:
    return (perf_counter() - started) * 1000
