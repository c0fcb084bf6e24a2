"""One paragraph's worth of Markdown in WhatsApp's markers: bold, italics, strike, code, links."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from markdown_it.token import Token

from core.reply.markdown import is_unspaced

_MARKS: Final = {"strong": "*", "em": "_", "s": "~"}
_BULLET: Final = re.compile(r"[•‣●◦▪](?!\S)[ \t\u00a0]*|[•‣●](?=\w)")
_NESTED_BULLETS: Final = ("◦", "▪")
_SYMBOLS_ONLY: Final = re.compile(r"[!-/:-@\[-`{-~\s]+")
_WORDS_ONLY: Final = re.compile(r"[^\W\d_](?:[^\W\d_]|['\u2019 -])*")
_TAG: Final = re.compile(r"<(?:!--|/?([a-z][a-z0-9]*)\s*(?:/?>|open>|[a-z-]+\s*=))", re.IGNORECASE)
_BREAKING: Final = re.compile(r"<br\b|</(?:p|div|li|ul|ol|tr|table|h[1-6]|blockquote|summary)\b", re.IGNORECASE)
_SCHEME: Final = re.compile(r"^(?:https?://|mailto:|tel:)", re.IGNORECASE)
_TELLING: Final = 4
"""Marks around at most three tokens are judged by what they mark; more are text for certain."""
_ELEMENTS: Final = frozenset(
    """
    a abbr address article aside audio b bdi bdo big blockquote body br button caption center cite code
    col colgroup data dd del details dfn div dl dt em figcaption figure font footer form h1 h2 h3 h4 h5
    h6 head header hr html i iframe img input ins kbd label li link main mark meta nav ol optgroup
    option p picture pre q rp rt ruby s samp script section select small source span strike strong style
    sub summary sup svg table tbody td textarea tfoot th thead time title tr tt u ul var video wbr
    """.split()  # noqa: SIM905 - a hundred quoted words would be harder to read
)


class _Step(NamedTuple):  # made a hundred times a message: a frozen dataclass costs three times as much
    """What to write next. `open` and `close` carry a marker, `text` what is shown, which may hold line ends."""

    kind: Literal["text", "open", "close"]
    value: str


def render_inline(children: Sequence[Token], *, bold: bool = False) -> str:
    """Returns the text of inline tokens; `bold` sets every line of it in bold (headings) and drops bold within."""
    tokens = [token for token in children if token.type != "text" or token.content]
    steps = _steps(_star_outside(tokens), bold=bold)
    if bold:
        steps = [_Step("open", "*"), *steps, _Step("close", "*")]
    line = _Line()
    for step in steps:
        line.take(step)
    return "".join(line.out).strip()


@dataclass(slots=True)
class _Line:
    """Writes markers late, right before visible text, and closes them at a line's end: none is empty or spans lines."""

    out: list[str] = field(default_factory=list[str])
    stack: list[str] = field(default_factory=list[str])
    """Open markers, outermost first; the first `written` of them stand in `out`."""
    written: int = 0
    fresh: bool = True
    """True at the start of a line."""

    def take(self, step: _Step) -> None:
        match step.kind:
            case "open":
                self.stack.append(step.value)
            case "close":
                if self.written == len(self.stack):
                    self._unwrite(1)
                self.stack.pop()
            case "text":
                for i, text in enumerate(step.value.split("\n")):
                    if i:
                        self._unwrite(self.written)
                        self.out.append("\n")
                        self.fresh = True
                    self._text(text)

    def _text(self, text: str) -> None:
        if self.fresh:
            text = text.lstrip(" ")
            if match := _BULLET.match(text):
                text = f"{'  - ' if text.startswith(_NESTED_BULLETS) else '- '}{text[match.end() :]}"
        if not text:
            return
        if self.written < len(self.stack) and text.isspace():
            self.out.append(text)  # no marker before it: a marker must touch what it marks
            return
        self.out += self.stack[self.written :]
        self.written, self.fresh = len(self.stack), False
        self.out.append(text)

    def _unwrite(self, count: int) -> None:
        """Closes the innermost `count` written markers; spaces before them move behind them."""
        if not count:
            return
        spaces = ""
        while self.out and (stripped := self.out[-1].rstrip(" ")) != self.out[-1]:
            spaces = self.out.pop()[len(stripped) :] + spaces
            if stripped:
                self.out.append(stripped)
        closing = self.stack[self.written - count : self.written]
        self.out += [*reversed(closing), spaces]
        self.written -= count


def _steps(tokens: list[Token], *, bold: bool) -> Iterator[_Step]:
    partners = _partners(tokens)
    seen = [_visible(token) for token in tokens]
    before = list(accumulate((text[-1:] for text in seen), _newest, initial=""))
    after = list(accumulate((text[:1] for text in reversed(seen)), _newest, initial=""))[::-1]
    counts = {"*": int(bold), "_": 0, "~": 0}
    closing: dict[int, tuple[_Step, ...]] = {}
    for i, token in enumerate(tokens):
        mark = _MARKS.get(token.type.removesuffix("_open").removesuffix("_close"), "")
        if mark and token.nesting > 0:
            j = partners[i]
            edges = (before[i], after[i + 1], before[j], after[j + 1])
            body = "".join(seen[i + 1 : j]) if j - i <= _TELLING else ""
            opening, closing[j] = _judge(token.markup, mark, edges, body, nested=counts[mark] > 0)
            counts[mark] += 1
            yield from opening
        elif mark:
            counts[mark] -= 1
            yield from closing[i]
        elif token.type == "link_open":
            closing[partners[i]] = _address(token, "".join(seen[i + 1 : partners[i]]).strip())
        elif token.type == "link_close":
            yield from closing[i]
        else:
            yield _Step("text", seen[i])


def _newest(last: str, new: str) -> str:
    return new or last


def _judge(
    markup: str, mark: str, edges: tuple[str, str, str, str], body: str, *, nested: bool
) -> tuple[tuple[_Step, ...], tuple[_Step, ...]]:
    """Returns what a pair of Markdown marks becomes: WhatsApp's marker, nothing, or the marks as they were written.

    `edges` are the characters outside and inside of the opening and of the closing mark. WhatsApp formats nothing that
    touches a word outside; `5*3 and 4*2` and `2**3` show that the person meant no emphasis there either.
    """
    raw = (_Step("text", markup),), (_Step("text", markup),)
    if body and _SYMBOLS_ONLY.fullmatch(body):
        return raw  # a face such as *_*
    if nested:
        return (), ()
    outer_left, inner_left, inner_right, outer_right = edges
    left, right = _touch(outer_left, inner_left), _touch(outer_right, inner_right)
    if "word" in {left, right}:
        letters = _WORDS_ONLY.fullmatch(body) and not (outer_left + outer_right).strip().isdigit()
        return ((), ()) if letters and mark != "_" else raw
    opening, closing = _Step("open", mark), _Step("close", mark)
    space = _Step("text", " ")
    return ((space, opening) if left else (opening,)), ((closing, space) if right else (closing,))


def _touch(outer: str, inner: str) -> Literal["", "word", "unspaced"]:
    """Whether a mark touches a word: scripts without spaces take one beside the marker, others no marker."""
    if not outer.isalnum():
        return ""
    return "unspaced" if is_unspaced(outer) or is_unspaced(inner) else "word"


def _address(link: Token, label: str) -> tuple[_Step, ...]:
    """Returns what follows a link's label: its address in brackets, unless the label says the same."""
    url = str(link.attrs.get("href", ""))
    if not url or _SCHEME.sub("", url).rstrip("/") == _SCHEME.sub("", label).rstrip("/"):
        return ()
    return (_Step("text", f" ({url})" if label else url),)


def _visible(token: Token) -> str:
    """Returns what a token other than a mark or a link shows."""
    match token.type:
        case "code_inline":
            fence = "```" if "`" in token.content else "`"
            return f"{fence}{token.content}{fence}" if token.content.strip() else token.content
        case "softbreak" | "hardbreak":
            return "\n"
        case "image":
            url = str(token.attrs.get("src", ""))
            return f"{token.content}: {url}" if token.content else url
        case "html_inline":
            return _tag(token.content)
        case _:
            return token.content


def _tag(tag: str) -> str:
    """Returns "" for HTML, a line end for HTML that breaks lines, else the text itself: `<grins>` is no HTML."""
    if _BREAKING.match(tag):
        return "\n"
    match = _TAG.match(tag)
    known = match is not None and (match[1] is None or match[1].lower() in _ELEMENTS)
    return "" if known else tag


def _partners(tokens: Sequence[Token]) -> dict[int, int]:
    """Returns the place of the closing token for that of each opening one."""
    partners: dict[int, int] = {}
    opened: list[int] = []
    for i, token in enumerate(tokens):
        if token.nesting > 0:
            opened.append(i)
        elif token.nesting < 0:
            partners[opened.pop()] = i
    return partners


def _star_outside(tokens: list[Token]) -> list[Token]:
    """Returns the tokens with `***x***` as bold around italics, the order that WhatsApp's help shows."""
    partners = _partners(tokens)
    swapped = list(tokens)
    for i in range(len(tokens) - 1):
        if tokens[i].type == "em_open" and tokens[i + 1].type == "strong_open" and partners[i] == partners[i + 1] + 1:
            j = partners[i]
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
            swapped[j - 1], swapped[j] = swapped[j], swapped[j - 1]
    return swapped
