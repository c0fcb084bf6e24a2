"""One vendor call from its first byte to its last: authorised, befallen by faults, answered, noted."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Final, Protocol

from aiohttp import web

from deploy.simulator.calls import CALL_BYTES, Call, Calls
from deploy.simulator.faults import SPARED, Fate
from deploy.simulator.state import now

HANG_SECONDS: Final = 600.0
"""After this a hanging call is cut even when the client still waits, so that none is kept for ever."""
_LOOK_SECONDS: Final = 0.25
_TRICKLE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a vendor answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    about: str = ""
    """The message that it is about, for the wire log."""


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, about: str = "") -> Answer:
    """Returns a value as JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status=status, body=body, headers=headers or {}, about=about)


class Vendor(Protocol):
    """What all calls to one vendor have in common."""

    def refuse(self, request: web.Request) -> Answer | None:
        """Returns the error for a call without the right credentials."""
        ...

    def draw(self, endpoint: str, body: bytes) -> Fate:
        """Returns what befalls this call."""
        ...

    def fail(self, endpoint: str, *, accepted: bool) -> Answer:
        """Returns the error that the faults ask for; `accepted`: the call was carried out all the same."""
        ...

    def trickle_s(self) -> float:
        """How long a trickling answer takes."""
        ...

    def about(self, endpoint: str, body: bytes) -> str:
        """Returns the message that a call is about where only its body tells, "" where nothing does."""
        ...


Handler = Callable[[web.Request, bytes, str], Awaitable[Answer]]
"""Carries a call out: the request, its body, and the kind of fault, for those that change the answer itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One call of a vendor's API as an aiohttp handler.

    A client that hangs up does not stop what it asked for: like the real ones, we finish and nobody hears of it.
    """

    name: str
    vendor: Vendor
    handler: Handler
    calls: Calls

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        started, at = perf_counter(), now()
        body = await request.read()
        answer = refused = self.vendor.refuse(request)
        fate = SPARED if answer else self.vendor.draw(self.name, body)
        if fate.delay_s:
            await asyncio.sleep(fate.delay_s)
        if answer is None:
            answer = await self._carry_out(request, body, fate.kind)
        response = await self._send(request, answer, fate.kind)
        call = Call(
            at=at,
            direction="in",
            endpoint=self.name,
            method=request.method,
            path=request.path_qs,
            status=answer.status if response else 0,
            took_ms=(perf_counter() - started) * 1000,
            request=body[:CALL_BYTES],
            answer=answer.body[:CALL_BYTES],
            request_bytes=len(body),
            answer_bytes=len(answer.body),
            request_type=request.headers.get("Content-Type", ""),
            answer_type=answer.content_type if answer.body else "",
            fault=fate.kind or ("slow" if fate.delay_s else ""),
            about=answer.about or self.vendor.about(self.name, body),
            signature_ok=refused is None,
        )
        self.calls.add(call)
        return response or web.Response()

    async def _carry_out(self, request: web.Request, body: bytes, kind: str) -> Answer:
        match kind:
            case "cut_before" | "hang":
                return Answer(status=0)
            case "status":
                return self.vendor.fail(self.name, accepted=False)
            case _:
                answer = await self.handler(request, body, kind)
        if kind != "accept_then_status":
            return answer
        return replace(self.vendor.fail(self.name, accepted=True), about=answer.about)

    async def _send(self, request: web.Request, answer: Answer, kind: str) -> web.StreamResponse | None:
        match kind:
            case "hang" | "accept_then_hang":
                await _until_gone(request)
                _cut(request)
            case "cut_before" | "accept_then_cut":
                _cut(request)
            case "cut":
                response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
                response.content_length = len(answer.body)
                await _write(request, response, answer.body[: len(answer.body) // 2])
                _cut(request)
            case "trickle":
                return await _trickle(request, answer, self.vendor.trickle_s())
            case _:
                return web.Response(
                    status=answer.status,
                    body=answer.body,
                    headers=answer.headers,
                    content_type=answer.content_type,
                )
        return None


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _until_gone(request: web.Request) -> None:
    """Waits until the client hung up. Looking four times a second costs nothing even for hundreds of calls."""
    waited = 0.0
    while waited < HANG_SECONDS and not _gone(request):
        await asyncio.sleep(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    try:
        if not response.prepared:
            await response.prepare(request)
        await response.write(data)
    except ConnectionError:
        return


async def _trickle(request: web.Request, answer: Answer, seconds: float) -> web.StreamResponse | None:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    pieces = max(1, min(len(answer.body), int(seconds / _TRICKLE_SECONDS)))
    size = -(-len(answer.body) // pieces)
    for start in range(0, len(answer.body), size):
        if _gone(request):
            return None
        await _write(request, response, answer.body[start : start + size])
        await asyncio.sleep(seconds / pieces)
    return None if _gone(request) else response
