"""The few HTTP calls that the demo and the tests make, to loopback only; proxies of the environment do not apply."""

import json
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_opener: Final = build_opener(ProxyHandler({}))


class Refused(Exception):
    """An answer that is no success."""


def call(method: str, url: str, value: Any = None, *, timeout_s: float = 30.0) -> Any:
    """Sends `value` as JSON and returns the answer's JSON, None where there is none.

    Raises: Refused on any status but 2xx; OSError when nobody answers.
    """
    body = None if value is None else json.dumps(value).encode()
    request = Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - http, loopback
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            content = answer.read()
    except HTTPError as error:
        with error:
            raise Refused(f"{method} {url}: {error.code} {error.read(500).decode(errors='replace')}") from None
    return json.loads(content) if content else None


def reachable(url: str) -> bool:
    """Whether a GET of that URL is answered with a success within 2 s."""
    try:
        with _opener.open(url, timeout=2.0):
            return True
    except OSError:
        return False
