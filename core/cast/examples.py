"""Example sentences beside the cast: what people write to each character, and what is about no subject at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.cast.files import CHARACTER_ENDING, NO_CHARACTERS, Reader

FOLDER: Final = "examples"
NOBODY: Final = "nobody"
"""Stands in a file's name where a character's id would: no subject, whoever is talking goes on."""
COMMENT: Final = "#"
MEANT: Final = "! "
"""Stands before an example that sounds like somebody else's and is right all the same, so that `sisters cast check` is
silent about it. It is learnt like any other."""
_ENDING: Final = ".txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One message as a person might write it."""

    text: str
    character: str
    """Id of whose subject it is, "" for nobody's."""
    language: str
    file: Path
    line: int
    """From 1."""
    meant: bool = False
    """Whether the writer knows that it sounds like somebody else's."""


def read_examples(reader: Reader, languages: Sequence[str] | None) -> tuple[Example, ...]:
    """Returns the examples of all files examples/<id>.<language>.txt, in order of their names.

    Mistakes are noted with the reader. `languages` is None when cast.toml itself cannot be read.
    """
    found: list[Example] = []
    for stem in reader.names(FOLDER, _ENDING):
        character, _, language = stem.partition(".")
        name = f"{FOLDER}/{stem}{_ENDING}"
        file = reader.directory / name
        known = character not in NO_CHARACTERS and reader.exists(f"{character}{CHARACTER_ENDING}")
        if character != NOBODY and not known:
            reader.problem(name, f"belongs to no character: there is no {character}.toml, and it is not {NOBODY}.*")
        reader.check_language(name, "file name", language, languages)
        for number, line in enumerate((reader.read(name) or "").split("\n"), 1):
            said = line.strip()
            if said and not said.startswith(COMMENT):
                found.append(
                    Example(
                        text=said.removeprefix(MEANT).lstrip(),
                        character="" if character == NOBODY else character,
                        language=language,
                        file=file,
                        line=number,
                        meant=said.startswith(MEANT),
                    )
                )
    return tuple(found)
