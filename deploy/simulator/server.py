"""Puts the simulator together: which call goes where, and how it starts and stops."""

import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from deploy.simulator.background import Background
from deploy.simulator.control import Control
from deploy.simulator.guard import guard
from deploy.simulator.inspection import Inspection
from deploy.simulator.openai_api import OpenAi
from deploy.simulator.openai_audio import transcribe
from deploy.simulator.openai_chat import Chat
from deploy.simulator.openai_embeddings import embed
from deploy.simulator.openai_moderation import Moderations
from deploy.simulator.page_files import Page
from deploy.simulator.postman import Postman
from deploy.simulator.settings import Settings
from deploy.simulator.twilio_api import Twilio
from deploy.simulator.twilio_content import Contents
from deploy.simulator.twilio_inbound import People
from deploy.simulator.twilio_reports import Reports
from deploy.simulator.twilio_rest import Messages
from deploy.simulator.wire import Endpoint, Handler, Vendor
from deploy.simulator.world import World

REQUEST_BYTES: Final = 32 * 1024 * 1024
"""Largest request: an attachment of 16 MB as base64 fits."""
_STOP_SECONDS: Final = 0.1
_BACKLOG: Final = 1024
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A running simulator; `url` is its address on this machine."""

    url: str
    runner: web.AppRunner
    postman: Postman
    background: Background
    inspection: Inspection

    async def stop(self) -> None:
        """Stops at once: calls that hang and webhooks on their way are cut."""
        self.background.stop()
        await self.runner.cleanup()
        await self.postman.close()
        await self.inspection.close()


async def start(settings: Settings) -> Simulator:
    """Returns the simulator once it listens.

    Raises: OSError when it cannot.
    """
    listener = _listen(settings)
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    world, inspection = World(settings), Inspection(settings=settings)
    named = (host, urlsplit(settings.own_url).hostname or "", *settings.allowed_hosts)
    app = web.Application(client_max_size=REQUEST_BYTES, middlewares=[guard(named)])
    app.add_routes(_routes(settings, world, inspection, settings.own_url or url))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    return Simulator(url=url, runner=runner, postman=world.postman, background=world.background, inspection=inspection)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - the only argument it has
    return listener


def _routes(settings: Settings, world: World, inspection: Inspection, own_url: str) -> list[web.RouteDef]:
    log, faults, calls, background = world.log, world.faults, world.calls, world.background
    contents = Contents(account_sid=settings.account_sid)
    reports = Reports(settings=settings, log=log, faults=faults, postman=world.postman, background=background)
    messages = Messages(
        settings=settings, log=log, faults=faults, reports=reports, contents=contents, typed=world.typed
    )
    people = People(settings=settings, log=log, faults=faults, postman=world.postman, own_url=own_url)
    control = Control(settings=settings, world=world, contents=contents, people=people, inspection=inspection)
    twilio, openai = Twilio(settings=settings, faults=faults), OpenAi(faults=faults, log=log)

    def route(method: str, path: str, vendor: Vendor, name: str, handler: Handler) -> web.RouteDef:
        return web.route(method, path, Endpoint(name=name, vendor=vendor, handler=handler, calls=calls).answer)

    account = "/2010-04-01/Accounts/{account}"
    return [
        route("POST", f"{account}/Messages.json", twilio, "create", messages.create),
        route("GET", f"{account}/Messages.json", twilio, "list", messages.list),
        route("GET", f"{account}/Messages/{{sid}}.json", twilio, "fetch", messages.fetch),
        route("POST", f"{account}/Messages/{{sid}}.json", twilio, "update", messages.update),
        route("DELETE", f"{account}/Messages/{{sid}}.json", twilio, "delete", messages.delete),
        route("GET", f"{account}/Messages/{{sid}}/Media.json", twilio, "media", messages.media_list),
        route("GET", f"{account}/Messages/{{sid}}/Media/{{media}}", twilio, "media", messages.media_fetch),
        route("DELETE", f"{account}/Messages/{{sid}}/Media/{{media}}", twilio, "delete", messages.media_delete),
        route("POST", "/v2/Indicators/Typing.json", twilio, "typing", messages.typing),
        route("POST", "/v1/Content", twilio, "content", contents.create),
        route("GET", "/v1/Content/{sid}", twilio, "content", contents.fetch),
        route(
            "POST", "/v1/chat/completions", openai, "chat", Chat(faults=faults, latency=settings.llm_latency).complete
        ),
        route("POST", "/v1/moderations", openai, "moderation", Moderations(faults=faults).create),
        route("POST", "/v1/embeddings", openai, "embeddings", embed),
        route("POST", "/v1/audio/transcriptions", openai, "transcription", transcribe),
        route("GET", "/v1/models", openai, "models", openai.models),
        *control.routes(),
        *inspection.routes(),
        *Page().routes(),
    ]
