"""The simulator's own calls: people write, faults are set, the log is read; and a page that says what this is."""

from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from deploy.simulator.background import Background
from deploy.simulator.faults import Faults, FaultsError, problems_of
from deploy.simulator.postman import Attempt
from deploy.simulator.state import Calls, Log, Message, iso
from deploy.simulator.twilio_content import Contents
from deploy.simulator.twilio_inbound import Inbound, InboundError, People
from deploy.simulator.wire import json_answer

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulated WhatsApp</title>
<meta name="viewport" content="width=device-width"><h1>Simulated</h1>
<p>This is a stand-in for Twilio and OpenAI. Nothing here reaches a real phone or a real model.</p>
<p>Write to the bot: <code>POST /simulator/inbound {"from": "+491700000001", "body": "hello"}</code><br>
Read along: <a href="/simulator/messages">messages</a>, <a href="/simulator/calls">calls</a>,
<a href="/simulator/stats">stats</a>, <a href="/simulator/faults">faults</a></p></html>"""
_POLICY: Final = {"Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"}


class Control:
    """What tests, the demo and the phone page call."""

    def __init__(
        self,
        *,
        log: Log,
        calls: Calls,
        contents: Contents,
        faults: Faults,
        people: People,
        background: Background,
    ) -> None:
        self._log = log
        self._calls = calls
        self._contents = contents
        self._faults = faults
        self._people = people
        self._background = background

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
            web.get("/simulator/media/{media}", self.media),
            web.get("/healthz", self.health),
            web.get("/", self.page),
        ]

    async def inbound(self, request: web.Request) -> web.Response:
        """A person writes. 200 with the deliveries when they are over; 202 at once with `"wait": false`."""
        try:
            inbound = Inbound.model_validate_json(await request.read())
            message = self._people.write(inbound)
        except ValidationError as error:
            return _wrong(problems_of(error))
        except InboundError as error:
            return _wrong([str(error)])
        if not inbound.wait:
            self._background.start(self._people.deliver(message, inbound))
            return _json({"sid": message.sid, "person": self._log.person(message.sender)}, status=202)
        deliveries = await self._people.deliver(message, inbound)
        return _json(
            {
                "sid": message.sid,
                "person": self._log.person(message.sender),
                "acknowledged": any(_ok(attempts) for attempts in deliveries),
                "deliveries": [
                    {"acknowledged": _ok(attempts), "attempts": [a.as_json() for a in attempts]}
                    for attempts in deliveries
                ],
            }
        )

    async def messages(self, request: web.Request) -> web.Response:
        """The log, oldest first: of one person by any of their ids, or all. `after` (a number) leaves out older."""
        person, after = request.query.get("person", "").replace(" ", "+"), request.query.get("after", "0")
        if person and not person.startswith("whatsapp:"):  # a plus sign often arrives as the space that it stands for
            person = f"whatsapp:{person if person[:1].isalpha() else '+' + person.removeprefix('+')}"
        if not after.isdecimal():
            return _wrong(["after: must be a whole number"])
        rows = [m for m in self._log.thread(person) if m.number > int(after)]
        return _json([message_json(self._log, row) for row in rows])

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
        self._background.stop()
        self._log.clear()
        self._calls.clear()
        self._contents.clear()
        return web.Response(status=204)

    async def calls(self, request: web.Request) -> web.Response:
        """The newest calls on the wire, oldest first; `endpoint`, `about` (a SID) and `limit` narrow them."""
        endpoint, about = request.query.get("endpoint", ""), request.query.get("about", "")
        limit = request.query.get("limit", "2000")
        if not limit.isdecimal():
            return _wrong(["limit: must be a whole number"])
        found = [
            call
            for call in self._calls.recent
            if (not endpoint or call.endpoint == endpoint) and (not about or call.about == about)
        ]
        return _json([call.as_json() for call in found[max(0, len(found) - int(limit)) :]])

    async def stats(self, request: web.Request) -> web.Response:
        """Counts since the last clearing."""
        del request
        return _json({"calls": self._calls.counts, "faults": self._calls.faults, "messages": len(self._log.thread(""))})

    async def media(self, request: web.Request) -> web.Response:
        """The bytes of an attachment: where the real service redirects to its CDN."""
        found = self._log.media(request.match_info["media"])
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found[0], headers={"Content-Type": found[1]})

    async def health(self, request: web.Request) -> web.Response:
        """Alive."""
        del request
        return _json({"ok": True})

    async def page(self, request: web.Request) -> web.Response:
        """What this is. The phone page takes this place."""
        del request
        return web.Response(text=_PAGE, content_type="text/html", headers=_POLICY)


def message_json(log: Log, message: Message) -> dict[str, Any]:
    """Returns a message as `GET /simulator/messages` shows it."""
    form = message.form or {}
    return {
        "number": message.number,
        "sid": message.sid,
        "person": log.person(message.sender if message.direction == "inbound" else message.recipient),
        "direction": message.direction,
        "from": message.sender,
        "to": message.recipient,
        "body": message.body,
        "status": message.status,
        "error_code": message.error_code,
        "created_at": iso(message.created_at),
        "updated_at": iso(message.updated_at),
        "media": [
            {"sid": m.sid, "content_type": m.content_type, "bytes": m.size_bytes, "url": m.url} for m in message.media
        ],
        "profile_name": form.get("ProfileName", ""),
        "quoted_sid": form.get("OriginalRepliedMessageSid", ""),
        "button": form.get("ButtonPayload", ""),
        "location": {"latitude": form["Latitude"], "longitude": form["Longitude"]} if "Latitude" in form else None,
        "status_callback": message.status_callback,
    }


def _ok(attempts: list[Attempt]) -> bool:
    return bool(attempts) and attempts[-1].status // 100 == 2  # noqa: PLR2004 - any success


def _json(value: Any, *, status: int = 200) -> web.Response:
    answer = json_answer(value, status=status)
    return web.Response(body=answer.body, status=status, content_type="application/json")


def _wrong(problems: list[str]) -> web.Response:
    return _json({"error": "; ".join(problems), "problems": problems}, status=400)
