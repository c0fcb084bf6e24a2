"""What the simulated model says: friendly, in the character that the system prompt names, and plainly simulated."""

import re
import zlib
from collections.abc import Sequence
from typing import Final

MARK: Final = "(simulated)"
"""Every answer ends with it."""
UNSAFE_REQUEST: Final = "simulate-bad-answer"
"""Who writes this gets an answer that moderation flags on its way out."""
UNSAFE_ANSWER: Final = "simulate-flag"
QUOTED_CHARACTERS: Final = 80
QUOTED_MESSAGES: Final = 5

_NAME: Final = re.compile(r"\bYou are ([^,.\n]{1,60}?)(?:, one of|[,.\n]|$)")
_TAKES_OVER: Final = re.compile(r"\bYou take over from ([^.\n]{1,60}?) with this answer\b")
_TOGETHER: Final = re.compile(r"\bfor several of you: [^.\n]{1,200} answer\b")
_HEARD: Final = re.compile(r"^([^.\n]{1,200}?) ha(?:s|ve) answered already\b", re.MULTILINE)
_TAKING_OVER: Final = (
    "{name} here, {other} let me have this one:",
    "I step in where {other} left off, it is {name}.",
    "From {other} to me, {name}, and gladly.",
)
_OPENINGS: Final = (
    "I am glad you wrote.",
    "How nice to hear from you!",
    "Good that you bring this up.",
    "Oh, I like where this is going.",
)
_CLOSINGS: Final = (
    "What would you like to look at first?",
    "Tell me a little more, and we take it from there.",
    "Which part of it matters most to you?",
    "Shall we go through it step by step?",
)
_OTHER_LANGUAGE: Final = "Hei! Kirjoitit minulle juuri, ja vastaan nyt suomeksi, vaikka et sitä toivonut."
_MARKDOWN: Final = (
    "# A plan\n\nHere is **bold**, *italic*, ~~struck~~ and `code`:\n\n"
    "* first [a link](https://example.com/a_(b))\n  * nested\n* second\n\n"
    "| what | when |\n|---|---|\n| this | today |\n| that | tomorrow |\n\n"
    "```python\nprint('hello')\n```\n\n> a quote\n\n---\n\n1. one\n2. two"
)
_FILLER: Final = "And there is more to say about it, so let me go on for a while, one thought after the other."
_FILLERS: Final = 80


def compose(system: str, texts: Sequence[str], fault: str = "") -> str:
    """Returns the answer to a person's last texts: always the same for the same request.

    `fault` may ask for an empty, an over-long, a Markdown-heavy one or one in another language.
    """
    if fault == "empty":
        return ""
    found = _NAME.search(system)
    name = found[1].strip() if found else "the assistant"
    draw = zlib.crc32("\x00".join([name, *texts]).encode("utf-8", errors="replace"))
    opening, closing = _OPENINGS[draw % len(_OPENINGS)], _CLOSINGS[draw // 7 % len(_CLOSINGS)]
    taken_up = f"You wrote {_list(texts)}." if texts else "You did not write anything yet."
    before = _TAKES_OVER.search(system)
    if before:
        opening = f"{_TAKING_OVER[draw % len(_TAKING_OVER)].format(name=name, other=before[1])} {opening}"
    parts = [f"{opening} {taken_up}", f"This is {name}, all ears. {closing}"]
    if _TOGETHER.search(system):
        heard = _HEARD.search(system)
        parts = [f"{name} in short{f', after {heard[1]}' if heard else ''}: {taken_up} {closing}"]
    if any(UNSAFE_REQUEST in text for text in texts):
        parts.append(UNSAFE_ANSWER)
    match fault:
        case "overlong":
            parts.extend([_FILLER] * _FILLERS)
        case "markdown":
            parts.append(_MARKDOWN)
        case "wrong_language":
            parts = [_OTHER_LANGUAGE]
        case _:
            pass
    return "\n\n".join([*parts[:-1], f"{parts[-1]} {MARK}" if fault != "markdown" else f"{parts[-1]}\n\n{MARK}"])


def _list(texts: Sequence[str]) -> str:
    """Returns the newest texts as quotations in one sentence."""
    quotes = [f"“{_short(text)}”" for text in texts[-QUOTED_MESSAGES:]]
    listed = quotes[0] if len(quotes) == 1 else f"{', '.join(quotes[:-1])} and {quotes[-1]}"
    earlier = len(texts) - len(quotes)
    return f"{listed}, and {earlier} more before that" if earlier else listed


def _short(text: str) -> str:
    """Returns the beginning of a text on one line, cut at a word's end where there is one."""
    line = " ".join(text.split())
    if len(line) <= QUOTED_CHARACTERS:
        return line
    cut = line[:QUOTED_CHARACTERS]
    return f"{cut.rpartition(' ')[0] or cut}…"
