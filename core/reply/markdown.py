"""A Markdown parser for chat: CommonMark with the rules softened that would eat what people write in chats."""
# ruff: noqa: RUF001 - the marks of other scripts are meant

import re
from typing import Any, Final, cast

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote, reference
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.emphasis import tokenize as tokenize_emphasis
from markdown_it.token import Token

MAX_NESTING: Final = 60
"""Levels of quotes and lists. markdown-it drops the text below its bound (20 as shipped): high enough that only
nonsense is dropped, low enough that the parser's recursion, about four frames a level, stays far from Python's limit.
"""

_UNSPACED: Final = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_DEFINES_LINK: Final = re.compile(r"\[([^\[\]\n]{1,200})\]:\s*<?(?:https?://|mailto:|www\.)", re.IGNORECASE)
_URL: Final = re.compile(r"""://[^\s<>\[\]`"|。，、！？；：（）「」『』《》【】]+""")
_URL_ESCAPE: Final = re.compile(r"\\(?=[_*~])")
# The bodies are bounded: an opener that is never closed costs at most so much, however many there are.
_MATH: Final = re.compile(
    r"""\\\((?P<round>.{1,500}?)\\\)
      | \\\[(?P<square>.{1,1000}?)\\\]
      | \$\$(?P<display>[^$]{1,1000})\$\$
      | (?<![\w$])\$(?P<dollar>[^\s$](?:[^$\n]{0,500}[^\s$])?)\$(?![\w$])""",
    re.DOTALL | re.VERBOSE,
)
_LOOKS_LIKE_MATH: Final = re.compile(r"[\\^_{}=<>+]|\d\s*[*/-]\s*\d|\A\s*[^\W\d]\w?\s*\Z")


def parse(text: str) -> list[Token]:
    """Returns markdown-it's block tokens; inline tokens hang below them as `children`."""
    return _PARSER.parse(text)


def is_unspaced(char: str) -> bool:
    """Whether the character belongs to a script that puts no spaces between words (Chinese, Japanese, Thai, ...)."""
    return _UNSPACED.match(char) is not None


class _ChatMarkdown(MarkdownIt):
    """MarkdownIt that shows addresses as they were written: a reader of a chat cannot use percent-encoding."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802 - markdown-it's name
        return url

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802 - markdown-it's name
        return link


def _spaced_blockquote(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    # CommonMark quotes on a bare ">", which turns faces like >:( and >_< into quotations.
    second = state.bMarks[start_line] + state.tShift[start_line] + 1
    after = state.src[second : second + 1]
    return after in {" ", "\t", "\n", ">", ""} and blockquote(state, start_line, end_line, silent)


def _used_reference(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:  # noqa: FBT001 - as above
    # A definition vanishes from the text, so "[Ana]: hello" and a list of sources that nothing refers to must be none.
    line = state.src[state.bMarks[start_line] + state.tShift[start_line] : state.eMarks[start_line]]
    if (match := _DEFINES_LINK.match(line)) is None:
        return False
    env = cast("dict[str, str]", state.env)
    source = env.get("lowered") or env.setdefault("lowered", state.src.lower())
    if source.count(f"[{match[1].lower()}]") < 2:  # noqa: PLR2004 - itself and a use
        return False
    return reference(state, start_line, end_line, silent)


def _bare_url(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Passes an address through whole, so that its underscores and stars mark nothing."""
    start = state.pos
    if not state.src.startswith("://", start) or not state.src[max(start - 5, 0) : start].lower().endswith(
        ("http", "https")
    ):
        return False
    match = _URL.match(state.src, start, state.posMax)
    if match is None or len(rest := match[0].rstrip("*_~.,:;!?')\\")) <= len("://"):
        return False
    if not silent:
        state.append_pending(_URL_ESCAPE.sub("", rest).replace("&amp;", "&"))
    state.pos += len(rest)
    return True


def _math(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    r"""Drops the delimiters of LaTeX and passes its body through; `\(so\)` may also be escaped brackets, `$5` money."""
    match = _MATH.match(state.src, state.pos, state.posMax) if state.src[state.pos] in "\\$" else None
    if match is None:
        return False
    body = cast("str", match[cast("str", match.lastgroup)])
    one_word = match.lastgroup in {"round", "square"} and not any(map(str.isspace, body))
    if not (one_word or _LOOKS_LIKE_MATH.search(body)):
        return False
    if not silent:
        state.append_pending("\n".join(line.strip() for line in body.strip().split("\n")))
    state.pos = match.end()
    return True


def _shrug(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    r"""Keeps the arm of `¯\_(ツ)_/¯`, the one backslash of chats that escapes nothing."""
    if not state.src.startswith("¯\\_(ツ)", max(state.pos - 1, 0)) or state.src[state.pos] != "\\":
        return False
    if not silent:
        state.append_pending("\\_")
    state.pos += 2
    return True


def _unspaced_emphasis(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Lets emphasis end after punctuation that touches a word, which CommonMark forbids and Chinese cannot avoid."""
    start = state.pos
    if not tokenize_emphasis(state, silent):
        return False
    before, after = state.src[start - 1 : start], state.src[state.pos : state.pos + 1]
    touches_before, touches_after = is_unspaced(before), is_unspaced(after)
    if state.src[start] == "*" and touches_before != touches_after and before.strip() and after.strip():
        for delimiter in state.delimiters[start - state.pos :]:
            delimiter.close = delimiter.close or (touches_after and not before.isalnum())
            delimiter.open = delimiter.open or (touches_before and not after.isalnum())
    return True


def _build() -> MarkdownIt:
    options: Any = {"maxNesting": MAX_NESTING}
    parser = _ChatMarkdown("commonmark", options)
    # Indentation is no code in a chat; HTML blocks become paragraphs, so that the text between their tags is formatted.
    parser.disable(["code", "html_block"]).enable(["strikethrough", "table"])
    interrupts = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.at("blockquote", _spaced_blockquote, {"alt": interrupts})
    parser.block.ruler.at("reference", _used_reference)
    parser.inline.ruler.before("escape", "math", _math)
    parser.inline.ruler.before("math", "shrug", _shrug)
    parser.inline.ruler.after("text", "bare_url", _bare_url)
    parser.inline.ruler.at("emphasis", _unspaced_emphasis)
    parser.parse("*x*")  # compiles the rule chains now: two threads that do so at once would see half of them
    return parser


_PARSER: Final = _build()
