"""Takes the thoughts out of an answer: local reasoning models write them before what they say."""

import re
from dataclasses import dataclass
from typing import Final

_TAG: Final = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What is left of an answer."""

    text: str
    begun_unseen: bool
    """Whether its thoughts ended without having begun: the chat template itself opened them, in the prompt."""


def without_thoughts(text: str) -> Spoken:
    """Returns the answer without `<think>...</think>`; thoughts that never end reach to the end of the text.

    Source: chat templates of DeepSeek-R1 and Qwen as of 2026-11, some of which put the opening tag into the prompt.
    """
    if "<" not in text:
        return Spoken(text=text, begun_unseen=False)
    # Three parts a tag: the text before it, its slash, the next text. Linear, however many tags there are.
    first, *rest = _TAG.split(text)
    said, thinking, unseen = [first], False, False
    for slash, part in zip(rest[::2], rest[1::2], strict=True):
        if slash and not thinking:
            said, unseen = [], True
        thinking = not slash
        if not thinking:
            said.append(part)
    return Spoken(text="".join(said), begun_unseen=unseen)
