"""What the LLM sees: who speaks, what was said before, and the turn's own messages at the end."""
# ruff: noqa: RUF001 - the brackets of other scripts are meant

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex

from core.cast.characters import Cast, Character
from core.ports import ChatMessage, Choice
from core.reply.formatting import clean_answer, printable

HISTORY_MESSAGES: Final = 20
HISTORY_CHARS: Final = 6_000
MESSAGE_CHARS: Final = 4_000
QUOTE_CHARS: Final = 300

_NUMBERS: Final = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SPACES: Final = re.compile(r"\s+")
_OPENERS: Final = "[［【〔〖⟦⟨❲﹇"
_NOTE_START: Final = regex.compile(
    rf"^([\t\p{{Zs}}\p{{Cf}}\p{{P}}\p{{S}}]*?)([{re.escape(_OPENERS)}])(.{{0,120}})", regex.MULTILINE
)
"""A line whose first letters stand behind an opening bracket, whatever marks or invisible characters come first."""
_INVISIBLE: Final = regex.compile(r"[\p{Cf}\p{Mn}]")
_UNBRACKET: Final = str.maketrans({"[": "(", "]": ")", '"': "'"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of the conversation: by the character with that id, or by the person (None)."""

    character: str | None
    text: str
    quoted: str = ""
    """The text of the message that this one replies to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What is particular about one answer."""

    takes_over_from: str = ""
    """Id of whoever was talking before, where that changes with this answer."""
    may_hand_over: bool = False
    """Whether she may call the function of `hand_over` instead of answering."""
    together: Sequence[str] = ()
    """Ids of all who answer the same messages, in order; empty when she answers alone."""
    said: Sequence[Said] = ()
    """What those before her said to these messages."""


_ORDINARY: Final = Occasion()


def build_prompt(  # noqa: PLR0913 - the bounds are for tests
    cast: Cast,
    character: Character,
    history: Sequence[Said],
    own: Sequence[Said],
    *,
    language: str = "",
    occasion: Occasion = _ORDINARY,
    history_messages: int = HISTORY_MESSAGES,
    history_chars: int = HISTORY_CHARS,
) -> tuple[ChatMessage, ...]:
    """Returns the system prompt, then the newest of `history` that fits both bounds, then `own`; all oldest first.

    What others have said to the same messages stands right before these, which are the last ones in any case.
    `own` are the turn's messages by the person: always there, one `user` message each, cut to 4,000 characters.
    `language` is a language tag, "" when unknown. Blank messages (media alone) are left out.

    What another character said is a `user` message in the form of a note, `[Name, one of your sisters, answered: ...]`:
    as `assistant` the model would take her voice for its own, and a `system` message after the first is refused or
    moved to the top by some OpenAI-compatible servers. A person who writes such a note is disarmed (`_disarm`).
    """
    said = [_message(cast, character, message) for message in own if _worth(message)]
    earlier: list[ChatMessage] = []
    left = history_chars
    for message in reversed([message for message in history if _worth(message)][-history_messages:]):
        entry = _message(cast, character, message)
        left -= len(entry.text)
        if left < 0:
            break
        earlier.append(entry)
    system = ChatMessage(role="system", text=_system(cast, character, language, occasion))
    others = [_message(cast, character, message) for message in occasion.said]
    return (system, *reversed(earlier), *others, *said)


def hand_over(cast: Cast, character: Character) -> Choice | None:
    """Returns the function by which the character gives the turn to another; None for one who is alone."""
    others = [other for other in cast.characters.values() if other.id != character.id]
    if not others:
        return None
    return Choice(
        name="hand_over",
        description=(
            f"Gives the person's last message to one of your {cast.family}, who answers it at once in your place and "
            "knows the whole conversation. Only for a message that is plainly about what the other one knows best."
        ),
        argument="to",
        options={other.id: f"{other.name}, {other.summary.strip()}" for other in others},
    )


def own_names(character: Character) -> tuple[str, ...]:
    """Returns every form in which the character, or the model for her, writes her name."""
    return tuple(
        dict.fromkeys((character.name, f"{character.name}{character.emoji}", *character.aliases, character.id))
    )


def _system(cast: Cast, character: Character, language: str, occasion: Occasion) -> str:
    """Returns the system prompt. What is the same for everybody comes first: vendors cache equal beginnings."""
    others = [other for other in cast.characters.values() if other.id != character.id]
    parts = [_opening(cast, character, len(others)), character.prompt.strip()]
    if others:
        parts.append(_company(cast, character, others))
    parts.append(
        "How this chat is written down for you: a note in square brackets at the start of a message comes from the "
        'chat itself, not from the person. [in reply to: "..."] quotes the message that the person replies to. Never '
        "write such notes, and do not begin with your name: it is put in front of your answer."
    )
    if language:
        parts.append(
            f'The language of the person has the tag "{language}". Answer in the language of their last message.'
        )
    parts += _particulars(cast, occasion)
    parts.append(cast.safety.strip())
    return "\n\n".join(part for part in parts if part)


def _particulars(cast: Cast, occasion: Occasion) -> Iterator[str]:
    if occasion.takes_over_from:
        yield (
            f"You take over from {_name(cast, occasion.takes_over_from)} with this answer. Say so in half a sentence "
            "of your own, as part of the answer and in its language, and go on with what the person wants."
        )
    if occasion.may_hand_over:
        yield (
            f"When the last message is plainly for one of your {cast.family}, call the function hand_over and write "
            "nothing: the answer comes from there at once, and nobody has to begin a message with a name. In every "
            "other case, and whenever the person is upset, answer yourself. Never speak of the function."
        )

    if occasion.together:
        yield (
            f"The last messages are for several of you: {_listed(cast, occasion.together)} answer, each in a message "
            "of their own. Answer for yourself alone, in one to three short sentences."
        )
    if occasion.said:
        have = "has" if len(occasion.said) == 1 else "have"
        yield (
            f"{_listed(cast, [said.character or '' for said in occasion.said])} {have} answered already: what was said "
            "stands right before those messages. Do not repeat it; agree, differ or add, as it comes to you."
        )


def _listed(cast: Cast, ids: Sequence[str]) -> str:
    *others, last = [_name(cast, each) for each in ids]
    return f"{', '.join(others)} and {last}" if others else last


def _opening(cast: Cast, character: Character, others: int) -> str:
    if not others:
        return f"You are {character.name}, an AI character."
    number = _NUMBERS[others - 1] if others <= len(_NUMBERS) else str(others + 1)
    return f"You are {character.name}, one of {number} AI {cast.family}."


def _company(cast: Cast, character: Character, others: Sequence[Character]) -> str:
    lines = [f"Your {cast.family}, who answer the same person in this chat:"]
    lines += [f"- {other.name} {other.emoji}".rstrip() + f": {other.summary.strip()}" for other in others]
    shown = _note(cast, others[0].name, "...")
    lines.append(f"What one of them said before is shown to you as {shown}. You are {character.name} only.")
    return "\n".join(lines)


def _note(cast: Cast, name: str, text: str) -> str:
    return f"[{name}, one of your {cast.family}, answered: {text}]"


def _worth(message: Said) -> bool:
    return bool(printable(message.text).strip())


def _message(cast: Cast, character: Character, message: Said) -> ChatMessage:
    text = _clip(printable(message.text).strip(), MESSAGE_CHARS)
    if message.character is None:
        quoted = _SPACES.sub(" ", printable(message.quoted)).strip().translate(_UNBRACKET)
        reply_to = f'[in reply to: "{_clip(quoted, QUOTE_CHARS)}"]\n' if quoted else ""
        return ChatMessage(role="user", text=reply_to + _disarm(cast, text))
    speaker = cast.characters.get(message.character)
    text = clean_answer(text, own_names(speaker)) if speaker else text
    if message.character == character.id:
        return ChatMessage(role="assistant", text=text)
    return ChatMessage(role="user", text=_note(cast, _name(cast, message.character), _disarm(cast, text)))


def _name(cast: Cast, character_id: str) -> str:
    known = cast.characters.get(character_id)
    return known.name if known else character_id  # of a cast that has changed since


def _disarm(cast: Cast, text: str) -> str:
    """Returns the text with round brackets where a line begins like one of our notes, so that none can be forged.

    Other lines in square brackets stay as they are: people paste lists, code and logs of other chats.
    """
    words = _note_words(
        tuple(word for c in cast.characters.values() for word in (c.id, c.name, *c.aliases)), cast.family
    )

    def replace(match: regex.Match[str]) -> str:
        folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", match[3])).casefold()
        return f"{match[1]}({match[3]}" if any(word in folded for word in words) else match[0]

    return _NOTE_START.sub(replace, text)


@lru_cache(maxsize=8)
def _note_words(names: tuple[str, ...], family: str) -> frozenset[str]:
    return frozenset(
        unicodedata.normalize("NFKC", word).casefold() for word in (*names, family, "answered", "reply to")
    )


def _clip(text: str, limit: int) -> str:
    """Returns at most `limit` characters, cut between graphemes, the last of them "…" where something was cut."""
    if len(text) <= limit:
        return text
    end = 0
    for match in regex.finditer(r"\X", text, endpos=limit + 50):
        if match.end() > limit - 1:
            break
        end = match.end()
    return text[: end or limit - 1] + "…"
