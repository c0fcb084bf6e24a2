"""Reads routing.toml: how people address someone, which phrases mean no subject, and the thresholds of a cast."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from core.errors import ConfigurationError

FILE: Final = "routing.toml"

Phrase = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Address(_Table):
    """How one language speaks to somebody. All of it is compared folded: case and accents do not matter."""

    greetings: list[Phrase] = []
    """What stands before a name that is spoken to: "hey", "good morning"."""
    follows: list[Phrase] = []
    """What follows such a name where no comma does: "what", "can you". Never a verb in the third person."""
    closers: list[Phrase] = []
    """What stands before a name at the very end where no comma does: "please", "do you think"."""
    requests: list[Phrase] = []
    """How somebody is asked for: "talk to {name}"."""
    leads: list[Phrase] = []
    """Words that may stand between the beginning of a clause and a request: "i", "want", "to"."""

    @field_validator("requests")
    @classmethod
    def _names_somebody(cls, requests: list[str]) -> list[str]:
        for request in requests:
            if request.count("{name}") != 1:
                raise ValueError(f"{request!r} must hold {{name}} once")
        return requests


class Thresholds(_Table):
    """How sure is sure enough."""

    full_length_words: Annotated[float, Field(gt=0)] = 8
    """A message of this length counts as it stands; a shorter one more, a longer one less."""
    sure_at: Annotated[float, Field(ge=0)] = 0.6
    """Adjusted points from which the words decide: a lone keyword in a long message stays below."""
    rest_h: Annotated[float, Field(gt=0)] = 24
    """A conversation that rested for so long begins anew."""


class Phrases(_Table):
    """All of routing.toml."""

    thresholds: Thresholds = Thresholds()
    honorifics: list[Phrase] = []
    """What may hang on a name: "-san", "ちゃん"."""
    address: Mapping[str, Address] = {}
    """By language tag."""
    neutral: Mapping[str, list[Phrase]] = {}
    """By language tag: phrases that hold a topic's word without its subject ("book a table")."""
    endings: Mapping[str, list[str]] = {}
    """By language tag: what a word may end in beyond what it shares with a term of the same stem; absent: anything."""
    compounds: list[str] = []
    """Languages that write compounds as one word, so that a term counts at a word's beginning or end."""


def load_phrases(directory: Path) -> Phrases:
    """Returns the phrases of the cast in that directory.

    Raises: ConfigurationError naming file and key for each mistake.
    """
    path = directory / FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError([f"{path}: {error}"]) from error
    try:
        return Phrases.model_validate(table)
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError(problems) from error
