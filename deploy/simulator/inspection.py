"""Asks `sisters inspect` what the bot knows, for the page: nobody here looks into the bot, no page gets its token."""

import json
from typing import Final
from urllib.parse import quote

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, web

from deploy.simulator.settings import Settings
from deploy.simulator.wire import json_answer

REQUEST_BYTES: Final = 2 * 1024 * 1024
_ANSWER_BYTES: Final = 16 * 1024 * 1024
_TIMEOUT: Final = ClientTimeout(total=45, sock_connect=2)
_ALIVE: Final = ClientTimeout(total=2)
_PASSED_ON: Final = frozenset({200, 400, 404, 413, 422, 503})
_MISSING: Final = "INSPECT_TOKEN is not set for the simulator; give it the same one as `sisters inspect`"


class Inspection:
    """Forwards to INSPECT_URL with INSPECT_TOKEN."""

    def __init__(self, *, settings: Settings) -> None:
        self._url = settings.inspect_url
        self._headers = {"Authorization": f"Bearer {settings.inspect_token}"} if settings.inspect_token else {}
        self._session: ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        """Where all this is found."""
        return [
            web.get("/simulator/inspect/timeline/{id}", self.timeline),
            web.get("/simulator/inspect/cast", self.cast),
            web.post("/simulator/inspect/route", self.route),
            web.post("/simulator/inspect/evaluate", self.evaluate),
        ]

    async def close(self) -> None:
        """Closes its connections."""
        if self._session is not None:
            await self._session.close()

    async def alive(self) -> bool:
        """Whether it answers within 2 s."""
        try:
            async with self._client().get(f"{self._url}/healthz", timeout=_ALIVE) as answer:
                return answer.status == 200  # noqa: PLR2004 - alive
        except (ClientError, TimeoutError):
            return False

    async def timeline(self, request: web.Request) -> web.Response:
        """What happened to a message."""
        return await self._ask("GET", f"/timeline/{quote(request.match_info['id'], safe='')}")

    async def cast(self, request: web.Request) -> web.Response:
        """The characters and their words."""
        del request
        return await self._ask("GET", "/cast")

    async def route(self, request: web.Request) -> web.Response:
        """Who would answer."""
        return await self._pass_on(request, "/route")

    async def evaluate(self, request: web.Request) -> web.Response:
        """How often the right one would."""
        return await self._pass_on(request, "/evaluate")

    async def _pass_on(self, request: web.Request, path: str) -> web.Response:
        body = await request.read()
        if len(body) > REQUEST_BYTES:
            return _problem(413, f"at most {REQUEST_BYTES} bytes")
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> web.Response:
        if not self._headers:
            return _problem(502, _MISSING)
        try:
            return await self._answer(method, path, body)
        except TimeoutError:
            return _problem(504, f"sisters inspect at {self._url} took too long")
        except ClientError:
            return _problem(502, f"sisters inspect does not answer at {self._url}; start it, or set INSPECT_URL")

    async def _answer(self, method: str, path: str, body: bytes | None) -> web.Response:
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        async with self._client().request(
            method, self._url + path, data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False
        ) as answer:
            if answer.status == 401:  # noqa: PLR2004 - it does not know our token
                return _problem(502, "sisters inspect refuses the token; INSPECT_TOKEN must be the same on both sides")
            raw = await _read(answer) if answer.status in _PASSED_ON else None
            if raw is None or not _is_json(raw):
                return _problem(502, f"sisters inspect answered {answer.status}, and nothing that can be shown")
            return web.Response(status=answer.status, body=raw, content_type="application/json")

    def _client(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession()
        return self._session


async def _read(answer: ClientResponse) -> bytes | None:
    """Returns the whole body, None where it is too large."""
    raw = bytearray()
    async for piece in answer.content.iter_chunked(64 * 1024):
        raw += piece
        if len(raw) > _ANSWER_BYTES:
            return None
    return bytes(raw)


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def _problem(status: int, sentence: str) -> web.Response:
    answer = json_answer({"error": sentence, "problems": [sentence]})
    return web.Response(status=status, body=answer.body, content_type="application/json")
