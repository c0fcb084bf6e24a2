"""A character's answer as it goes out: her name in front, WhatsApp's formatting, pieces that the channel takes."""

import re
from typing import Final

from core.cast.characters import Character
from core.prompting import own_names
from core.reply.formatting import clean_answer, printable, to_whatsapp
from core.reply.splitting import split

_BLOCK_START: Final = re.compile(r"(?:- |> |\d+[.)] |```)")


def name_line(character: Character) -> str:
    """Returns what stands in front of the first piece of every reply."""
    return f"*{character.name}{character.emoji}*: "


def compose(character: Character, answer_markdown: str, *, welcome: str = "") -> list[str]:
    """Returns the pieces of a reply, one at least: the LLM's answer with the name line, `welcome` below in italics.

    An answer that shows nothing (a rule, a comment) goes out as it was written, an empty one as "…": a reply that
    was decided on is never silence.
    """
    cleaned = clean_answer(printable(answer_markdown), own_names(character))
    text = to_whatsapp(cleaned) or cleaned or "…"
    return notice(character, f"{text}\n\n{_italic(welcome)}" if welcome.strip() else text)


def notice(character: Character, text: str) -> list[str]:
    """Returns the pieces of a fixed text, which is in WhatsApp's formatting already, with the name line."""
    body = text.strip()
    # A list, quote or code block is one only at the start of a line.
    return split(body, first_prefix=name_line(character) + ("\n" if _BLOCK_START.match(body) else ""))


def _italic(text: str) -> str:
    """Returns each line in italics; a line with underscores of its own stays plain: they would end the marker."""
    lines = (line.strip() for line in text.strip().split("\n"))
    return "\n".join(f"_{line}_" if line and "_" not in line else line for line in lines)
