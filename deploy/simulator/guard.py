"""Keeps other sites out: a page that somebody has open elsewhere must not write to, or read, what runs on loopback.

The simulator's own calls and its page are guarded against everybody, the vendors' calls against browsers: the bot makes
them under whatever name it knows us by, and their credentials, being published, keep nobody out.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from deploy.simulator.rows import MEDIA_PATH

_LOOPBACK: Final = ("localhost",)
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BODIES: Final = frozenset({"POST", "PUT", "PATCH"})
_OTHERS: Final = frozenset({"cross-site", "same-site"})
"""What Sec-Fetch-Site says of a request that another page makes; another port of this machine is same-site."""
_BROWSERS: Final = ("Origin", "Sec-Fetch-Site", "Accept-Language")
"""What tells a browser from the bot. By plain HTTP and another name than loopback's only the last one is always sent: a
page can give it another value, and cannot leave it out.
"""
_PROTECTED: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


def guard(allowed: Iterable[str]) -> Middleware:
    """Returns the middleware; `allowed` are names beside loopback's own by which a browser may call us.

    An address is as good as a name: only a name can be pointed at this machine by whoever owns it (DNS rebinding).
    """
    names = frozenset((*_LOOPBACK, *(name.lower() for name in allowed if name)))

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not _is_ours(request.path):
            refused = _refusal(request, names) if _by_browser(request) else None
            return refused or await handler(request)
        if refused := _refusal(request, names):
            return refused
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _problem(error.status, HTTPStatus(error.status).phrase.lower())
        if not response.prepared:
            for name, value in _PROTECTED.items():
                response.headers.setdefault(name, value)
        return response

    return guarded


def _is_ours(path: str) -> bool:
    own = path == "/" or path.startswith(("/simulator/", "/page/"))
    # The bot follows a redirect to the bytes under whatever name it knows us by; ids cannot be guessed.
    return own and not path.startswith(MEDIA_PATH)


def _refusal(request: web.Request, names: frozenset[str]) -> web.Response | None:
    host = request.headers.get("Host", "")
    if not _is_known(host, names):
        return _problem(403, "this name is not served; name it in SIMULATOR_ALLOWED_HOSTS, or use 127.0.0.1")
    if request.method not in _WRITES:
        return None
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if (origin is not None and urlsplit(origin).netloc.lower() != host.lower()) or site in _OTHERS:
        return _problem(403, "only this simulator's own page may do that from a browser")
    by_browser = origin is not None or site is not None
    if by_browser and request.method in _BODIES and request.content_type != "application/json":
        return _problem(415, "Content-Type must be application/json")
    return None


def _by_browser(request: web.Request) -> bool:
    return any(name in request.headers for name in _BROWSERS)


def _is_known(host: str, names: frozenset[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _problem(status: int, sentence: str) -> web.Response:
    body = json.dumps({"error": sentence, "problems": [sentence]}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=_PROTECTED)
