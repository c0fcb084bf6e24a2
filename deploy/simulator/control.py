"""The simulator's own calls: people write, faults are set, the log is read."""

import asyncio
import json
import sys
from typing import Any, Final
from urllib.parse import urldefrag

from aiohttp import web
from pydantic import ValidationError

from deploy.simulator.faults import FaultsError, problems_of
from deploy.simulator.inspection import Inspection
from deploy.simulator.knobs import knobs_json
from deploy.simulator.people import people_json
from deploy.simulator.postman import Attempt
from deploy.simulator.rows import MEDIA_PATH, call_json, message_json
from deploy.simulator.settings import Settings
from deploy.simulator.state import Message
from deploy.simulator.twilio_content import Contents
from deploy.simulator.twilio_inbound import Burst, Inbound, InboundError, People
from deploy.simulator.wire import json_answer
from deploy.simulator.world import World

_ALL: Final = str(sys.maxsize)
_MEDIA_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # What a person sends is shown, never run: an HTML or SVG file opened by itself gets no scripts and no origin.
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


class Control:
    """What tests, the demo and the phone page call."""

    def __init__(
        self,
        *,
        settings: Settings,
        world: World,
        contents: Contents,
        people: People,
        inspection: Inspection,
    ) -> None:
        self._settings = settings
        self._world = world
        self._log = world.log
        self._calls = world.calls
        self._faults = world.faults
        self._contents = contents
        self._people = people
        self._inspection = inspection

    def routes(self) -> list[web.RouteDef]:
        """Where all this is found."""
        return [
            web.post("/simulator/inbound", self.inbound),
            web.get("/simulator/messages", self.messages),
            web.get("/simulator/faults", self.faults),
            web.put("/simulator/faults", self.set_faults),
            web.delete("/simulator/state", self.clear),
            web.get("/simulator/calls", self.calls),
            web.get("/simulator/stats", self.stats),
            web.get("/simulator/knobs", self.knobs),
            web.get("/simulator/people", self.people),
            web.get("/simulator/status", self.status),
            web.get("/simulator/events", self._world.events.stream),
            web.get(MEDIA_PATH + "{media}", self.media),
            web.get("/healthz", self.health),
        ]

    async def inbound(self, request: web.Request) -> web.Response:
        """A person writes. 200 with the deliveries when they are over; 202 at once with `"wait": false`."""
        raw = await request.read()
        try:
            if _is_burst(raw):
                return await self._burst(Burst.model_validate_json(raw))
            return await self._one(Inbound.model_validate_json(raw))
        except ValidationError as error:
            return _wrong(problems_of(error))
        except InboundError as error:
            return _wrong([str(error)], status=error.status)

    async def _one(self, inbound: Inbound) -> web.Response:
        message = self._people.write(inbound)
        if not inbound.wait:
            self._world.background.start(self._people.deliver(message, inbound))
            return _json(self._named(message), status=202)
        return _json(self._delivered(message, await self._people.deliver(message, inbound)))

    async def _burst(self, several: Burst) -> web.Response:
        """Written in order; delivered with the same gaps, in the same order or in the opposite one."""
        for each in several.burst:  # all or nothing
            self._people.check(each)
        written = [(self._people.write(each), each) for each in several.burst]
        order = list(range(len(written)))
        if several.shuffle:
            order.reverse()

        async def deliver(number: int) -> list[list[Attempt]]:
            await asyncio.sleep(order.index(number) * several.gap_ms / 1000)
            return await self._people.deliver(*written[number])

        if several.wait:
            answers = await asyncio.gather(*map(deliver, range(len(written))))
            told = [self._delivered(message, each) for (message, _), each in zip(written, answers, strict=True)]
            return _json({"burst": told})
        for number in order:
            self._world.background.start(deliver(number))
        return _json({"burst": [self._named(message) for message, _ in written]}, status=202)

    def _named(self, message: Message) -> dict[str, Any]:
        return {"sid": message.sid, "person": self._log.person(message.sender)}

    def _delivered(self, message: Message, deliveries: list[list[Attempt]]) -> dict[str, Any]:
        return {
            **self._named(message),
            "acknowledged": any(_ok(attempts) for attempts in deliveries),
            "deliveries": [
                {"acknowledged": _ok(attempts), "attempts": [a.as_json() for a in attempts]} for attempts in deliveries
            ],
        }

    async def messages(self, request: web.Request) -> web.Response:
        """The log, oldest first: of one person by any of their ids, or all.

        `after` (a number) leaves out older ones; `limit` all but the newest.
        """
        person, after = request.query.get("person", "").replace(" ", "+"), request.query.get("after", "0")
        if person and not person.startswith("whatsapp:"):  # a plus sign often arrives as the space that it stands for
            person = f"whatsapp:{person if person[:1].isalpha() else '+' + person.removeprefix('+')}"
        limit = request.query.get("limit", _ALL)
        if wrong := [name for name, given in (("after", after), ("limit", limit)) if not given.isdecimal()]:
            return _wrong([f"{name}: must be a whole number" for name in wrong])
        rows = [m for m in self._log.thread(person) if m.number > int(after)]
        return _json([message_json(self._log, row) for row in rows[max(0, len(rows) - int(limit)) :]])

    async def faults(self, request: web.Request) -> web.Response:
        """The document in force."""
        del request
        return _json(self._faults.as_json())

    async def set_faults(self, request: web.Request) -> web.Response:
        """Puts another document in force; `{}` ends all faults. 400 names each key that is wrong."""
        try:
            self._faults.replace(await request.read())
        except FaultsError as error:
            return _wrong(error.problems)
        return _json(self._faults.as_json())

    async def clear(self, request: web.Request) -> web.Response:
        """Forgets messages, people, media and calls and stops what is under way; faults stay."""
        del request
        self._world.clear()
        self._contents.clear()
        return web.Response(status=204)

    async def calls(self, request: web.Request) -> web.Response:
        """The newest calls on the wire, oldest first; `endpoint`, `about` (a SID) and `limit` narrow them."""
        endpoint, about = request.query.get("endpoint", ""), request.query.get("about", "")
        limit = request.query.get("limit", "2000")
        if not limit.isdecimal():
            return _wrong(["limit: must be a whole number"])
        found = [
            (number, call)
            for number, call in self._calls.recent
            if (not endpoint or call.endpoint == endpoint) and (not about or call.about == about)
        ]
        return _json([call_json(self._log, *each) for each in found[max(0, len(found) - int(limit)) :]])

    async def stats(self, request: web.Request) -> web.Response:
        """Counts since the last clearing."""
        del request
        return _json({"calls": self._calls.counts, "faults": self._calls.faults, "messages": len(self._log.thread(""))})

    async def media(self, request: web.Request) -> web.Response:
        """The bytes of an attachment: where the real service redirects to its CDN."""
        found = self._log.media(request.match_info["media"])
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found[0], headers={"Content-Type": found[1], **_MEDIA_HEADERS})

    async def knobs(self, request: web.Request) -> web.Response:
        """What can be made to go wrong."""
        del request
        return _json(knobs_json())

    async def people(self, request: web.Request) -> web.Response:
        """Whose phones the page shows at first."""
        del request
        return _json(people_json())

    async def status(self, request: web.Request) -> web.Response:
        """How this simulator is set up, and whether `sisters inspect` answers."""
        del request
        return _json(
            {
                "webhook_url": urldefrag(self._settings.webhook_url).url,
                "account_sid": self._settings.account_sid,
                "number": self._settings.number,
                "llm_latency_ms": round(self._settings.llm_latency.total_seconds() * 1000),
                "inspect": await self._inspection.alive(),
            }
        )

    async def health(self, request: web.Request) -> web.Response:
        """Alive."""
        del request
        return _json({"ok": True})


def _ok(attempts: list[Attempt]) -> bool:
    return bool(attempts) and attempts[-1].good


def _json(value: Any, *, status: int = 200) -> web.Response:
    answer = json_answer(value, status=status)
    return web.Response(body=answer.body, status=status, content_type="application/json")


def _wrong(problems: list[str], *, status: int = 400) -> web.Response:
    return _json({"error": "; ".join(problems), "problems": problems}, status=status)


def _is_burst(raw: bytes) -> bool:
    try:
        return "burst" in json.loads(raw)
    except (ValueError, TypeError, RecursionError):
        return False
