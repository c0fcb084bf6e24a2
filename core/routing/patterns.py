"""How phrases of the cast become patterns over folded messages, in scripts with and without spaces."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal

import regex

from core.routing.text import UNSPACED, fold, is_unspaced

NAME: Final = "\x00"
"""Stands for a name in patterns and in what they search; `fold` keeps no such character in a message."""
LETTER: Final = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{UNSPACED}]]"
CALLED: Final = rf"{NAME}(?!{LETTER}|'{LETTER})"
"""A name as somebody is called by it: with nothing hanging on it, such as the "'s" of a mention."""
GAP: Final = r"[^\p{L}\p{M}\p{N}@\x00]*+"
STOP: Final = r"[,:;!?.~\u2026\u3001\u3002\n\p{So}]"
PAUSE: Final = rf"\s*+(?:{STOP}|[)\]\"]|[-\u2013\u2014](?=\s))"
CLAUSE: Final = rf"(?:^|{STOP}|[-\u2013\u2014(]){GAP}"
_COMMA: Final = regex.compile(r"\s*,\s*")


def compiled(pattern: str) -> regex.Pattern[str]:
    """Returns the pattern with set operations ([a--b]) understood."""
    return regex.compile(f"(?V1){pattern}")


def any_of(texts: Iterable[str], *, bound: bool = True) -> str:
    """An alternation, longest first; where words have spaces between them, only whole words. Nothing matches none."""
    return _alternatives({fold(text) for text in texts}, bound=bound)


def any_template(texts: Iterable[str]) -> str:
    """An alternation of phrases with {name} in them, where somebody is called.

    The pattern of the name stands in it once for all phrases that begin with it, once for all that end with it, and
    once for each text before it that has something after it: once for each phrase would take seconds to build.
    """
    afters: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        before, _, after = fold(text).partition("{name}")
        afters[before].add(after)
    ending = [before for before, some in afters.items() if "" in some]
    beginning = afters.pop("", set()) - {""}
    each = [
        *([_alternatives(ending, bound="before") + CALLED] if ending else []),
        *([CALLED + _alternatives(beginning, bound="after")] if beginning else []),
        *(
            _alternatives([before], bound="before") + CALLED + _alternatives(some - {""}, bound="after")
            for before, some in sorted(afters.items())
            if some != {""}
        ),
    ]
    return f"(?:{'|'.join(each) or '(?!)'})"


def bounded(text: str) -> str:
    """A folded phrase that neither begins nor ends inside a word."""
    return _alternatives([text], bound=True)


def _alternatives(texts: Iterable[str], *, bound: bool | Literal["before", "after"]) -> str:
    """The bounds stand once around all phrases that need the same ones."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for text in sorted(texts, key=lambda text: (-len(text), text)):
        opens = "" if bound in (False, "after") or is_unspaced(text.strip()[:1]) else rf"(?<!{LETTER})"
        closes = "" if bound in (False, "before") or is_unspaced(text.strip()[-1:]) else rf"(?!{LETTER})"
        groups[opens, closes].append(_spelled(text))
    each = [f"{opens}(?:{'|'.join(spelled)}){closes}" for (opens, closes), spelled in groups.items()]
    return f"(?:{'|'.join(each) or '(?!)'})"


def _spelled(text: str) -> str:
    """A space may be several, a comma may be missing or be another mark."""
    marked = _COMMA.sub(",", text)
    return r"[\s,\u3001]*+".join(r"\s++".join(map(regex.escape, part.split(" "))) for part in marked.split(","))
