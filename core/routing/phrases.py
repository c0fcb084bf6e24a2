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
    wishes: list[Phrase] = []
    """Requests that need an end, a comma or one of `tails` behind the name: "want {name}", not "want {name} books"."""
    tails: list[Phrase] = []
    leads: list[Phrase] = []
    """Words that may stand between the beginning of a clause and a request: "i", "want", "to"."""
    nots: list[Phrase] = []
    """Single words that turn a request round: "don't" (talk to {name})."""
    refusals: list[Phrase] = []
    """How somebody is refused: "not you, {name}"."""
    rhetoric: list[Phrase] = []
    """What only looks like a refusal: "why not"."""
    joins: list[Phrase] = []
    """What stands between names that are called together: "and"."""
    everyone: list[Phrase] = []
    """Words for all of them, called like a name: "girls", "{family}"."""
    everyone_follows: list[Phrase] = []
    """What follows such a word where no comma does: "do you", "good morning". Never what also tells of a group.

    Neither in this language nor in another of the file: "hi" greets in one and means "only" in the next.
    """
    everyone_ends: list[Phrase] = []
    """The same where nothing stands behind it any more: "help", "早"."""
    together: list[Phrase] = []
    """Phrases that ask all of them wherever they stand: "all of you", "what do you {family} think"."""
    asks: list[Phrase] = []
    """What a question or a request begins with: "what", "can you". Also lowers the bar for a change of subject."""
    objects: list[Phrase] = []
    """Words that make a name at the end of a question its object: "do you know" {name}."""
    everyone_objects: list[Phrase] = []
    """Further ones before a word for all of them: "how do i meet new" people."""

    @field_validator("requests", "wishes", "refusals")
    @classmethod
    def _names_somebody(cls, requests: list[str]) -> list[str]:
        for request in requests:
            if request.count("{name}") != 1:
                raise ValueError(f"{request!r} must hold {{name}} once")
        return requests


_Share = Annotated[float, Field(ge=0, le=1)]


class Thresholds(_Table):
    """How sure is sure enough."""

    full_length_words: Annotated[float, Field(gt=0)] = 8
    """A message of this length counts as it stands; a shorter one more, a longer one less."""
    sure_at: Annotated[float, Field(ge=0)] = 0.6
    """Adjusted points from which the words decide: a lone keyword in a long message stays below."""
    agree_at: _Share = 0.75
    """What unsure tiers that mean the same one must reach together to decide."""
    switch_at: _Share = 0.85
    """Confidence at which a statement takes a running conversation to somebody else."""
    switch_asked_at: _Share = 0.77
    """The same of a question or a request: who asks about something means it."""
    hint_at: _Share = 0.4
    """Confidence from which a message that does not switch is a sign; a second one in a row for the same one does."""
    hint_lasts: Annotated[int, Field(ge=0)] = 1
    """Messages without a topic that may stand between two signs in a row."""
    grip_h: Annotated[float, Field(gt=0)] = 6
    """A pause after which a running conversation holds nobody any more; shorter pauses loosen it in proportion."""
    rest_h: Annotated[float, Field(gt=0)] = 24
    """A conversation that rested for so long begins anew."""


class LikenessThresholds(_Table):
    """How sure the tiers of likeness have to be."""

    sure_at: _Share = 0.45
    """Probability of a character, from which she answers."""
    lead: _Share = 0.0
    """By which she leads whoever comes next, nobody included."""
    nobody_at: _Share = 0.85
    """Probability that it is nobody's subject, from which embeddings are not asked any more."""
    embeddings_share: _Share = 0.5
    """What embeddings weigh where both are asked; examples weigh the rest."""
    words_lead: Annotated[float, Field(ge=0)] = 6
    """Adjusted points by which the words of one must lead to decide before likeness is asked."""


class Phrases(_Table):
    """All of routing.toml."""

    thresholds: Thresholds = Thresholds()
    likeness: LikenessThresholds = LikenessThresholds()
    honorifics: list[Phrase] = []
    """What may hang on a name: "-san", "ちゃん"."""
    titles: list[Phrase] = []
    """What may stand before a later name of a list: "sister"."""
    not_slips: list[Phrase] = []
    """Words of any language that differ from a name in one letter and still are no slip of it."""
    mentions: list[Phrase] = []
    """Phrases that hold a name and mean none of the cast: a genre, a flower, a famous person."""
    changes: Mapping[str, list[Phrase]] = {}
    """By language tag: what announces another subject ("by the way"): nothing holds the conversation then."""
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
