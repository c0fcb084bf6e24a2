"""How demo and chat look in a terminal: steps, and both sides of a chat; colours only where a person watches."""

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_DIM: Final = "2"
_GREEN: Final = "32"
_BOLD: Final = "1"
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a message could do to a terminal: escapes, and marks that turn the direction of all that follows."""
_BOLD_TEXT: Final = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])")
_NARROWEST: Final = 40
_WIDEST: Final = 100


def _paints() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _painted(text: str, code: str) -> str:
    if not _paints():
        return text
    return "\n".join(f"\x1b[{code}m{line}\x1b[0m" for line in text.split("\n"))


def say(text: str) -> None:
    """One plain line, at once also through a pipe."""
    print(text, flush=True)


def title(text: str) -> None:
    """A line that stands out, with room above."""
    say("\n" + _painted(text, _BOLD))


@contextmanager
def step(name: str) -> Generator[None]:
    """Prints `name` when it begins and, when it is over, how long it took."""
    print(f"  {name} ... ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        say("failed")
        raise
    say(f"{time.monotonic() - started:.1f} s")


def said_by_person(text: str) -> None:
    """A person's message, on the right."""
    width = _width()
    lines = [wrapped for line in harmless(text).split("\n") for wrapped in textwrap.wrap(line, width * 2 // 3) or [""]]
    widest = max(map(len, lines))
    say("\n" + _painted("\n".join(" " * (width - widest) + line for line in lines), _GREEN))


def said_by_bot(text: str) -> None:
    """A reply, on the left, its bold words bold as WhatsApp shows them."""
    lines = [
        wrapped for line in harmless(text).split("\n") for wrapped in textwrap.wrap(line, _width() * 3 // 4) or [""]
    ]
    shown = "\n".join(lines)
    say("\n" + (_BOLD_TEXT.sub(lambda found: _painted(found[1], _BOLD), shown) if _paints() else shown))


def harmless(text: str) -> str:
    """The text with a visible sign for every character that would command the terminal."""
    return _CONTROL.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", text)


def remark(text: str) -> None:
    """A dim line beside the chat."""
    say(_painted(f"    {text}", _DIM))


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns - 1))
