"""What .env says, over which the environment wins; and what of it a real number needs."""

from collections.abc import Mapping
from pathlib import Path

from core.config import Environment, LlmSettings, TwilioSettings


def with_dotenv(environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """Returns the environment over the file's NAME=VALUE lines, quotes taken off; an empty value counts as none."""
    told: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, is_setting, value = line.strip().partition("=")
            if is_setting and not name.startswith("#"):
                told[name.removeprefix("export ").strip()] = _unquoted(value.strip())
    return {name: value for source in (told, environ) for name, value in source.items() if value}


def twilio_of(environ: Mapping[str, str]) -> TwilioSettings:
    """Our account and number; a model must be named too. Raises: ConfigurationError."""
    read = Environment(environ)
    twilio = read.read(TwilioSettings)
    read.read(LlmSettings)
    read.check()
    return twilio


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value
