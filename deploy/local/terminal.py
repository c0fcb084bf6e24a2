"""How the demo looks in a terminal: steps, and both sides of a chat; colours only where a person watches."""

import os
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
_NARROWEST: Final = 40
_WIDEST: Final = 100


def _painted(text: str, code: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
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
    lines = [wrapped for line in text.split("\n") for wrapped in textwrap.wrap(line, width * 2 // 3) or [""]]
    widest = max(map(len, lines))
    say("\n" + _painted("\n".join(" " * (width - widest) + line for line in lines), _GREEN))


def said_by_bot(text: str) -> None:
    """A reply, on the left."""
    lines = [wrapped for line in text.split("\n") for wrapped in textwrap.wrap(line, _width() * 3 // 4) or [""]]
    say("\n" + "\n".join(lines))


def remark(text: str) -> None:
    """A dim line beside the chat."""
    say(_painted(f"    {text}", _DIM))


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns - 1))
