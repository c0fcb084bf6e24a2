"""The environment as the processes read it: every variable, what is wrong with it, and what is risky about it."""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict
from rapidfuzz import fuzz, process

from core.adapters.twilio import MESSAGE_PATH, STATUS_PATH
from core.config import (
    MOST_TURNS_AT_ONCE,
    SANDBOX_NUMBER,
    SECRETS,
    DatabaseSettings,
    EmbeddingSettings,
    Environment,
    InspectSettings,
    LimitSettings,
    LlmSettings,
    PromptSettings,
    Provider,
    RedisSettings,
    RetentionSettings,
    TracingSettings,
    TurnSettings,
    TwilioSettings,
    WebSettings,
    WorkerSettings,
    too_short_a_deadline,
)
from core.doctor.finding import Findings

AREA: Final = "configuration"
SIMULATED: Final = "simulated"
"""The subject of what says which part of the world is not the real one."""
_ACCOUNT: Final = re.compile(r"(?<=:)//[^/@]*@")
_OPENAI: Final = "api.openai.com"
_PARTS_OF_DATABASE_URL: Final = tuple(f"POSTGRES_{part}" for part in ("HOST", "PORT", "DB", "USER", "PASSWORD"))
_MORE: Final = (*_PARTS_OF_DATABASE_URL, "OPENAI_MODEL", "ACCESS_LOG", "WORKER_CONCURRENCY")
"""Variables that become part of another one's value, or that only what starts a process reads."""
_INSPECTOR: Final = ("INSPECT_HOST", "INSPECT_PORT", "INSPECT_TOKEN", "INSPECT_DATABASE_URL")
"""Where none of them is set, nobody means to start `sisters inspect`, and it may lack its token."""
_LIKELY_A_SLIP: Final = 85.0
"""Of 100: names as like as this differ by a letter or two."""
_OTHERS_OWN: Final = ("TWILIO_REGION", "TWILIO_EDGE", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_LOG")
"""Read by the vendors' clients."""
_OPENTELEMETRY: Final = "OTEL_"
"""What begins so is OpenTelemetry's; its SDK reads far more of it than we do."""
_POOLER_PORT: Final = "6432"
_OF_A_CONTAINER: Final = Path("/run/secrets")
"""Where Docker, Podman and our manifests put secrets: of mode 0444, and in a container that nobody else looks into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What could be read; None where something is wrong with it."""

    database: DatabaseSettings | None
    redis: RedisSettings | None
    twilio: TwilioSettings | None
    web: WebSettings | None
    llm: LlmSettings | None
    limits: LimitSettings | None
    retention: RetentionSettings | None
    embeddings: EmbeddingSettings | None
    prompts: PromptSettings | None
    turn: TurnSettings | None
    worker: WorkerSettings | None
    tracing: TracingSettings | None


_GROUPS: Final[Mapping[str, type[Any]]] = {
    "web": WebSettings,
    "twilio": TwilioSettings,
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "llm": LlmSettings,
    "turn": TurnSettings,
    "limits": LimitSettings,
    "retention": RetentionSettings,
    "worker": WorkerSettings,
    "prompts": PromptSettings,
    "embeddings": EmbeddingSettings,
    "tracing": TracingSettings,
}


def read(environ: Mapping[str, str], *, own: Path = _OF_A_CONTAINER) -> tuple[Settings, Findings]:
    """Returns the settings with what there is to say about them; never raises.

    `own`: below it every file is ours alone, whatever its mode says.
    """
    findings, environment = Findings(AREA), Environment(environ)

    def group(kind: type[Any]) -> Any:
        before = len(environment.problems)
        settings = environment.read(kind)
        if len(environment.problems) > before:
            return None
        for name, field in kind.model_fields.items():
            findings.good(str(field.alias), _value(str(field.alias), getattr(settings, name), environ))
        return settings

    read_groups: dict[str, Any] = {name: group(kind) for name, kind in _GROUPS.items()}
    settings = Settings(**read_groups)
    if any(_given(name, environ) for name in _INSPECTOR):
        group(InspectSettings)
    if settings.llm and settings.turn and (problem := too_short_a_deadline(settings.llm, settings.turn)):
        environment.problems.append(problem)
    for problem in sorted(set(environment.problems)):
        name, _, rest = problem.partition(": ")
        what, _, fix = rest.partition("; ")
        findings.wrong(name, what, fix or "correct it")
    _weigh(settings, findings)
    _weigh_starters(environ, findings)
    _slips(environ, findings)
    _open_files(environ, findings, own)
    findings.found = list(dict.fromkeys(findings.found))
    return settings, findings


def is_here(host: str) -> bool:
    """Whether a host name or address is this machine or a private network: nothing leaves it in the open."""
    if not host or host.startswith("/") or host == "localhost" or "." not in host.strip("[]").replace(":", "."):
        return True  # a socket, or a name without a domain: a container's or a cluster's own
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host.endswith((".local", ".internal", ".svc", ".localhost"))
    return address.is_private or address.is_loopback


def _value(name: str, value: Any, environ: Mapping[str, str]) -> str:
    """A value as it is in force, without any secret."""
    given = _given(name, environ)
    if name == "LLM_PROVIDERS":
        shown = ", ".join(f"{provider.name} ({provider.model}){_elsewhere(provider)}" for provider in value)
        return shown if given else f"{shown}, from OPENAI_*"
    if name == "DATABASE_URL" and not given:
        return "set by POSTGRES_*"
    if name in SECRETS:
        rotating = name == "TWILIO_AUTH_TOKEN" and len(value) > 1
        return "set, two while rotating: the first calls, both sign" if rotating else "set" if value else "not set"
    shown = f"{value.total_seconds():g} s" if isinstance(value, timedelta) else str(value)
    if value in ("", None):
        return "not set"
    shown = _ACCOUNT.sub("//...@", shown)
    if name == "TWILIO_BASE_URL":
        shown += ": a stand-in for Twilio, nothing reaches a real phone"
    return shown if given else f"{shown} (default)"


def _given(name: str, environ: Mapping[str, str]) -> bool:
    return any(environ.get(key, "").strip() for key in (name, f"{name}_FILE"))


def _elsewhere(provider: Provider) -> str:
    return "" if urlsplit(provider.base_url).hostname == _OPENAI else f" at {origin(provider.base_url)}"


def origin(url: str) -> str:
    """Host and port of an address, without an account that it may carry."""
    return urlsplit(url).netloc.rpartition("@")[2]


def simulated(twilio: TwilioSettings | None, llm: LlmSettings | None) -> Sequence[str]:
    """Returns what stands in for something real. A model does where it is asked at Twilio's stand-in.

    One elsewhere may be simulated or a server of somebody's own: its address is told, and no more is known.
    """
    if twilio is None or not twilio.base_url:
        return ()
    stand_in = origin(twilio.base_url)
    models = [p.name for p in (llm.providers if llm else ()) if origin(p.base_url) == stand_in]
    return [f"Twilio at {stand_in}", *(f"model {name} at {stand_in}" for name in models)]


def _weigh(settings: Settings, findings: Findings) -> None:
    """What is allowed, and should be known."""
    if stand_ins := simulated(settings.twilio, settings.llm):
        findings.good(SIMULATED, ", ".join(stand_ins))
    if settings.web is not None:
        _weigh_path(settings.web.public_path, findings)
    if settings.twilio is not None:
        _weigh_twilio(settings.twilio, settings.web, findings)
    if settings.llm is not None and settings.limits is not None:
        _weigh_spending(settings.llm, settings.limits, findings)
    if settings.database is not None and not settings.database.pooler:
        port = str(conninfo_to_dict(settings.database.conninfo).get("port") or "")
        if port == _POOLER_PORT:
            findings.risky(
                "DATABASE_POOLER",
                f"not set, and port {port} is usually PgBouncer's: prepared statements would clash there",
                "set DATABASE_POOLER=transaction when it is",
            )


def _weigh_path(path: str, findings: Findings) -> None:
    message, status = (named.partition("#")[0] for named in (MESSAGE_PATH, STATUS_PATH))
    if pasted := next((named for named in (message, status) if path.endswith(named)), None):
        findings.risky(
            "PUBLIC_URL",
            f"ends in {pasted}, as if it were the webhook's whole address: Twilio would have to call {path}{message}",
            f"leave {pasted} out",
        )


def _weigh_twilio(twilio: TwilioSettings, web: WebSettings | None, findings: Findings) -> None:
    if twilio.base_url:
        return
    if twilio.number == SANDBOX_NUMBER:
        findings.risky(
            "TWILIO_WHATSAPP_NUMBER",
            "Twilio's shared sandbox: one message per 3 s, and people have to join again every three days",
            "fine for trying out; for real use register a WhatsApp sender of your own",
        )
    if web is None:
        return
    host = urlsplit(web.public_url).hostname or ""
    if is_here(host):
        findings.wrong(
            "PUBLIC_URL",
            "an address that only this machine or network knows: Twilio cannot call it",
            "set it to the https address that Twilio calls",
        )
    elif not web.public_url.startswith("https://"):
        findings.risky("PUBLIC_URL", "http: what people write travels in the open", "put HTTPS in front of it")


def _weigh_spending(llm: LlmSettings, limits: LimitSettings, findings: Findings) -> None:
    outside = [p for p in llm.providers if not is_here(urlsplit(p.base_url).hostname or "")]
    if outside and not limits.budget_usd:
        findings.risky(
            "BUDGET_USD_PER_DAY", "real models and no bound on what a day may cost", "set it, e.g. BUDGET_USD_PER_DAY=5"
        )
    free = [p.name for p in outside if not (p.usd_in or p.usd_out)]
    if free and limits.budget_usd:
        findings.risky(
            "LLM_PROVIDERS",
            f"no prices are known for {', '.join(free)}: their tokens count as free, and the budget does not see them",
            "give usd_in and usd_out (USD per million tokens) in LLM_PROVIDERS",
        )
    if llm.moderation == "off":
        findings.risky("MODERATION", "off: nothing that is written or answered is judged", "unset it")


def _weigh_starters(environ: Mapping[str, str], findings: Findings) -> None:
    """What gunicorn's file and the workers' unit of systemd read by themselves."""
    if switch := environ.get("ACCESS_LOG", "").strip():
        if switch in ("0", "1"):
            findings.good("ACCESS_LOG", switch)
        else:
            findings.risky("ACCESS_LOG", "only 1 switches it on: no request is logged", "set ACCESS_LOG=1, or unset it")
    if at_once := environ.get("WORKER_CONCURRENCY", "").strip():
        if at_once.isdecimal() and 1 <= int(at_once) <= MOST_TURNS_AT_ONCE:
            findings.good("WORKER_CONCURRENCY", at_once)
        else:
            findings.wrong(
                "WORKER_CONCURRENCY",
                f"no whole number from 1 to {MOST_TURNS_AT_ONCE}: no worker of systemd's would start",
                "correct it, e.g. WORKER_CONCURRENCY=100",
            )


def _slips(environ: Mapping[str, str], findings: Findings) -> None:
    """Names that nobody reads and that are nearly those of ours."""
    known = tuple(_names())
    for name in sorted(environ):
        plain = name.removesuffix("_FILE")
        if plain in known or plain in _OTHERS_OWN or plain.startswith(_OPENTELEMETRY):
            continue
        near = process.extractOne(plain, known, scorer=fuzz.ratio, score_cutoff=_LIKELY_A_SLIP)
        if near is not None:
            findings.risky(name, "nobody reads this variable", f"did you mean {near[0]}?")


def _names() -> Iterator[str]:
    for kind in (*_GROUPS.values(), InspectSettings):
        yield from (str(field.alias) for field in kind.model_fields.values())
    yield from _MORE


def _open_files(environ: Mapping[str, str], findings: Findings, own: Path) -> None:
    """Secrets in files that others on this machine can read."""
    for name in SECRETS:
        path = environ.get(f"{name}_FILE", "")
        try:
            mode = Path(path).stat().st_mode if path else 0
        except OSError:
            continue  # told already
        if mode & stat.S_IROTH and os.name == "posix" and not Path(path).resolve().is_relative_to(own):
            findings.risky(
                f"{name}_FILE",
                "everybody on this machine can read the file",
                "make it the group's of whoever runs the bot (chgrp, chmod g+r), then chmod o-r it",
            )
