"""The text of an answer: the LLM's Markdown in WhatsApp's formatting, without its own name, cut at a sentence."""
# ruff: noqa: RUF001 - the full stops of other scripts are meant

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from unicodedata import category

import regex
from markdown_it.token import Token

from core.reply.inline import render_inline
from core.reply.markdown import parse

MAX_CHARS: Final = 20_000
"""Longer input is cut first: an answer has about 2,500 characters, and the work must stay bounded whatever comes."""

_NEWLINES: Final = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
_TASK: Final = re.compile(r"\[([ xX])\] ")
_BLANK_RUN: Final = re.compile(r"\n{3,}")
_LINE_ENDS: Final = tuple(".!?:;。！？：；")
_UNDERLINE: Final = 3
"""Characters that make an underlined heading or a rule; fewer under a line are a face, or a list that was cut."""
_LABEL_DECORATION: Final = r"\s*_~`\[\](){}#>\p{So}\p{Sk}\p{Mn}\p{Cf}"
_SENTENCE: Final = regex.compile(
    r"""(?: (?P<stop>[.!?…؟۔]+) ["'”’»)\]*_~`]* (?=\s|\Z)
          | [。！？｡．]+ [」』”’）》】*_~]*
          | [।॥]+ )
        (?: [^\S\n]* \p{Extended_Pictographic} (?:\p{M}|\p{Emoji_Modifier}|\u200d\p{Extended_Pictographic})* )*
      | (?<=[^\s:：]) [^\S\n]* (?=\n)""",
    regex.VERBOSE,
)
_NO_SENTENCE: Final = regex.compile(
    r"(?:^|\s)(?:\p{L}|Dr|Dra|Mr|Mrs|Ms|Sr|Sra|St|vs|e\.g|i\.e|z\.B|p\.ej)\.$|(?:\A|\n)\s*\d+\.$"
)
"""What ends in a full stop and not in a sentence: an abbreviation, an initial, the number of a list item."""


def printable(text: str) -> str:
    r"""Returns the text with `\n` as its only line end, without NUL, other controls and halves of surrogate pairs.

    What is left can be stored in Postgres and encoded as UTF-8. Marks of direction and joiners stay: they are text.
    """
    return _UNPRINTABLE.sub("", _NEWLINES.sub("\n", text))


def shows(text: str) -> bool:
    """Returns whether a person would see anything: joiners, marks of direction and controls alone show nothing."""
    return any(not letter.isspace() and category(letter) not in ("Cc", "Cf") for letter in text)


def to_whatsapp(markdown: str) -> str:
    """Returns the text as WhatsApp shows it best, without outer blank lines; "" when nothing of it is visible.

    Chat text without Markdown comes through as it is, save for indentation and more than one blank line in a row.
    Source: FACTS 6 as of 2026-11: `*bold*`, `_italic_`, `~strike~`, code in backticks, `- ` and `1. ` lists, `> `
    quotes; markers touch their text, have no word character outside and do not span lines.
    """
    source = printable(markdown[:MAX_CHARS])
    page = _Page(lines=source.split("\n"))
    for token in parse(source):
        page.take(token)
    return "".join(page.out).strip("\n").rstrip()


def clean_answer(text: str, names: Sequence[str]) -> str:
    """Returns the answer without a label such as `**Name** 🎵:` in front, stripped; `names` are all forms of the name.

    An answer that is nothing but the label stays as it is.
    """
    stripped = text.strip()
    answer = stripped
    label = _label(tuple(names))
    while label is not None and (match := label.match(answer)):
        answer = answer[match.end() :].lstrip()
    return answer if shows(answer) else stripped


@lru_cache(maxsize=256)
def _label(names: tuple[str, ...]) -> regex.Pattern[str] | None:
    forms = sorted({regex.escape(name.strip()) for name in names if name.strip()}, key=len, reverse=True)
    if not forms:
        return None
    # Marks that the label opened may close behind its colon ("**Name:** text"); others belong to the text.
    return regex.compile(
        rf"(?:(?=[{_LABEL_DECORATION}]*?(?P<open>[*_~`\[])))?[{_LABEL_DECORATION}]{{0,12}}+(?:{'|'.join(forms)})"
        rf"(?:[*_~`\])}}]+[{_LABEL_DECORATION}]{{0,12}}[:：]|[{_LABEL_DECORATION}]{{0,12}}[:：](?!\))(?(open)[*_~`\]]*))",
        regex.IGNORECASE,
    )


def cut_to_sentence(text: str) -> str:
    """Returns an answer that the LLM's token limit cut, back to its last whole sentence, list item or line of code.

    Without any the last whole word is kept, and a single word stays: never empty for a text that is not blank.
    """
    stripped = text.rstrip()
    fence = stripped.rfind("```") if stripped.count("```") % 2 else len(stripped)
    code = stripped[fence:].rpartition("\n")[0]
    if "\n" in code:
        return f"{stripped[:fence]}{code}\n```"
    ends = [m.end() for m in _SENTENCE.finditer(stripped, 0, fence) if not _ends_in_no_sentence(stripped[: m.end()], m)]
    whole = stripped[: ends[-1]].rstrip() if ends else ""
    if not whole:
        words = stripped[:fence].rsplit(None, 1)
        whole = words[0].rstrip() if words else stripped
    # Bold that was opened in what is left and closed in what is gone would show its two stars.
    if whole.count("**") % 2:
        before, _, after = whole.rpartition("**")
        whole = before + after
    return whole or stripped


def _ends_in_no_sentence(text: str, match: regex.Match[str]) -> bool:
    half_decimal = match.end() == match.endpos and text[-2:-1].isdigit()
    return match["stop"] == "." and (half_decimal or _NO_SENTENCE.search(text[-12:]) is not None)


@dataclass(slots=True)
class _Page:
    """Walks block tokens and writes lines. Blank lines stand where the source had them, one at most."""

    lines: list[str]
    out: list[str] = field(default_factory=list[str])
    quotes: int = 0
    depth: int = 0
    markers: list[str] = field(default_factory=list[str])
    """Markers of list items that are open and have no text yet."""
    numbers: list[int] = field(default_factory=list[int])
    """The last number of each open list; 0 before the first."""
    cells: list[str] | None = None
    heading: Token | None = None
    gap: bool = False
    """True when a blank line is due whatever the source had: a rule stood here."""

    def take(self, token: Token) -> None:
        """Writes what the token adds to the page."""
        match token.type:
            case "inline":
                self._text(token)
            case "fence":
                self._fence(token)
            case "hr":
                self.gap = True
            case "heading_open" | "heading_close":
                self.heading = token if token.nesting > 0 else None
            case "blockquote_open" | "blockquote_close":
                self.quotes += token.nesting
            case "bullet_list_open" | "ordered_list_open" | "bullet_list_close" | "ordered_list_close":
                self._list(token)
            case "list_item_open" | "list_item_close":
                self._item(token)
            case "tr_open":
                self.cells = []
            case "tr_close":
                self._row(token)
            case _:
                pass  # paragraphs and the parts of tables add nothing beyond the text within

    def _list(self, token: Token) -> None:
        self.depth += token.nesting
        if token.nesting > 0:
            self.numbers.append(0)
        else:
            self.numbers.pop()

    def _item(self, token: Token) -> None:
        if token.nesting > 0:
            self.markers.append(self._marker(token))
        elif self.markers:  # closed without any text: "-" alone in a chat is a dash
            self.markers[-1] = token.markup if not self.numbers[-1] else self.markers[-1]
            self._write(self._start(token), "", code=False)

    def _marker(self, token: Token) -> str:
        if not token.info:
            return "- "
        # As written ("1. 3. 5." stays), but Markdown also allows "1. 1. 1.", which means 1. 2. 3.
        number, last = int(token.info), self.numbers[-1]
        self.numbers[-1] = last + 1 if number == last else number
        return f"{self.numbers[-1]}{token.markup} "

    def _text(self, token: Token) -> None:
        children = token.children or []
        if self.cells is not None:
            self.cells.append(render_inline(children).replace("\n", " "))
            return
        if self.heading is not None:
            self._heading(token, self.heading)
            return
        body = render_inline(children)
        if self.markers and (task := _TASK.match(body)):
            body = f"{'☐' if task[1] == ' ' else '☑'} {body[task.end() :]}"
        self._write(self._start(token), body, code=False)

    def _heading(self, token: Token, heading: Token) -> None:
        """Writes a heading in bold. An underlined paragraph is one only if it looks like it, else text and a rule."""
        children = token.children or []
        setext = heading.markup in {"-", "="}
        underline = self.lines[heading.map[1] - 1].strip(" \t>") if setext and heading.map else "-" * _UNDERLINE
        short = len(underline) < _UNDERLINE
        plain = setext and (short or "\n" in token.content or token.content.endswith(_LINE_ENDS))
        body = render_inline(children, bold=not plain) or heading.markup
        self._write(self._start(heading), body, code=False)
        if short:
            self.out.append("\n" + underline)
        self.gap = plain and not short

    def _row(self, token: Token) -> None:
        row = " — ".join(self.cells or [])
        self.cells = None
        self._write(self._start(token), row, code=False)

    def _fence(self, token: Token) -> None:
        if token.content.strip():
            self._write(self._start(token), "```\n" + token.content.removesuffix("\n") + "\n```", code=True)

    def _start(self, token: Token) -> int | None:
        return token.map[0] if token.map else None

    def _write(self, start: int | None, body: str, *, code: bool) -> None:
        """Adds one block. `start` is its first line in the source; what stands above decides about the blank line."""
        if not body and not self.markers:
            return
        if self.out:
            blank = self.gap or (start is not None and start > 0 and not self.lines[start - 1].strip(" \t>"))
            self.out.append("\n\n" if blank else "\n")
        self.gap = False
        quote = "> " if self.quotes else ""
        first = quote + "  " * (self.depth - len(self.markers)) + "".join(self.markers)
        self.markers.clear()
        if code:
            self.out.append(first + body)  # its other lines stay verbatim
            return
        head, *more = _BLANK_RUN.sub("\n\n", body).split("\n")
        self.out.append((first + head).rstrip())
        for line in more:
            # A bullet of another kind that Markdown took for the item's next line stands beside the item.
            depth = self.depth - (self.depth > 0 and line.startswith("- "))
            self.out.append("\n" + (quote + "  " * depth + line).rstrip())
