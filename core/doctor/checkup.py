"""All checks together: each service is asked at the same time, so that those that hang cost their bound once."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import structlog

from core.doctor import cast, door, environment, machine, models, postgres, redis, twilio
from core.doctor.finding import Finding, Findings

_log = structlog.stdlib.get_logger(__name__)


def check(environ: Mapping[str, str], *, offline: bool = False) -> Sequence[Finding]:
    """Returns all findings, in the order of the areas. Never raises, writes nothing.

    `offline`: asks no vendor, and not at our own door, to which the way leads through the internet.
    What cannot be read from the environment is told there, and its service is not asked.
    """
    settings, configuration = environment.read(environ)
    checks: list[tuple[str, Callable[[], Findings]]] = [(machine.AREA, machine.check)]
    if (prompts := settings.prompts) is not None:
        checks.append((cast.AREA, lambda: cast.check(prompts)))
    if (database := settings.database) is not None:
        checks.append((postgres.AREA, lambda: postgres.check(database)))
    if (where := settings.redis) is not None:
        checks.append((redis.AREA, lambda: redis.check(where)))
    if (account := settings.twilio) is not None and not offline:
        checks.append((twilio.AREA, lambda: twilio.check(account, settings.web)))
    if (web := settings.web) is not None and _has_a_door(settings) and not offline:
        checks.append((door.AREA, lambda: door.check(web)))
    if (llm := settings.llm) is not None and not offline:
        checks.append((models.AREA, lambda: models.check(llm)))
    if (vectors := settings.embeddings) is not None and vectors.base_url and not offline:
        checks.append((models.AREA, lambda: models.check_embeddings(vectors)))
    with ThreadPoolExecutor(len(checks), thread_name_prefix="doctor") as threads:
        looked = list(threads.map(_guarded, checks))
    return [finding for each in (configuration, *looked) for finding in each.found]


def _has_a_door(settings: environment.Settings) -> bool:
    """Whether the real Twilio comes in by PUBLIC_URL; an address of this machine alone is told as wrong already."""
    if settings.web is None or settings.twilio is None or settings.twilio.base_url:
        return False
    return not environment.is_here(urlsplit(settings.web.public_url).hostname or "")


def _guarded(named: tuple[str, Callable[[], Findings]]) -> Findings:
    """A check that fails itself is a finding too: the others are still worth reading."""
    area, look = named
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - logged; a doctor that crashes helps nobody
        _log.exception("check_failed", area=area)
        findings = Findings(area)
        findings.broken(
            "check", f"could not be made ({type(error).__name__})", "this is a fault of ours; see the log above"
        )
        return findings
