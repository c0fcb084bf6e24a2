"""Looks a cast over for its writer: words that two characters share, examples that reach another, missing languages."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from core.cast.characters import Cast
from core.cast.examples import FOLDER, NOBODY, Example
from core.cast.files import TOPICS_ENDING
from core.routing.features import Features
from core.routing.learning import Lesson
from core.routing.model import classes_of, lessons_of, model_of_lessons
from core.routing.phrases import Phrases
from core.routing.text import fold
from core.routing.words import Vocabulary

PARTS: Final = 5
"""The examples are cut into as many; each part is judged by a model that learnt from the others."""
_CERTAIN: Final = 0.9
"""How sure such a model has to be of somebody else before the writer is bothered with it."""
_FEW: Final = 20
"""Examples of one character in one language, below which likeness has little to go by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the writer should mend."""

    file: Path
    line: int
    """0 where no single line is to blame."""
    what: str
    concerns: frozenset[str]
    """Ids of whoever has to do with it, NOBODY among them."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the examples, and all that a model learns from which has not seen them. Goes to another process."""

    classes: tuple[str, ...]
    learnt: Sequence[Lesson]
    asked: Mapping[int, Features]
    """What each example shows, by its number in the cast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whom an example reaches, judged by a model that had not seen it."""

    number: int
    """Of the example in the cast."""
    reaches: str
    """Id, "" for nobody."""
    likely: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many examples of one character in one language reach her, judged by a model that had not seen them."""

    character: str
    language: str
    right: int
    of: int


def shared_words(cast: Cast, directory: Path) -> list[Finding]:
    """Returns each trigger of one character that is a word of another in the same language."""
    lines = {each: _lines_of_words(directory / f"{each}{TOPICS_ENDING}") for each in cast.characters}
    found: list[Finding] = []
    for (language, text), owners in _owners(cast).items():
        if len(owners) > 1 and any(strong for _, strong in owners):
            (first, _), *others = owners
            names = " and ".join(name for name, _ in others)
            found.append(
                Finding(
                    file=directory / f"{first}{TOPICS_ENDING}",
                    line=lines[first].get((language, text), 0),
                    what=f'[{language}] "{text}" is a word of {names} too: leave it to one of them',
                    concerns=frozenset(name for name, _ in owners),
                )
            )
    return found


def missing_languages(cast: Cast, directory: Path) -> list[Finding]:
    """Returns the languages of the cast in which somebody has no words, or few or no examples."""
    found: list[Finding] = []
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for example in cast.examples:
        counts[_owner(example), example.language] += 1
    for language in cast.languages:
        for character in cast.characters.values():
            topics = character.topics.get(language)
            if topics is None or not (topics.keywords or topics.triggers):
                file = directory / f"{character.id}{TOPICS_ENDING}"
                what = f"no words in {language}"
                found.append(Finding(file=file, line=0, what=what, concerns=frozenset({character.id})))
        for owner in (*cast.characters, NOBODY):
            count = counts[owner, language]
            if cast.examples and count < _FEW:
                file = directory / FOLDER / f"{owner}.{language}.txt"
                what = f"{count or 'no'} examples, {_FEW} or more are needed"
                found.append(Finding(file=file, line=0, what=what, concerns=frozenset({owner})))
    return found


def doubled_examples(cast: Cast) -> list[Finding]:
    """Returns each example that another character, or nobody, has as well."""
    first: dict[str, Example] = {}
    found: list[Finding] = []
    for example in cast.examples:
        other = first.setdefault(fold(example.text), example)
        if other.character != example.character:
            what = f"stands in {other.file.name}:{other.line} too: leave it to one of them"
            concerns = frozenset({_owner(example), _owner(other)})
            found.append(Finding(file=example.file, line=example.line, what=what, concerns=concerns))
    return found


def parts_of(cast: Cast, phrases: Phrases, vocabulary: Vocabulary) -> list[Part]:
    """Returns the examples cut into parts, each example read once.

    Which part an example is in hangs on its own words: whatever else is written or taken out, it stays there.
    """
    lessons, classes = lessons_of(cast, phrases, vocabulary), classes_of(cast)
    cut = [crc32(fold(each.text).encode("utf-8", "replace")) % PARTS for each in cast.examples]
    parts: list[Part] = []
    for part in range(PARTS):
        asked = frozenset(number for number, its in enumerate(cut) if its == part)
        learnt = [lesson for number, lesson in enumerate(lessons) if number not in asked]
        features = {number: lessons[number].features for number in sorted(asked)}
        parts.append(Part(classes=classes, learnt=learnt, asked=features))
    return parts


def judge(part: Part) -> list[Verdict]:
    """Returns whom each example of a part reaches: seconds of work, as much as learning the cast anew."""
    model = model_of_lessons(part.classes, part.learnt)
    verdicts: list[Verdict] = []
    for number, seen in part.asked.items():
        likely = model.probabilities(seen)
        best = max(likely, key=likely.__getitem__)
        verdicts.append(Verdict(number=number, reaches=best, likely=likely[best]))
    return verdicts


def strayed_examples(cast: Cast, verdicts: Iterable[Verdict]) -> list[Finding]:
    """Returns the examples that surely reach somebody else, without those whose writer knows it."""
    found: list[Finding] = []
    for verdict in sorted(verdicts, key=lambda each: each.number):
        example, reaches = cast.examples[verdict.number], verdict.reaches or NOBODY
        if verdict.reaches == example.character or verdict.likely < _CERTAIN or example.meant:
            continue
        reached = f"reaches {reaches} ({verdict.likely:.2f})"
        what = f"{reached}: move it, change it, or put ! before it if it is right as it stands"
        concerns = frozenset({_owner(example), reaches})
        found.append(Finding(file=example.file, line=example.line, what=what, concerns=concerns))
    return found


def shares_of(cast: Cast, verdicts: Iterable[Verdict]) -> list[Share]:
    """Returns how many examples reach their character, by character and language."""
    rights: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in verdicts:
        example = cast.examples[verdict.number]
        rights[example.character, example.language].append(verdict.reaches == example.character)
    return [
        Share(character=character or NOBODY, language=language, right=sum(each), of=len(each))
        for (character, language), each in sorted(rights.items())
    ]


def _owner(example: Example) -> str:
    return example.character or NOBODY


def _owners(cast: Cast) -> Mapping[tuple[str, str], Sequence[tuple[str, bool]]]:
    """Language and folded word > the characters whose word it is, and whether it is a trigger of theirs."""
    owners: defaultdict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    for character in cast.characters.values():
        for language, topics in character.topics.items():
            strong = {fold(text) for text in topics.triggers}
            for text in dict.fromkeys(fold(text) for text in (*topics.triggers, *topics.keywords)):
                owners[language, text].append((character.id, text in strong))
    return owners


def _lines_of_words(path: Path) -> Mapping[tuple[str, str], int]:
    """Where each word of a topics file stands, by language and folded word."""
    lines: dict[tuple[str, str], int] = {}
    language = ""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n") if path.exists() else (), 1):
        if line.startswith("["):
            language = line.strip().strip("[]\"'")
        for text in _quoted(line):
            lines.setdefault((language, fold(text.casefold())), number)
    return lines


def _quoted(line: str) -> Iterable[str]:
    return line.split('"')[1::2]
