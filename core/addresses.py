"""Where Redis and the broker are, as each client wants to be told: plain, under TLS, or through Redis Sentinel.

One form of a Sentinel address serves both clients: `sentinel://:password@host1:26379,host2:26379/0?master=sisters`.
User, password and database are the master's; `sentinel_password` in the query is that of the sentinels themselves.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SENTINEL: Final = "sentinel://"
SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
_KNOWN: Final = {"master", "sentinel_password"}
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """The sentinels that know which Redis is the master."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    database: int
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)


def sentinels_of(url: str) -> Sentinels | None:
    """Returns what a `sentinel://` address says, None for any other.

    Raises: ValueError with a sentence that repeats no part of a password.
    """
    if not url.startswith(SENTINEL):
        return None
    parts = urlsplit(url)
    account, _, places = parts.netloc.rpartition("@")
    username, _, password = account.partition(":")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not query.get("master"):
        raise ValueError("names no master; add ?master=NAME, as the sentinels call it")
    if query.keys() - _KNOWN:
        raise ValueError("has an unknown parameter; there are master and sentinel_password")
    found = [_HOST.fullmatch(place) for place in places.split(",")]
    hosts = tuple((host[1].strip("[]"), int(host[2] or SENTINEL_PORT)) for host in found if host)
    if len(hosts) < len(found):
        raise ValueError("should name the sentinels as host:port,host:port")
    database = parts.path.strip("/") or "0"
    if not re.fullmatch(r"\d{1,5}", database):
        raise ValueError("should end in a database number, such as /0")
    return Sentinels(
        hosts=hosts,
        master=query["master"],
        database=int(database),
        username=unquote(username),
        password=unquote(password),
        sentinel_password=query.get("sentinel_password", ""),
    )


def place_of(url: str) -> str:
    """Returns where a Redis is, without user and password: host:port/database, a socket's path, or its sentinels."""
    if sentinels := sentinels_of(url):
        return f"{','.join(host_and_port(*each) for each in sentinels.hosts)} (sentinels of {sentinels.master})"
    parts = urlsplit(url)
    if not parts.hostname:
        return parts.path
    database = re.match(r"/\d+$", parts.path)  # anything else may be the rest of a password with a slash in it
    return f"{host_and_port(parts.hostname, parts.port or REDIS_PORT)}{database[0] if database else ''}"


def host_and_port(host: str, port: int | str) -> str:
    """Returns both in one, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker as kombu and Celery want it."""

    url: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


def broker(url: str, *, bound: timedelta | None = None) -> Broker:
    """Returns the broker at our address; `bound` is how long one sentinel may take to answer.

    kombu takes TLS without a word about certificates as leave to check none: here they are always checked.
    """
    sentinels = sentinels_of(url)
    if sentinels is None:
        secure = url.startswith("rediss://") and "ssl_cert_reqs" not in dict(parse_qsl(urlsplit(url).query))
        joined = "&" if "?" in url else "?"
        return Broker(url=f"{url}{joined}ssl_cert_reqs=required" if secure else url)
    account = f"{quote(sentinels.username, safe='')}:{quote(sentinels.password, safe='')}@"
    ask: dict[str, Any] = {"password": sentinels.sentinel_password} if sentinels.sentinel_password else {}
    if bound is not None:
        ask |= {"socket_timeout": bound.total_seconds(), "socket_connect_timeout": bound.total_seconds()}
    return Broker(
        url=";".join(
            f"{SENTINEL}{account if account != ':@' else ''}{host_and_port(host, port)}/{sentinels.database}"
            for host, port in sentinels.hosts
        ),
        options={"master_name": sentinels.master, "sentinel_kwargs": ask},
    )
