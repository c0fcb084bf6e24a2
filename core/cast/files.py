"""The form of the files in prompts/ and the reading of them: every mistake becomes one sentence, file and key first."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

CommandName = Literal["stop", "start", "delete", "help"]
"""What every cast understands."""
_AnyCommand = Literal[CommandName, "why"]
SharedKey = Literal["welcome", "crisis", "stopped", "started", "delete_ask", "deleted", "help"]
"""Fixed texts that all of the cast share."""
VoiceKey = Literal["refusal", "failure", "unsupported", "empty", "budget"]
"""Fixed texts that each character may word for herself; the shared file holds the wording for those who do not."""
WhyKey = Literal[
    "why_lead",
    "why_addressed",
    "why_instead",
    "why_words",
    "why_likeness",
    "why_embeddings",
    "why_model",
    "why_stay",
    "why_default",
    "why_together",
    "why_took_over",
    "why_new",
]
"""What answers the command `why`, for a cast that understands it; the first of them in each character's own wording."""
_AnyKey = Literal[SharedKey, VoiceKey, WhyKey]

COMMAND_NAMES: Final[tuple[CommandName, ...]] = get_args(CommandName)
SHARED_KEYS: Final[tuple[SharedKey, ...]] = get_args(SharedKey)
VOICE_KEYS: Final[tuple[VoiceKey, ...]] = get_args(VoiceKey)
WHY_KEYS: Final[tuple[WhyKey, ...]] = get_args(WhyKey)
WHY: Final = "why"
SHARED_PLACEHOLDERS: Final = ("{name}", "{names}")
WHY_PLACEHOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "why_instead": ("{who}",),
    "why_words": ("{terms}",),
    "why_model": ("{who}",),
    "why_took_over": ("{who}",),
}
"""Beside the shared ones."""
OWN_PLACEHOLDERS: Final = ("{name}",)
LONGEST_COMMAND: Final = 80
"""Characters; a longer message is no command and is not looked at."""

CHARACTER_ENDING: Final = ".toml"
TOPICS_ENDING: Final = ".topics.toml"
PRIVATE_PROMPT_ENDING: Final = "_system_prompt.txt"
EXAMPLE_PROMPT_ENDING: Final = "_system_prompt.example.txt"
NO_CHARACTERS: Final = ("cast", "routing")
"""Stems of .toml files that describe nobody: cast.toml is read here, routing.toml by the routing."""
ID: Final = re.compile(r"[a-z][a-z0-9_]*")

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Words = list[_Text]
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
_SAYINGS: Final = {
    "missing": "missing key",
    "extra_forbidden": "unknown key",
    "string_too_short": "is empty",
    "too_short": "is empty",
    "string_type": "must be a text in quotes",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CastFile(_File):
    """cast.toml."""

    family: _Text
    languages: Annotated[list[_Text], Field(min_length=1)]
    safety: _Text


class LanguageFile(_File):
    """texts/<language>.toml."""

    commands: dict[_AnyCommand, _Words] = {}
    texts: dict[_AnyKey, _Text] = {}
    function_words: _Words = []
    letters: str = ""
    name_separator: str = ", "
    last_name_separator: str = ", "
    quotes: Annotated[str, StringConstraints(min_length=2, max_length=2)] = "\u201c\u201d"

    def missing(self, *, why: bool) -> Iterable[str]:
        """Returns the keys that this file would lack as the one that every language falls back to.

        `why`: some language has the command of that name.
        """
        yield from (f"texts.{key}" for key in WHY_KEYS if why and key not in self.texts)
        yield from (f"texts.{key}" for key in (*SHARED_KEYS, *VOICE_KEYS) if key not in self.texts)
        yield from (f"commands.{name}" for name in COMMAND_NAMES if not self.commands.get(name))


class CharacterFile(_File):
    """<id>.toml."""

    name: _Text
    emoji: _Text
    order: int = 0
    default: bool = False
    summary: _Text
    aliases: _Words = []
    texts: dict[str, dict[Literal[VoiceKey, "why_lead"], _Text]] = {}


class TopicsTable(_File):
    """One language's table in <id>.topics.toml."""

    keywords: _Words = []
    triggers: _Words = []


_Model = TypeVar("_Model", bound=_File)


class Reader:
    """Reads the files of one directory and gathers in `problems` what is wrong with them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[str] = []

    def problem(self, file: str, what: str) -> None:
        """Notes one mistake; an empty `file` speaks of the directory as a whole."""
        self.problems.append(f"{self.directory / file}: {what}")

    def names(self, folder: str, ending: str) -> list[str]:
        """Returns what stands before the ending in the folder's file names, sorted; hidden files left out."""
        found = (path.name for path in (self.directory / folder).glob(f"*{ending}"))
        return sorted(name.removesuffix(ending) for name in found if not name.startswith("."))

    def exists(self, file: str) -> bool:
        """Whether there is such a file, readable or not."""
        return (self.directory / file).exists() or (self.directory / file).is_symlink()

    def read(self, file: str) -> str | None:
        """Returns the file's text without a byte order mark (Windows editors write one), None after a problem."""
        try:
            return (self.directory / file).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self.problem(file, f"is not UTF-8 (byte {error.start})")
        except OSError as error:
            self.problem(file, f"cannot be read: {error.strerror}")
        return None

    def table(self, file: str) -> dict[str, object] | None:
        """Returns the file's TOML, None after a problem."""
        content = self.read(file)
        if content is None:
            return None
        try:
            return tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            self.problem(file, f"is not TOML: {error}")
            return None

    def model(self, kind: type[_Model], file: str) -> _Model | None:
        """Returns the file as that model, None after a problem."""
        table = self.table(file)
        return None if table is None else self.check(kind, file, table)

    def check(self, kind: type[_Model], file: str, table: object, *above: str) -> _Model | None:
        """Returns the table as that model, None after a problem; `above` are the keys that lead to the table."""
        try:
            return kind.model_validate(table)
        except ValidationError as error:
            for mistake in error.errors(include_url=False, include_input=False):
                place, saying = (*above, *mistake["loc"]), _SAYINGS.get(mistake["type"], mistake["msg"])
                if place[-1] == "[key]":
                    place, saying = place[:-1], "unknown key"
                self.problem(file, f"{'.'.join(map(str, place))}: {saying}")
            return None

    def check_placeholders(self, file: str, place: str, text: str, known: Sequence[str]) -> None:
        """Notes each `{word}` in a fixed text that nothing would fill in."""
        for found in _PLACEHOLDER.findall(text):
            if found not in known:
                self.problem(file, f"{place}: unknown placeholder {found}, known here: {', '.join(known)}")

    def check_language(self, file: str, place: str, tag: str, languages: Sequence[str] | None) -> None:
        """Notes a language that the cast does not speak. `languages` is None when cast.toml itself cannot be read."""
        if languages is not None and tag not in languages:
            self.problem(file, f"{place}: unknown language {tag}: cast.toml does not list it")
