"""The model of likeness as a value: learnt from a cast, known by a key of what it was learnt from, written as bytes."""

import json
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import copysign, sqrt
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from core.cast.characters import Cast
from core.routing.features import HINT_PLACES, PLACES, Features, features
from core.routing.learning import Lesson, Weights, learn
from core.routing.phrases import Phrases
from core.routing.text import fold
from core.routing.words import Vocabulary, topic_terms

_VERSION: Final = 6
"""Of reading, features and learning: raise it whenever the same cast would give another model."""
_MAGIC: Final = b"sisters likeness 2"
_KEYWORD_WEIGHT: Final = 0.15
_TRIGGER_WEIGHT: Final = 0.3
"""What a topic word by itself counts as an example of its character, so that its misspellings are known too."""
_NOBODY_WEIGHT: Final = 0.5
"""What a function word, or a phrase that holds a topic's word without its subject, counts as an example of nobody."""
_RARE: Final = 4
"""Whose examples are fewer than the most by more than this factor counts each of them more, by the root of it."""
_COUNTS_UP_TO: Final = 12
"""Times: a new sister with twenty examples beside three with two thousand each is learnt all the same."""
_STRONG: Final = 1.0
_STEPS: Final = 127
"""Weights are written in 8 bits, as steps of their square root: 0.6 MB, and one answer in 500 changed by it."""
_FULL: Final = 255
"""Steps of a rarity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What was learnt, and of whom."""

    classes: tuple[str, ...]
    """Ids; "" is nobody."""
    weights: Weights

    def probabilities(self, seen: Features) -> dict[str, float]:
        """Returns how likely each character is, and nobody; they add up to 1."""
        return dict(zip(self.classes, self.weights.probabilities(seen), strict=True))


def key_of(cast: Cast, phrases: Phrases) -> str:
    """Returns a hash of all that a model is learnt from; thresholds change nothing."""
    terms = [[t.text, t.language, t.character, t.points] for t in topic_terms(cast)]
    examples = [[each.character, each.language, each.text] for each in cast.examples]
    rules = [dict(phrases.neutral), dict(phrases.endings), phrases.compounds]
    # What the spelling takes for known words.
    known = [
        [[each.aliases, each.prompt] for each in cast.characters.values()],
        [dict(texts) for _, texts in sorted(cast.texts.items())],
        sorted(cast.word_votes),
    ]
    told = json.dumps([_VERSION, list(cast.characters), cast.languages, terms, examples, rules, known], sort_keys=True)
    return sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def train(cast: Cast, phrases: Phrases, vocabulary: Vocabulary) -> Model:
    """Returns the model of a cast: seconds of work."""
    return model_of_lessons(classes_of(cast), lessons_of(cast, phrases, vocabulary))


def model_of_lessons(classes: tuple[str, ...], lessons: Sequence[Lesson]) -> Model:
    """Returns what these lessons teach; their answers are places in `classes`."""
    return Model(classes=classes, weights=learn(lessons, len(classes)))


def classes_of(cast: Cast) -> tuple[str, ...]:
    """Returns whom a model of this cast tells apart."""
    return ("", *cast.characters)


def lessons_of(cast: Cast, phrases: Phrases, vocabulary: Vocabulary) -> list[Lesson]:
    """Returns what a model of this cast is learnt from: first the examples, in their order, then the cast's words."""
    classes = classes_of(cast)
    weights = _weights_of_examples(each.character for each in cast.examples)
    lessons = [
        Lesson(
            features=see(vocabulary, each.text), answer=classes.index(each.character), weight=weights[each.character]
        )
        for each in cast.examples
    ]
    for term in topic_terms(cast):
        weight = _TRIGGER_WEIGHT if term.points > _STRONG else _KEYWORD_WEIGHT
        seen = features(fold(term.text), ())
        lessons.append(Lesson(features=seen, answer=classes.index(term.character), weight=weight))
    lessons += (
        Lesson(features=features(fold(text), ()), answer=0, weight=_NOBODY_WEIGHT)
        for text in _without_subject(cast, phrases)
    )
    return lessons


def _weights_of_examples(characters: Iterable[str]) -> dict[str, float]:
    counts = Counter(characters)
    most = max(counts.values(), default=0)
    weights = {each: min(_COUNTS_UP_TO, sqrt(most / count)) for each, count in counts.items()}
    return {each: weight if counts[each] * _RARE < most else 1.0 for each, weight in weights.items()}


def _without_subject(cast: Cast, phrases: Phrases) -> Iterable[str]:
    yield from sorted(cast.word_votes)
    for texts in phrases.neutral.values():
        yield from texts


def see(vocabulary: Vocabulary, text: str) -> Features:
    """Returns what a text shows, whatever its spelling."""
    return features(*vocabulary.read(fold(text)))


def to_bytes(model: Model, key: str) -> bytes:
    """Returns the model in a file's form: a line that names it, a line of JSON, the weights compressed."""
    tables = [*model.weights.pieces, *model.weights.hints]
    largest = max(max(map(abs, table)) for table in tables) or 1.0
    steps = b"".join(array("b", (_steps(weight, largest) for weight in table)).tobytes() for table in tables)
    head = _Head(key=key, classes=model.classes, bias=tuple(model.weights.bias), largest=largest)
    rarity = bytes(round(each * _FULL) for each in model.weights.rarity)
    return b"\n".join((_MAGIC, head.model_dump_json().encode(), zlib.compress(steps + rarity, level=9)))


def from_bytes(content: bytes, key: str) -> Model | None:
    """Returns the model that a file holds, None when it was learnt from something else or cannot be read."""
    magic, _, rest = content.partition(b"\n")
    told, _, body = rest.partition(b"\n")
    if magic != _MAGIC:
        return None
    try:
        head = _Head.model_validate_json(told)
        size = len(head.classes) * (PLACES + HINT_PLACES) + PLACES
        steps = zlib.decompressobj().decompress(body, size + 1)
    except (ValidationError, zlib.error):
        return None
    if head.key != key or len(steps) != size or len(head.bias) != len(head.classes):
        return None
    return Model(classes=head.classes, weights=_weights(head, steps))


class _Head(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    classes: tuple[str, ...]
    bias: tuple[float, ...]
    largest: float


def _weights(head: _Head, steps: bytes) -> Weights:
    count = len(head.classes)
    by_byte = [_weight(step, head.largest) for step in (*range(128), *range(-128, 0))]
    tables: list[array[float]] = []
    start = 0
    for length in [PLACES] * count + [HINT_PLACES] * count:
        tables.append(array("f", map(by_byte.__getitem__, steps[start : start + length])))
        start += length
    rarity = array("f", (step / _FULL for step in steps[start:]))
    return Weights(pieces=tables[:count], hints=tables[count:], bias=head.bias, rarity=rarity)


def _steps(weight: float, largest: float) -> int:
    return round(copysign(sqrt(abs(weight) / largest) * _STEPS, weight))


def _weight(steps: int, largest: float) -> float:
    return copysign((steps / _STEPS) ** 2 * largest, steps)
