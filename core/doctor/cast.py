"""The cast: can it be read, and would its writer want to know something."""

from typing import Final

from core.cast.characters import load_cast
from core.cast.files import PRIVATE_PROMPT_ENDING
from core.config import PromptSettings
from core.doctor.finding import Findings
from core.errors import ConfigurationError
from core.routing.check import doubled_examples, missing_languages, shared_words

AREA: Final = "cast"


def check(settings: PromptSettings) -> Findings:
    """Returns what there is to say of the files in PROMPTS_DIR; leaves out what takes long (`sisters cast check`)."""
    findings, directory = Findings(AREA), settings.directory
    try:
        cast = load_cast(directory)
    except ConfigurationError as error:
        for problem in error.problems:
            findings.wrong("prompts", problem, "correct the file; prompts/README.md shows how they look")
        return findings
    names = ", ".join(f"{character.name} {character.emoji}" for character in cast.characters.values())
    findings.good("characters", f"{names}; {cast.default.name} begins")
    findings.good("languages", ", ".join(cast.languages))
    own = [character for character in cast.characters if (directory / f"{character}{PRIVATE_PROMPT_ENDING}").exists()]
    findings.good("personas", f"private for {', '.join(own)}" if own else "the public examples")
    to_mend = [*shared_words(cast, directory), *missing_languages(cast, directory), *doubled_examples(cast)]
    if to_mend:
        findings.risky("to mend", f"{len(to_mend)} things, first {to_mend[0].what}", "run sisters cast check")
    return findings
