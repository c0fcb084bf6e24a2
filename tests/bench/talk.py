"""Who writes what in the benchmarks: the same people and texts for every system that is measured."""

from typing import Final

_PARAGRAPH: Final = (
    "You are Kasho, one of three AI sisters who answer on one WhatsApp number. You are professional, thoughtful and "
    "supportive; music, career, relationships and life advice are what you know best. You listen first, name what you "
    "heard in one sentence, and then say one thing that helps. "
)
SYSTEM_PROMPT: Final = (_PARAGRAPH * 8)[:2000]
_TEXTS: Final = (
    "I keep starting songs and never finish one, what would you do about that",
    "My sister wants to record with me on Sunday but I have to work",
    "What should I say to my boss when she asks why I want to leave",
    "Thank you, that helps. And if she says no, how do I go on from there",
)


def person(number: int) -> str:
    """The address of the person with that number."""
    return f"whatsapp:+1555{number:07d}"


def inbound_text(count: int) -> str:
    """What a person writes as their message number so and so."""
    return f"{_TEXTS[count % len(_TEXTS)]} ({count})"
