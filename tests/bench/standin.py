"""Twilio and an LLM at almost no cost: a process that answers both on the wire, waits as it is told, and counts.

The simulator checks far more and is too slow to stand beside 300 calls at once. It runs as
`python -m tests.bench.standin PORT`; `StandIn` is it as a benchmark sees it.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

ANSWER: Final = (
    "That is a good question, and I have thought about it before: begin with the part that you already know, write it "
    "down, and see on the next day whether it still sounds like you. Shall we go through it together?"
)
"""What the model always says: about as long as a message in a chat."""
MESSAGE_UNITS: Final = 1600
_WAITS_FOR_NEWS_S: Final = 1.0
_Send = Callable[[bytes], None]


class World:
    """What happened so far, and how long each answer takes."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Of requests by kind, and of connections by the kind of their first request."""
        self.sends: list[tuple[str, float, str]] = []
        """Each accepted message: to whom, when its request was here (CLOCK_MONOTONIC), its SID."""
        self.delays_ms: dict[str, float] = {"chat": 0.0, "send": 0.0, "typing": 0.0, "moderation": 0.0}
        self._news: list[Callable[[], None]] = []
        self._held: dict[int, tuple[str, asyncio.TimerHandle, Callable[[], None]]] = {}
        self._numbers = itertools.count()

    def set_delays(self, delays_ms: dict[str, float]) -> None:
        """From now on; what waits for a delay that is none any more is answered at once."""
        self.delays_ms.update(delays_ms)
        for kind, handle, answer in list(self._held.values()):
            if not self.delays_ms.get(kind):
                handle.cancel()
                answer()

    def after_delay(self, kind: str, send: _Send, answer: bytes) -> None:
        """Sends the answer once its kind's delay is over."""
        delay_ms = self.delays_ms.get(kind, 0.0)
        if not delay_ms:
            send(answer)
            return
        number = next(self._numbers)

        def end() -> None:
            del self._held[number]
            send(answer)

        self._held[number] = (kind, asyncio.get_running_loop().call_later(delay_ms / 1000, end), end)

    def sent(self, recipient: str) -> str:
        """Notes a message and returns its SID."""
        sid = f"SM{len(self.sends) + 1:032x}"
        self.sends.append((recipient, time.monotonic(), sid))
        waiting, self._news = self._news, []
        for tell in waiting:
            tell()
        return sid

    def tell_of_sends(self, after: int, answer: _Send, *, wait: bool = True) -> None:
        """Answers with all that was sent beyond the first `after`; with `wait` not before there is something."""

        def tell() -> None:
            handle.cancel()
            if tell in self._news:  # who was told that there is none is not told again when there is
                self._news.remove(tell)
            answer(_json({"sends": self.sends[after:]}))

        handle = asyncio.get_running_loop().call_later(_WAITS_FOR_NEWS_S, tell)
        if len(self.sends) > after or not wait:
            tell()
        else:
            self._news.append(tell)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept connections and bodies of known length: what the official clients send."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read = bytearray()
        self._transport: asyncio.Transport | None = None
        self._is_new = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Takes whole requests off what was read."""
        self._read += data
        while (head_end := self._read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._read[:head_end])
            length = _content_length(head)
            end = head_end + 4 + length
            if len(self._read) < end:
                return
            body = bytes(self._read[head_end + 4 : end])
            del self._read[:end]
            method, target, _ = head[: head.find(b"\r\n")].decode("latin-1").split(" ", 2)
            self._handle(method, target, body)

    def _handle(self, method: str, target: str, body: bytes) -> None:
        path = target.partition("?")[0]
        match method, path.rpartition("/")[2]:
            case "POST", "completions":
                self._answer_later("chat", _completion(body))
            case "POST", "moderations":
                self._answer_later("moderation", _moderation(body))
            case "POST", "Messages.json":
                self._answer_later("send", self._create(path, body))
            case "POST", "Typing.json":
                self._answer_later("typing", _json({"success": True}))
            case "GET", "Messages.json":
                self._answer_later("list", _json({"messages": [], "next_page_uri": None, "page_size": 50, "page": 0}))
            case "GET", sid if sid.startswith("SM"):
                self._answer_later("fetch", _json(_message(path, sid.removesuffix(".json"), {}, "delivered")))
            case "GET", "counts":
                self._write(_json({"counts": self._world.counts, "sends": len(self._world.sends)}))
            case "GET", "sends":
                query = dict(parse_qsl(urlsplit(target).query))
                self._world.tell_of_sends(int(query["after"]), self._write, wait=query.get("wait") != "0")
            case "PUT", "delays":
                self._world.set_delays(json.loads(body))
                self._write(_json(self._world.delays_ms))
            case _:
                self._write(_json({"error": "no such path"}, HTTPStatus.NOT_FOUND))

    def _answer_later(self, kind: str, answer: bytes) -> None:
        self._world.counts[kind] += 1
        if self._is_new:
            self._is_new = False
            self._world.counts[f"connections_{'llm' if kind in ('chat', 'moderation') else 'twilio'}"] += 1
        self._world.after_delay(kind, self._write, answer)

    def _create(self, path: str, body: bytes) -> bytes:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        if not (form.get("To") and form.get("From") and form.get("Body")):
            return _json({"code": 21604, "message": "incomplete", "status": 400}, HTTPStatus.BAD_REQUEST)
        if len(form["Body"].encode("utf-16-le")) // 2 > MESSAGE_UNITS:
            return _json({"code": 21617, "message": "too long", "status": 400}, HTTPStatus.BAD_REQUEST)
        message = _message(path, self._world.sent(form["To"]), form, "queued")
        return _json(message, HTTPStatus.CREATED)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    return int(head[at + 17 :].split(b"\r\n", 1)[0])


def _completion(body: bytes) -> bytes:
    asked = json.loads(body)
    if not asked.get("messages") or asked["messages"][-1]["role"] != "user":
        error = {"message": "messages must end with the user's", "type": "invalid_request_error", "code": None}
        return _json({"error": error}, HTTPStatus.BAD_REQUEST)
    tokens_in = sum(len(m["content"]) for m in asked["messages"]) // 4
    message: dict[str, Any] = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    return _json({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": len(ANSWER) // 4,
            "total_tokens": tokens_in + len(ANSWER) // 4,
        },
        "service_tier": "default",
        "system_fingerprint": None,
    })  # fmt: skip


_CATEGORIES: Final = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
_HARMLESS: Final = {
    "flagged": False,
    "categories": dict.fromkeys(_CATEGORIES, False),
    "category_scores": dict.fromkeys(_CATEGORIES, 0.00001),
    "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
}


def _moderation(body: bytes) -> bytes:
    given: str | list[Any] = json.loads(body)["input"]
    count = 1 if isinstance(given, str) else len(given)
    return _json({"id": "modr-1", "model": "omni-moderation-latest", "results": [_HARMLESS] * count})


def _message(path: str, sid: str, form: Mapping[str, str], status: str) -> dict[str, Any]:
    account, now = path.split("/")[3], format_datetime(datetime.now(UTC))
    uri = f"/2010-04-01/Accounts/{account}/Messages/{sid}"
    return {
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": form.get("Body", ""),
        "date_created": now,
        "date_sent": None,
        "date_updated": now,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": form.get("From"),
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "sid": sid,
        "status": status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": form.get("To"),
        "uri": f"{uri}.json",
    }


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def _serve(port: int) -> None:
    world = World()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(world), "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
