"""What the environment says about this simulator; everything has a default that works on a laptop."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

SIMULATED_ACCOUNT_SID: Final = "AC51573251573251573251573251573251"
SIMULATED_AUTH_TOKEN: Final = "simulated-auth-token"  # noqa: S105 - published on purpose: it opens nothing but this
SIMULATED_NUMBER: Final = "whatsapp:+15550006000"
WEBHOOK_OVERRIDES: Final = "rc=3&rp=5xx,ct,rt&ct=2000&rt=4000&tt=15000"
"""The retry rules that README recommends for the webhook URL.

Source: Twilio docs on connection overrides as of 2026-11.
"""


class SettingsError(Exception):
    """The environment is wrong; `problems` holds one sentence each, name first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One simulator."""

    host: str = "127.0.0.1"
    port: int = 8099
    """0 takes any free one."""
    own_url: str = ""
    """How the bot reaches this simulator (media URLs start with it); empty: loopback and the bound port."""
    account_sid: str = SIMULATED_ACCOUNT_SID
    auth_token: str = SIMULATED_AUTH_TOKEN
    api_key: str = ""
    api_secret: str = ""
    number: str = SIMULATED_NUMBER
    webhook_url: str = f"http://127.0.0.1:8000/whatsapp#{WEBHOOK_OVERRIDES}"
    llm_latency: timedelta = timedelta(seconds=1)
    messages_kept: int = 100_000
    calls_kept: int = 2_000
    media_bytes_kept: int = 256 * 1024 * 1024
    allowed_hosts: tuple[str, ...] = ()
    """Names beside loopback's by which a browser may call this simulator's own calls and its page."""
    inspect_url: str = "http://127.0.0.1:8001"
    inspect_token: str = field(default="", repr=False)
    """Without one the page cannot look behind the chat."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Returns the settings that these variables describe.

    Raises: SettingsError with everything that is wrong at once.
    """
    problems: list[str] = []
    public_url = environ.get("PUBLIC_URL") or "http://127.0.0.1:8000"
    webhook_url = environ.get("SIMULATOR_WEBHOOK_URL") or f"{public_url.rstrip('/')}/whatsapp#{WEBHOOK_OVERRIDES}"
    settings = Settings(
        host=environ.get("SIMULATOR_HOST") or "127.0.0.1",
        port=_whole(environ, "SIMULATOR_PORT", 8099, problems),
        own_url=(environ.get("SIMULATOR_URL") or "").rstrip("/"),
        account_sid=environ.get("TWILIO_ACCOUNT_SID") or SIMULATED_ACCOUNT_SID,
        auth_token=(_secret(environ, "TWILIO_AUTH_TOKEN", problems) or SIMULATED_AUTH_TOKEN).split(",")[0].strip(),
        api_key=environ.get("TWILIO_API_KEY") or "",
        api_secret=_secret(environ, "TWILIO_API_SECRET", problems),
        number=environ.get("TWILIO_WHATSAPP_NUMBER") or SIMULATED_NUMBER,
        webhook_url=webhook_url,
        allowed_hosts=tuple(filter(None, map(str.strip, environ.get("SIMULATOR_ALLOWED_HOSTS", "").split(",")))),
        inspect_url=(environ.get("INSPECT_URL") or "http://127.0.0.1:8001").rstrip("/"),
        inspect_token=_secret(environ, "INSPECT_TOKEN", problems),
        llm_latency=timedelta(milliseconds=_whole(environ, "SIMULATOR_LLM_LATENCY_MS", 1000, problems)),
    )
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", settings.account_sid):
        problems.append("TWILIO_ACCOUNT_SID must be AC and 32 hexadecimal digits")
    if not re.fullmatch(r"whatsapp:\+\d{6,15}", settings.number):
        problems.append("TWILIO_WHATSAPP_NUMBER must look like whatsapp:+15550006000")
    if not webhook_url.startswith(("http://", "https://")):
        problems.append("SIMULATOR_WEBHOOK_URL (or PUBLIC_URL) must start with http:// or https://")
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", settings.inspect_url):
        problems.append("INSPECT_URL must look like http://127.0.0.1:8001")
    if not re.fullmatch(r"[!-~]*", settings.inspect_token):
        problems.append("INSPECT_TOKEN must be printable ASCII without spaces")
    if settings.port > 65535:  # noqa: PLR2004 - the largest port
        problems.append("SIMULATOR_PORT must be 65535 or less")
    if problems:
        raise SettingsError(problems)
    return settings


def _whole(environ: Mapping[str, str], name: str, default: int, problems: list[str]) -> int:
    text = environ.get(name) or str(default)
    if not re.fullmatch(r"\d{1,9}", text):
        problems.append(f"{name} must be a whole number")
        return default
    return int(text)


def _secret(environ: Mapping[str, str], name: str, problems: list[str]) -> str:
    if file := environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError:
            problems.append(f"{name}_FILE cannot be read")
    return environ.get(name) or ""
