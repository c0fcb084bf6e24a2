"""Redis, where acknowledged messages wait: does it answer, does it keep them over a restart, may it drop any."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlsplit

from core.adapters.redis_inbox import inboxes, knock
from core.adapters.wakeups import QueueDepth
from core.config import RedisSettings
from core.doctor.environment import is_here
from core.doctor.finding import Findings, told
from core.doctor.machine import weigh_clock
from core.errors import ConfigurationError, OutsideError, Unreachable

AREA: Final = "redis"
_OLDEST: Final = (6, 2)
_WAITS_TOO_LONG_S: Final = 60
_FULL: Final = 0.8
"""Of maxmemory: with noeviction a full Redis takes no message any more."""


def check(settings: RedisSettings) -> Findings:
    """Returns what there is to say of Redis and, where it is another server, of the broker; writes nothing."""
    findings = Findings(AREA)
    try:
        knock(settings.url)
        with closing(inboxes(settings.url)) as box:
            facts, at = box.server()
            backlog = box.backlog()
    except ConfigurationError as error:
        what, _, fix = str(error).partition(": ")[2].partition("; ")
        findings.wrong("REDIS_URL", what, fix)
        return findings
    except Unreachable as error:
        findings.broken("reachable", error.what, error.fix)
        return findings
    except OutsideError as error:
        findings.broken("reachable", f"no answer ({told(error)})", "is it running, and is REDIS_URL right?")
        return findings
    _weigh_server(findings, facts, settings.url)
    _weigh_memory(findings, facts)
    weigh_clock(findings, "clock", at, "Redis")
    oldest = backlog.oldest.total_seconds()
    if oldest > _WAITS_TOO_LONG_S:
        findings.broken("inboxes", f"the oldest waits for {oldest:.0f} s", "no worker takes it: is one running?")
    else:
        findings.good("inboxes", f"{backlog.inboxes} wait")
    if settings.broker != settings.url:
        _ask_broker(findings, settings.broker)
    return findings


def _weigh_server(findings: Findings, facts: Mapping[str, Any], url: str) -> None:
    version = str(facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST:
        findings.broken("version", f"Redis {version} is too old", f"use {'.'.join(map(str, _OLDEST))} or newer")
    else:
        findings.good("version", f"Redis {version}")
    if str(facts.get("role", "master")) != "master":
        findings.broken("role", "this is a replica: nothing can be written", "name the primary in REDIS_URL")
    if str(facts.get("aof_enabled", "0")) == "1":
        findings.good("append-only file", "on: what was acknowledged survives a restart")
    else:
        findings.risky(
            "append-only file",
            "off: a restart of Redis loses messages that no worker had stored yet",
            "appendonly yes (a managed Redis calls it persistence)",
        )
    for name in ("aof_last_write_status", "rdb_last_bgsave_status"):
        if str(facts.get(name, "ok")) != "ok":
            findings.broken(name, "Redis cannot write to its disk", "look at its log and its disk")
    parts = urlsplit(url)
    if parts.scheme == "redis" and not is_here(parts.hostname or ""):
        findings.risky("TLS", "the connection to another host is not encrypted", "use rediss://")


def _weigh_memory(findings: Findings, facts: Mapping[str, Any]) -> None:
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        findings.good("eviction", "noeviction: nothing is dropped to make room")
    else:
        findings.broken(
            "eviction",
            f"{policy}: Redis may drop messages to make room",
            "maxmemory-policy noeviction, or a Redis of our own",
        )
    used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    if most and used > most * _FULL:
        findings.risky("memory", f"{used / most:.0%} of maxmemory are used: full, it takes no message", "give it more")


def _ask_broker(findings: Findings, url: str) -> None:
    try:
        with closing(QueueDepth(url)) as queue:
            findings.good("broker", f"answers; {queue.depth()} wake-ups wait")
    except OutsideError as error:
        findings.broken("broker", f"no answer ({told(error)})", "is it running, and is BROKER_URL right?")
