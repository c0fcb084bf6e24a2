"""The environment as typed settings; every mistake in it is told at once, name first, with what to do."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from core.addresses import sentinels_of
from core.errors import ConfigurationError

DEFAULT_PROMPTS: Final = Path(__file__).resolve().parent.parent / "prompts"
DEFAULT_MODEL: Final = "gpt-6-luna"
PRICES: Final[Mapping[str, tuple[str, str]]] = {
    "gpt-6-luna": ("0.10", "0.50"),
    "gpt-6-sol": ("2", "10"),
    "gpt-6.1-terra": ("1", "5"),
    "gpt-5.6-luna": ("0.20", "1.20"),
    "gpt-5.4-mini": ("0.75", "4.50"),
}
"""USD per million tokens in and out, for OPENAI_MODEL; a model that is not here costs nothing in our books.

Source: OpenAI's price page as of 2026-11, without the discount for cached input.
"""
SANDBOX_NUMBER: Final = "whatsapp:+14155238886"
"""Twilio's shared sandbox sender; it may send one message per 3 s. Source: Twilio docs as of 2026-11."""
PUBLISHED: Final = frozenset({
    "AC51573251573251573251573251573251", "simulated-auth-token", "simulated-inspect-token",
})  # fmt: skip
"""The account and the tokens of the simulated world: whoever reads this can sign with them."""

_TRACING_PACKAGES: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def _seconds(value: Any) -> Any:
    try:
        return value if isinstance(value, timedelta) else timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        raise ValueError("should be a number of seconds") from None


_Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
_URL: Final = re.compile(r"https?://[^\s/?#]+[^\s?#]*")


def _url(value: str) -> str:
    """Raises: ValueError with a sentence; the value is in none of its words, for it may hold a password."""
    try:
        good = bool(_URL.fullmatch(value) and urlsplit(value).hostname and urlsplit(value).port != 0)
    except ValueError:  # of urlsplit: a port that is no number, half an IPv6 address
        good = False
    if not good:
        raise ValueError("should be https://host[:port][/path], or http://..., without a query")
    return value


_Url = Annotated[str, AfterValidator(_url)]
_UrlOrNone = Annotated[str, AfterValidator(lambda value: _url(value) if value else value)]


def _conninfo(value: str) -> str:
    """Raises: ValueError with a sentence that repeats no part of the value."""
    try:
        conninfo_to_dict(value)
    except Exception:  # noqa: BLE001 - psycopg's message may repeat the password
        raise ValueError(
            "not a connection string that libpq can read; percent-encode special characters, or set POSTGRES_*"
        ) from None
    return value


_Conninfo = Annotated[str, AfterValidator(_conninfo)]

MOST_TURNS_AT_ONCE: Final = 5000
"""Of one worker: a turn is a thread."""


class _Group(BaseModel):
    """Settings that belong together. Field aliases are the names in the environment; secrets are kept out of repr."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)


class RedisSettings(_Group):
    """Where the inboxes are, and Celery's broker."""

    url: str = Field(
        alias="REDIS_URL",
        pattern=r"^(rediss?|unix|sentinel)://",
        repr=False,
        description="e.g. redis://127.0.0.1:6379/0, or sentinel://host1:26379,host2:26379/0?master=NAME",
    )
    broker_url: str = Field(
        alias="BROKER_URL",
        default="",
        pattern=r"^(rediss?|redis\+socket|amqps?|pyamqp|sentinel)://",
        repr=False,
        description="e.g. amqp://user:password@host//, or leave unset to use REDIS_URL",
    )

    @field_validator("url", "broker_url")
    @classmethod
    def _sentinels_are_named(cls, value: str) -> str:
        sentinels_of(value)
        return value

    @property
    def broker(self) -> str:
        """Celery's broker: BROKER_URL, else REDIS_URL."""
        return self.broker_url or self.url


class DatabaseSettings(_Group):
    """Where Postgres is."""

    conninfo: _Conninfo = Field(
        alias="DATABASE_URL",
        repr=False,
        description="e.g. postgresql://user:password@host/sisters, or set POSTGRES_HOST/PORT/DB/USER/PASSWORD",
    )
    pooler: Literal["", "transaction"] = Field(
        alias="DATABASE_POOLER", default="", description="unset, or transaction behind PgBouncer"
    )


class TwilioSettings(_Group):
    """Our account and number at Twilio."""

    account_sid: str = Field(
        alias="TWILIO_ACCOUNT_SID",
        pattern=r"^AC[0-9a-fA-F]{32}$",
        description="AC and 32 hex digits, from the Twilio console",
    )
    auth_tokens: tuple[str, ...] = Field(
        alias="TWILIO_AUTH_TOKEN",
        repr=False,
        min_length=1,
        description="from the Twilio console; two, comma-separated, while rotating",
    )
    number: str = Field(
        alias="TWILIO_WHATSAPP_NUMBER", pattern=r"^whatsapp:\+\d{6,15}$", description="e.g. whatsapp:+14155238886"
    )
    api_key: str = Field(alias="TWILIO_API_KEY", default="", description="SK..., together with TWILIO_API_SECRET")
    api_secret: str = Field(alias="TWILIO_API_SECRET", default="", repr=False, validate_default=True)
    base_url: _UrlOrNone = Field(
        alias="TWILIO_BASE_URL",
        default="",
        validate_default=True,
        description="a stand-in for every twilio.com host; unset in production",
    )

    @field_validator("api_secret")
    @classmethod
    def _goes_with_its_key(cls, value: str, info: ValidationInfo) -> str:
        key = info.data.get("api_key", "")
        if bool(key) != bool(value):
            lacking, given = ("TWILIO_API_SECRET", "TWILIO_API_KEY") if key else ("TWILIO_API_KEY", "TWILIO_API_SECRET")
            raise ValueError(f"{lacking} is missing, {given} is set; set both, or neither to use the token")
        return value

    @field_validator("base_url")
    @classmethod
    def _goes_with_published_credentials(cls, value: str, info: ValidationInfo) -> str:
        known = ["TWILIO_ACCOUNT_SID"] if info.data.get("account_sid") in PUBLISHED else []
        known += ["TWILIO_AUTH_TOKEN"] if not PUBLISHED.isdisjoint(info.data.get("auth_tokens") or ()) else []
        if known and not value:
            raise ValueError(
                f"missing, and {' and '.join(known)} are the published ones of the simulator, with which anybody can "
                "sign; set your own account's, or the simulator's address"
            )
        return value

    @field_validator("auth_tokens", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(token.strip() for token in value.split(",") if token.strip()) if isinstance(value, str) else value


class WebSettings(_Group):
    """The webhook's own settings."""

    public_url: _Url = Field(
        alias="PUBLIC_URL", description="the address that Twilio calls, e.g. https://bot.example.com; a path is allowed"
    )
    host: str = Field(alias="HOST", default="127.0.0.1")
    port: int = Field(alias="PORT", default=8000, ge=1, le=65535)
    processes: int = Field(alias="WEB_CONCURRENCY", default=1, ge=1, le=256)
    metrics_token: str = Field(alias="METRICS_TOKEN", default="", repr=False)

    @field_validator("public_url")
    @classmethod
    def _no_final_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def public_path(self) -> str:
        """The path part of PUBLIC_URL, "" or "/bot": a proxy may or may not strip it."""
        return urlsplit(self.public_url).path


class Provider(_Group):
    """One LLM provider that speaks OpenAI's chat completions. Prices are USD per million tokens."""

    name: str
    base_url: _Url
    model: str
    api_key: str = Field(default="", repr=False)
    usd_in: Decimal = Decimal(0)
    usd_out: Decimal = Decimal(0)


class LlmSettings(_Group):
    """Which models are asked, within which bounds."""

    providers: tuple[Provider, ...] = Field(
        alias="LLM_PROVIDERS",
        description="set OPENAI_API_KEY, or LLM_PROVIDERS to a JSON list of "
        "{name, base_url, model, api_key or api_key_file, usd_in, usd_out}",
    )
    moderation: Literal["openai", "off"] = Field(alias="MODERATION", default="openai")
    moderation_base_url: _Url = Field(
        alias="OPENAI_BASE_URL", default="https://api.openai.com/v1", description="with /v1"
    )
    moderation_api_key: str = Field(alias="OPENAI_API_KEY", default="", repr=False)
    timeout: _Seconds = Field(alias="LLM_TIMEOUT_S", default=timedelta(seconds=45), gt=timedelta(0))

    @field_validator("providers")
    @classmethod
    def _names_differ(cls, value: tuple[Provider, ...]) -> tuple[Provider, ...]:
        if len({provider.name for provider in value}) < len(value):
            raise ValueError("two entries bear the same name")
        return value


class TurnSettings(_Group):
    """Bounds of a turn and of its delivery."""

    deadline: _Seconds = Field(alias="TURN_DEADLINE_S", default=timedelta(seconds=120), gt=timedelta(0))
    ambiguous_wait: _Seconds = Field(alias="AMBIGUOUS_WAIT_S", default=timedelta(seconds=30), gt=timedelta(0))
    retry_max_age: _Seconds = Field(alias="RETRY_MAX_AGE_S", default=timedelta(hours=1), gt=timedelta(0))


class LimitSettings(_Group):
    """Rates and limits; 0 is none, but for the send rate, where unset is none and the channel decides (see `build`)."""

    send_per_second: float | None = Field(alias="SEND_PER_SECOND", default=None, gt=0, description="e.g. 80")
    messages_per_minute: int = Field(alias="PERSON_MESSAGES_PER_MINUTE", default=60, ge=0)
    turns_per_day: int = Field(alias="PERSON_TURNS_PER_DAY", default=0, ge=0)
    tokens_per_day: int = Field(alias="PERSON_TOKENS_PER_DAY", default=0, ge=0)
    budget_usd: Decimal = Field(alias="BUDGET_USD_PER_DAY", default=Decimal(0), ge=0)


class WorkerSettings(_Group):
    """The worker process itself."""

    metrics_port: int | None = Field(alias="METRICS_PORT", default=None, ge=1, le=65535)
    host: str = Field(alias="HOST", default="127.0.0.1")
    metrics_token: str = Field(alias="METRICS_TOKEN", default="", repr=False)


class InspectSettings(_Group):
    """What shows timelines, routing and cast. It shows texts: HOST, where the webhook listens, is not for it."""

    host: str = Field(alias="INSPECT_HOST", default="127.0.0.1")
    port: int = Field(alias="INSPECT_PORT", default=8001, ge=1, le=65535)
    token: str = Field(
        alias="INSPECT_TOKEN",
        repr=False,
        min_length=16,
        pattern=r"^[!-~]+$",
        description="at least 16 printable characters, e.g. from: openssl rand -hex 24",
    )
    database: _Conninfo = Field(
        alias="INSPECT_DATABASE_URL", default="", repr=False, description="unset to read as the role of DATABASE_URL"
    )
    base_url: _UrlOrNone = Field(alias="TWILIO_BASE_URL", default="", validate_default=True)

    @field_validator("base_url")
    @classmethod
    def _goes_with_a_published_token(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("token") in PUBLISHED and not value:
            raise ValueError("missing, and INSPECT_TOKEN is the published one of the simulator; set one of your own")
        return value


class RetentionSettings(_Group):
    """How long what people wrote, and what they were answered, is kept."""

    days: int = Field(
        alias="RETENTION_DAYS", default=0, ge=0, le=3650, description="whole days, 2 or more; 0 keeps everything"
    )

    @field_validator("days")
    @classmethod
    def _outlasts_a_day(cls, value: int) -> int:
        if value == 1:
            raise ValueError("less than a day's limits and Twilio's 24 hours look back")
        return value

    @property
    def keep(self) -> timedelta | None:
        """So long; None: for ever."""
        return timedelta(days=self.days) if self.days else None


class TracingSettings(_Group):
    """Whether traces are exported, and where to. Whatever else OTEL_* says, OpenTelemetry's SDK reads by itself."""

    disabled: str = Field(alias="OTEL_SDK_DISABLED", default="")
    exporter: str = Field(alias="OTEL_TRACES_EXPORTER", default="otlp", description="none switches traces off")
    protocol: str = Field(alias="OTEL_EXPORTER_OTLP_PROTOCOL", default="http/protobuf")
    headers: str = Field(alias="OTEL_EXPORTER_OTLP_HEADERS", default="", repr=False)
    endpoint: _UrlOrNone = Field(
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        default="",
        description="a collector's address, e.g. http://127.0.0.1:4318; unset: no traces",
    )
    traces_endpoint: _UrlOrNone = Field(
        alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        default="",
        description="the same for traces alone, with its path, e.g. http://127.0.0.1:4318/v1/traces",
    )

    @property
    def on(self) -> bool:
        """Whether this process is traced."""
        return bool(self.endpoint or self.traces_endpoint) and not _forbids_traces(self.disabled, self.exporter)

    @field_validator("endpoint", "traces_endpoint")
    @classmethod
    def _can_be_reached(cls, value: str, info: ValidationInfo) -> str:
        if not value or _forbids_traces(info.data["disabled"], info.data["exporter"]):
            return value
        if not all(map(_installed, _TRACING_PACKAGES)):
            raise ValueError(
                "the packages that send traces are not installed; run uv sync --extra tracing, or pip install "
                "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, or unset the variable"
            )
        if info.data["protocol"] != "http/protobuf":
            raise ValueError("traces are sent as http/protobuf alone; unset OTEL_EXPORTER_OTLP_PROTOCOL")
        return value


def _forbids_traces(disabled: str, exporter: str) -> bool:
    return disabled.strip().lower() == "true" or exporter.strip().lower() == "none"


def _installed(package: str) -> bool:
    """Whether that could be imported; without importing it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


class EmbeddingSettings(_Group):
    """Likeness by embeddings: any server that speaks OpenAI's embeddings; off without a base URL."""

    base_url: _UrlOrNone = Field(alias="EMBEDDINGS_BASE_URL", default="", description="with /v1; unset: no embeddings")
    model: str = Field(alias="EMBEDDINGS_MODEL", default="text-embedding-3-small")
    api_key: str = Field(alias="EMBEDDINGS_API_KEY", default="", repr=False)


class PromptSettings(_Group):
    """Where the cast is."""

    directory: Path = Field(alias="PROMPTS_DIR", default=DEFAULT_PROMPTS)

    @field_validator("directory")
    @classmethod
    def _exists(cls, value: Path) -> Path:
        if not value.is_dir():
            raise ValueError("no such directory of prompts; leave unset to use the ones that are shipped")
        return value


_AnyGroup = TypeVar("_AnyGroup", bound=_Group)
SECRETS: Final = (
    "DATABASE_URL", "INSPECT_DATABASE_URL", "BACKUP_DATABASE_URL",
    "POSTGRES_PASSWORD", "REDIS_URL", "BROKER_URL", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY",
    "TWILIO_API_SECRET", "OPENAI_API_KEY", "LLM_PROVIDERS", "METRICS_TOKEN", "INSPECT_TOKEN", "EMBEDDINGS_API_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
)  # fmt: skip
"""Variables whose value is told to nobody; each may also come from a file, as NAME_FILE."""


def too_short_a_deadline(llm: LlmSettings, turn: TurnSettings) -> str:
    """Returns the problem of a turn that could not outlast one call of the LLM, or ""."""
    if llm.timeout < turn.deadline:
        return ""
    return "TURN_DEADLINE_S: should be more than LLM_TIMEOUT_S; a turn asks the LLM up to twice"


class Environment:
    """One reading of the environment. Ask it for groups, then `check()`: it raises for all of them at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._values: dict[str, Any] = {name: value for name, value in environ.items() if value.strip()}
        for name in SECRETS:
            self._read_file(name)
        self._compose_database_url()

    def prefer(self, name: str, instead_of: str) -> None:
        """Lets the value of `name`, where there is one, stand for another's in all that is read from now on."""
        if name in self._values:
            self._values[instead_of] = self._values[name]

    def read(self, group: type[_AnyGroup]) -> _AnyGroup:
        """Returns the group's settings. Mistakes are collected: the value is only good once `check()` has passed."""
        values = self._values
        if group is LlmSettings:
            values = values | self._providers()
        try:
            return group.model_validate(values)
        except ValidationError as error:
            self.problems += (_sentence(group, dict(detail)) for detail in error.errors(include_url=False))
            return group.model_construct()

    def check(self) -> None:
        """Raises: ConfigurationError with every problem seen so far, in order of the names, each once."""
        if self.problems:
            raise ConfigurationError(sorted(set(self.problems)))

    def _read_file(self, name: str) -> None:
        path = self._values.pop(f"{name}_FILE", None)
        if path is None or name in self._values:
            return
        try:
            self._values[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(
                f"{name}_FILE: cannot read the file ({type(error).__name__}); check path and permissions"
            )

    def _compose_database_url(self) -> None:
        """POSTGRES_* become one connection string; psycopg quotes, so any password works."""
        if "DATABASE_URL" in self._values or "POSTGRES_HOST" not in self._values:
            return
        names = {"host": "HOST", "port": "PORT", "dbname": "DB", "user": "USER", "password": "PASSWORD"}
        parts = {key: self._values.get(f"POSTGRES_{name}") for key, name in names.items()}
        self._values["DATABASE_URL"] = make_conninfo(
            "", **{"dbname": "sisters", "user": "sisters"} | {k: v for k, v in parts.items() if v}
        )

    def _providers(self) -> dict[str, Any]:
        """LLM_PROVIDERS as a list, or one provider from OPENAI_*."""
        text = self._values.get("LLM_PROVIDERS")
        if text is None:
            if "OPENAI_API_KEY" not in self._values and "OPENAI_BASE_URL" not in self._values:
                return {}
            model = self._values.get("OPENAI_MODEL", DEFAULT_MODEL)
            usd_in, usd_out = PRICES.get(model, ("0", "0"))
            return {"LLM_PROVIDERS": [{
                "name": "openai",
                "base_url": self._values.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
                "model": model,
                "api_key": self._values.get("OPENAI_API_KEY", ""),
                "usd_in": usd_in,
                "usd_out": usd_out,
            }]}  # fmt: skip
        try:
            entries = TypeAdapter(list[dict[str, Any]]).validate_python(json.loads(text), strict=True)
        except ValueError:
            self.problems.append("LLM_PROVIDERS: not a JSON list of objects")
            return {"LLM_PROVIDERS": []}
        if not entries:
            self.problems.append("LLM_PROVIDERS: the list is empty; name one provider or unset it")
        return {"LLM_PROVIDERS": [self._with_key(i, entry) for i, entry in enumerate(entries)]}

    def _with_key(self, index: int, entry: dict[str, Any]) -> dict[str, Any]:
        known = {*Provider.model_fields, "api_key_file"}
        self.problems += (f"LLM_PROVIDERS: entry {index}: unknown key {key}" for key in entry.keys() - known)
        path = entry.pop("api_key_file", None)
        if path is not None:
            try:
                entry["api_key"] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError, TypeError) as error:
                self.problems.append(f"LLM_PROVIDERS: entry {index}: cannot read api_key_file ({type(error).__name__})")
        return entry


_OF_PYDANTIC: Final = re.compile(
    r"^(Value error, |(Input|String|Tuple) (?=should ))| after validation, not \d+$|, unable to parse .*$"
)


def _sentence(group: type[_Group], detail: dict[str, Any]) -> str:
    """One problem as "NAME: what is wrong; what to do", without the value (it may be a secret)."""
    name, *rest = detail["loc"]
    field = next((f for key, f in group.model_fields.items() if name in (key, f.alias)), None)
    match detail["type"]:
        case "missing":
            what = "missing"
        case "string_pattern_mismatch":
            what = "not of this form"  # the form in words is the field's description
        case _:
            what = _OF_PYDANTIC.sub("", str(detail["msg"]))
    where = f" (entry {'.'.join(map(str, rest))})" if rest else ""
    hint = f"; {field.description}" if field is not None and field.description else ""
    # A default that is wrong together with another value is named by its field.
    return f"{(field and field.alias) or name}: {what}{where}{hint}"
