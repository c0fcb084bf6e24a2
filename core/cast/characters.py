"""The cast as data: turns prompts/ into typed values and names every mistake in it by file and key."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import regex

from core.cast.examples import NOBODY, Example, read_examples
from core.cast.files import (
    CHARACTER_ENDING,
    COMMAND_NAMES,
    EXAMPLE_PROMPT_ENDING,
    ID,
    LONGEST_COMMAND,
    NO_CHARACTERS,
    OWN_PLACEHOLDERS,
    PRIVATE_PROMPT_ENDING,
    SHARED_KEYS,
    SHARED_PLACEHOLDERS,
    TOPICS_ENDING,
    VOICE_KEYS,
    WHY,
    WHY_PLACEHOLDERS,
    CastFile,
    CharacterFile,
    LanguageFile,
    Reader,
    TopicsTable,
)
from core.errors import ConfigurationError

__all__ = ["Cast", "Character", "Listing", "Topics", "Votes", "load_cast", "normalise", "required_texts", "topics_of"]

Votes = Mapping[str, Sequence[tuple[str, float]]]
"""Word or letter > the languages it speaks for, each with its share of one vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """One character's subject in one language, lower case, words or phrases: `keywords` count +1, `triggers` +5."""

    keywords: tuple[str, ...]
    triggers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """One of the cast."""

    id: str
    name: str
    emoji: str
    default: bool
    summary: str
    """Half a sentence on her subjects, in English, for her sisters' prompts."""
    aliases: tuple[str, ...]
    """Every form in which people write her name, any script, as `normalise` returns it; `name` and `id` included."""
    topics: Mapping[str, Topics]
    """By language tag."""
    prompt: str
    """The persona, without the opening sentence."""
    texts: Mapping[str, Mapping[str, str]]
    """Her own wording of fixed texts: key > language > text; `{name}` is for `Cast.text` to fill in."""
    order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How a language lists and quotes."""

    separator: str
    last_separator: str
    quotes: str

    def join(self, parts: Sequence[str]) -> str:
        """Returns "A, B and C"."""
        *others, last = parts
        return f"{self.separator.join(others)}{self.last_separator}{last}" if others else last


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """All characters with the texts they share; immutable, made once a process by `load_cast`."""

    characters: Mapping[str, Character]
    """By id, in the order of their files' `order` key, then of their ids."""
    default: Character
    family: str
    """What they are to each other, plural, in English: "sisters"."""
    safety: str
    """What every character's system prompt ends with."""
    languages: tuple[str, ...]
    """Language tags with fixed texts; the first is the fallback."""
    texts: Mapping[str, Mapping[str, str]]
    """Shared fixed texts: key > language > text. `{names}` is filled in; `{name}` is for `text` to fill in."""
    commands: Mapping[str, frozenset[str]]
    """Whole-message commands: "stop", "start", "delete", "help", "why" > normalised words of all languages."""
    command_words: Mapping[str, str] = field(default_factory=dict[str, str])
    """The same turned round: normalised words > command."""
    command_languages: Mapping[str, Sequence[str]] = field(default_factory=dict[str, tuple[str, ...]])
    """Normalised words of commands > the languages that list them."""
    listings: Mapping[str, Listing] = field(default_factory=dict[str, Listing])
    """By language tag."""
    word_votes: Votes = field(default_factory=dict[str, tuple[tuple[str, float], ...]])
    """Function words, for `core.cast.language.detect`."""
    letter_votes: Votes = field(default_factory=dict[str, tuple[tuple[str, float], ...]])
    """Letters that tell a language, for `core.cast.language.detect`."""
    examples: tuple[Example, ...] = ()
    """What people write to each of them, and to nobody in particular."""

    def text(self, key: str, language: str, character: Character | None = None) -> str:
        """Returns the fixed text in that language, else in the fallback language; the character's own wording first.

        Being understood comes before voice: the shared wording in the person's language wins over her own wording in
        the fallback language. `{name}` is hers, or the default character's where none is given.

        Raises: KeyError for a key that no file defines.
        """
        voice = character or self.default
        sources = (self.texts,) if character is None else (character.texts, self.texts)
        for tag in (language, self.languages[0]):
            for texts in sources:
                if key in texts and tag in texts[key]:
                    return texts[key][tag].replace("{name}", voice.name)
        raise KeyError(key)

    def quoted(self, terms: Sequence[str], language: str) -> str:
        """Returns the terms in quotation marks, listed as in that language."""
        listing = self.listings.get(language) or self.listings[self.languages[0]]
        return listing.join([f"{listing.quotes[0]}{term}{listing.quotes[1]}" for term in terms])

    def command(self, text: str) -> str | None:
        """Returns the command when the whole message is one of its words or phrases, in any language."""
        if len(text) > LONGEST_COMMAND:
            return None
        return self.command_words.get(normalise(text))


def required_texts() -> Sequence[str]:
    """Returns the keys of fixed texts that a cast must have in its fallback language."""
    return (*SHARED_KEYS, *VOICE_KEYS)


_NAME = "{name}"
_INVISIBLE = regex.compile(r"[\p{Cf}\uFE00-\uFE0F\u20E3]")
_SEPARATOR = regex.compile(r"[^\p{L}\p{M}\p{N}]+")


def normalise(text: str) -> str:
    """Returns the words alone: NFKC, case folded, without punctuation and emoji, one space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SEPARATOR.sub(" ", _INVISIBLE.sub("", folded)).strip()


def load_cast(directory: Path) -> Cast:
    """Returns the cast that the files of a directory describe.

    Raises: ConfigurationError naming file and key for each mistake.
    """
    if not directory.is_dir():
        raise ConfigurationError([f"{directory}: no such directory of prompts"])
    reader = Reader(directory)
    cast = reader.model(CastFile, "cast.toml")
    languages = _read_languages(reader, cast.languages) if cast else {}
    characters = _read_characters(reader, cast.languages if cast else None)
    _compare_characters(reader, characters)
    commands = _read_commands(reader, languages, [alias for each in characters for alias in each.aliases])
    examples = read_examples(reader, cast.languages if cast else None)
    if cast is None or reader.problems:
        raise ConfigurationError(reader.problems)
    ordered = sorted(characters, key=lambda character: (character.order, character.id))
    return _build(cast, languages, commands, ordered, examples)


def _read_languages(reader: Reader, tags: Sequence[str]) -> dict[str, LanguageFile]:
    for tag in sorted({tag for tag in tags if tags.count(tag) > 1}):
        reader.problem("cast.toml", f"languages: {tag} is listed twice")
    for tag in reader.names("texts", ".toml"):
        if tag not in tags:
            reader.problem(f"texts/{tag}.toml", f"unknown language {tag}: cast.toml does not list it")
    read = {tag: reader.model(LanguageFile, f"texts/{tag}.toml") for tag in dict.fromkeys(tags)}
    files = {tag: file for tag, file in read.items() if file}
    for tag, file in files.items():
        for key, text in file.texts.items():
            known = (*SHARED_PLACEHOLDERS, *WHY_PLACEHOLDERS.get(key, ()))
            reader.check_placeholders(f"texts/{tag}.toml", f"texts.{key}", text, known)
    why = any(WHY in file.commands for file in files.values())
    for place in files[tags[0]].missing(why=why) if tags[0] in files else ():
        reader.problem(f"texts/{tags[0]}.toml", f"{place}: missing key (every language falls back to this file)")
    return files


def _read_commands(
    reader: Reader, languages: Mapping[str, LanguageFile], aliases: Sequence[str]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Returns normalised words > command and its languages, of all of them; no word may stand for two commands."""
    commands: dict[str, tuple[str, tuple[str, ...]]] = {}
    for tag, file in languages.items():
        for name, word in ((name, w) for name, words in file.commands.items() for w in _spelled_out(words, aliases)):
            plain = normalise(word)
            other, tags = commands.get(plain, (name, ()))
            commands[plain] = (other, tuple(dict.fromkeys((*tags, tag))))
            if not plain:
                reader.problem(f"texts/{tag}.toml", f"commands.{name}: {word!r} holds no letter")
            elif other != name:
                reader.problem(f"texts/{tag}.toml", f"commands.{name}: {word!r} already means {other}")
            elif len(word) > LONGEST_COMMAND:
                reader.problem(f"texts/{tag}.toml", f"commands.{name}: {word!r} is longer than {LONGEST_COMMAND}")
    return commands


def _spelled_out(phrases: Iterable[str], aliases: Sequence[str]) -> Iterable[str]:
    """Returns the phrases with every name in the place of `{name}`, also set off where the script knows no spaces."""
    for phrase in phrases:
        if _NAME in phrase:
            yield from (phrase.replace(_NAME, put) for alias in aliases for put in (alias, f" {alias} "))
        else:
            yield phrase


def _read_characters(reader: Reader, languages: Sequence[str] | None) -> list[Character]:
    """Returns who can be read. Without languages (cast.toml cannot be read) every tag passes."""
    stems = reader.names("", CHARACTER_ENDING)
    ids = [stem for stem in stems if stem not in NO_CHARACTERS and not stem.endswith(".topics")]
    if not ids:
        reader.problem("", "the cast is empty: there is no <id>.toml beside cast.toml")
    for ending in (TOPICS_ENDING, PRIVATE_PROMPT_ENDING, EXAMPLE_PROMPT_ENDING):
        for stem in reader.names("", ending):
            if stem not in ids:
                reader.problem(f"{stem}{ending}", f"belongs to nobody: there is no {stem}.toml")
    read = (_read_character(reader, character_id, languages) for character_id in ids)
    characters = [character for character in read if character]
    if ids and len(characters) == len(ids) and not any(character.default for character in characters):
        reader.problem("", "nobody is the default: one <id>.toml must say default = true")
    return characters


def _read_character(reader: Reader, character_id: str, languages: Sequence[str] | None) -> Character | None:
    name = f"{character_id}{CHARACTER_ENDING}"
    if character_id == NOBODY:
        reader.problem(name, f"the id {NOBODY} is taken: examples/{NOBODY}.* are messages without a subject")
    if not ID.fullmatch(character_id):
        reader.problem(name, "an id has lower-case letters, digits and underscores, a letter first")
    file = reader.model(CharacterFile, name)
    prompt = _read_prompt(reader, character_id)
    topics = _read_topics(reader, character_id, languages)
    if file is None:
        return None
    aliases = dict.fromkeys(normalise(alias) for alias in (file.name, character_id, *file.aliases))
    if "" in aliases:
        reader.problem(name, "aliases: one of them holds no letter")
    return Character(
        id=character_id,
        name=file.name,
        emoji=file.emoji,
        default=file.default,
        summary=file.summary,
        aliases=tuple(aliases),
        topics=topics,
        prompt=prompt,
        texts=_own_texts(reader, name, file, languages),
        order=file.order,
    )


def _own_texts(
    reader: Reader, name: str, file: CharacterFile, languages: Sequence[str] | None
) -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for tag, wording in file.texts.items():
        reader.check_language(name, f"texts.{tag}", tag, languages)
        for key, text in wording.items():
            reader.check_placeholders(name, f"texts.{tag}.{key}", text, OWN_PLACEHOLDERS)
            texts[key][tag] = text
    return dict(texts)


def _read_prompt(reader: Reader, character_id: str) -> str:
    """Returns the private prompt where there is one, else the tracked example."""
    private, example = f"{character_id}{PRIVATE_PROMPT_ENDING}", f"{character_id}{EXAMPLE_PROMPT_ENDING}"
    file = next((file for file in (private, example) if reader.exists(file)), None)
    if file is None:
        reader.problem(f"{character_id}{CHARACTER_ENDING}", f"has no prompt: there is neither {private} nor {example}")
        return ""
    prompt = reader.read(file)
    if prompt is not None and not prompt.strip():
        reader.problem(file, "is empty")
    return (prompt or "").strip()


def _read_topics(reader: Reader, character_id: str, languages: Sequence[str] | None) -> dict[str, Topics]:
    name = f"{character_id}{TOPICS_ENDING}"
    table = reader.table(name) if reader.exists(name) else None
    topics: dict[str, Topics] = {}
    for tag, content in (table or {}).items():
        reader.check_language(name, tag, tag, languages)
        read = reader.check(TopicsTable, name, content, tag)
        if read:
            topics[tag] = topics_of(read)
    return topics


def topics_of(table: TopicsTable) -> Topics:
    """Returns a file's words as they are compared."""
    return Topics(
        keywords=tuple(dict.fromkeys(word.casefold() for word in table.keywords)),
        triggers=tuple(dict.fromkeys(word.casefold() for word in table.triggers)),
    )


def _compare_characters(reader: Reader, characters: Sequence[Character]) -> None:
    """Finds what only shows when the characters stand side by side: defaults, emoji, names."""
    defaults = [character.id for character in characters if character.default]
    for other in defaults[1:]:
        reader.problem(f"{other}.toml", f"default: {defaults[0]}.toml is the default already")
    emoji: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for character in characters:
        first = emoji.setdefault(character.emoji, character.id)
        if first != character.id:
            reader.problem(f"{character.id}.toml", f"emoji: {character.emoji} is {first}.toml's already")
        for alias in character.aliases:
            first = aliases.setdefault(alias, character.id)
            if first != character.id:
                reader.problem(f"{character.id}.toml", f"aliases: {alias!r} names {first}.toml already")


def _build(
    cast: CastFile,
    languages: Mapping[str, LanguageFile],
    commands: Mapping[str, tuple[str, tuple[str, ...]]],
    ordered: Sequence[Character],
    examples: tuple[Example, ...],
) -> Cast:
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for tag, file in languages.items():
        names = _names(file, ordered)
        for key, text in file.texts.items():
            texts[key][tag] = text.replace("{names}", names)
    return Cast(
        characters={character.id: character for character in ordered},
        default=next(character for character in ordered if character.default),
        family=cast.family,
        safety=cast.safety,
        languages=tuple(cast.languages),
        texts=dict(texts),
        commands={
            name: frozenset(word for word, (meant, _) in commands.items() if meant == name)
            for name in (*COMMAND_NAMES, WHY)
        },
        command_words={word: meant for word, (meant, _) in commands.items()},
        command_languages={word: tags for word, (_, tags) in commands.items()},
        listings={tag: _listing(file) for tag, file in languages.items()},
        word_votes=_votes({tag: _spellings(file.function_words) for tag, file in languages.items()}),
        letter_votes=_votes({tag: "".join(file.letters.split()) for tag, file in languages.items()}),
        examples=examples,
    )


def _names(file: LanguageFile, ordered: Sequence[Character]) -> str:
    return _listing(file).join([f"{character.name} {character.emoji}" for character in ordered])


def _listing(file: LanguageFile) -> Listing:
    return Listing(separator=file.name_separator, last_separator=file.last_name_separator, quotes=file.quotes)


def _spellings(words: Iterable[str]) -> Iterable[str]:
    """Returns each word as it is spelled and as people type it in a hurry, without its accents."""
    for word in words:
        plain = unicodedata.normalize("NFKC", word).casefold()
        yield plain
        yield "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))


def _votes(by_language: Mapping[str, Iterable[str]]) -> Votes:
    """Returns one vote for each word or letter, in equal shares to the languages that list it."""
    languages: dict[str, list[str]] = defaultdict(list)
    for tag, words in by_language.items():
        for word in dict.fromkeys(words):
            languages[word].append(tag)
    return {word: tuple((tag, 1 / len(tags)) for tag in tags) for word, tags in languages.items()}
