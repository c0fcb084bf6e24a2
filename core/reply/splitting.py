"""A reply in pieces that the channel takes, cut where a reader pauses and never through what belongs together."""
# ruff: noqa: RUF001 - the full stops of other scripts are meant

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

import regex

LIMIT: Final = 1500
"""UTF-16 units a piece. Source: Twilio refuses a body over 1,600 characters (error 21617, 21658) and does not say in
which unit it counts (FACTS 2.1 as of 2026-11): UTF-16 is the larger of the likely ones."""

_LEAST_ROOM: Final = 24
_OVERHEAD: Final = 8
"""Units kept free in a piece that is not the last: what closes a code block (4) or three nested markers."""
_FULL_ENOUGH: Final = 4
"""A piece is cut at a paragraph, line or sentence only if it is filled to a quarter by then."""

_GRAPHEME: Final = regex.compile(r"\X")
_FENCE: Final = regex.compile(r"```.+?```(?!`)", regex.DOTALL)
_INLINE: Final = tuple(
    regex.compile(rf"(?<![^\W_]){mark}(?![\s{mark}])[^{mark}\n]*(?<!\s){mark}(?![^\W_])")
    for mark in ("`", r"\*", "_", "~")
)
_VERBATIM: Final = (_FENCE, _INLINE[0])
_ENDS_SENTENCE: Final = frozenset(".!?…。！？｡．।॥؟۔")
_ENDS_UNSPACED: Final = frozenset("。！？｡．、，；：」』）।॥")
_CLOSES: Final = frozenset("\"'”’»)]*_~`」』）")

_PARAGRAPH, _LINE, _SENTENCE, _WORD, _ANYWHERE = range(5)


def units(text: str) -> int:
    """Returns the length in UTF-16 units, as the channel may count it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def split(text: str, *, first_prefix: str = "", limit: int = LIMIT) -> list[str]:
    """Returns pieces of at most `limit` UTF-16 units; the first begins with `first_prefix`. No piece is blank.

    Cuts at paragraphs, then lines, sentences, words, and only then between any two graphemes. A code block or marker
    that a cut goes through is closed and opened again in the next piece. Only a grapheme that is longer than a piece
    is cut itself, between code points. A blank text gives no pieces.

    Raises: ValueError when the prefix leaves fewer than 24 units for the text.
    """
    if limit - units(first_prefix) < _LEAST_ROOM:
        raise ValueError(f"a limit of {limit} units leaves no room beside the prefix")
    whole = text.strip()
    if not whole:
        return []
    if units(whole) <= limit - units(first_prefix):
        return [first_prefix + whole]
    pieces = [piece for piece in _Cutter(whole, limit=limit, prefix=first_prefix).pieces() if piece]
    return [first_prefix + pieces[0], *pieces[1:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A code block or marked text: graphemes `start` to `end`, with what opens and closes it."""

    start: int
    end: int
    opener: str
    closer: str

    @property
    def code(self) -> bool:
        return self.opener.startswith("```")

    def broken_by(self, cut: int) -> bool:
        return self.start < cut < self.end

    def emptied_by(self, cut: int) -> bool:
        """Whether a cut there would leave nothing but marks on one side."""
        return self.start < cut <= self.start + len(self.opener) or self.end - len(self.closer) <= cut < self.end


@dataclass(slots=True)
class _Cutter:
    """Cuts one text. All places are counted in graphemes; a place is the cut before that grapheme."""

    text: str
    limit: int
    prefix: str
    graphemes: list[str] = field(init=False)
    sizes: list[int] = field(init=False)
    """Units before each place."""
    spans: list[_Span] = field(init=False)

    def __init__(self, text: str, *, limit: int, prefix: str) -> None:
        self.text, self.limit, self.prefix = text, limit, prefix
        self.graphemes = list(self._graphemes(limit - units(prefix) - 2 * _OVERHEAD))
        self.sizes = list(accumulate(map(units, self.graphemes), initial=0))
        self.spans = _spans(text, self.graphemes)

    def pieces(self) -> Iterator[str]:
        at, count = 0, len(self.graphemes)
        room = self.limit - units(self.prefix)
        while at < count:
            opened = [span for span in self.spans if span.broken_by(at)]
            reopen = "".join(span.opener for span in opened)
            cut = self._cut(at, room - units(reopen))
            closed = [span for span in self.spans if span.broken_by(cut)]
            yield self._piece(at, cut, reopen, closed)
            at, room = cut, self.limit
            while (
                at < count and self.graphemes[at].isspace() and not any(s.code and s.broken_by(at) for s in self.spans)
            ):
                at += 1

    def _graphemes(self, longest: int) -> Iterator[str]:
        for match in _GRAPHEME.finditer(self.text):
            grapheme = match[0]
            if units(grapheme) <= longest:
                yield grapheme
            else:  # a letter under hundreds of accents
                step = max(1, longest // 2)
                yield from (grapheme[i : i + step] for i in range(0, len(grapheme), step))

    def _cut(self, at: int, room: int) -> int:
        """Returns the best place to end the piece that begins at `at`."""
        if self.sizes[-1] - self.sizes[at] <= room:
            return len(self.graphemes)
        room -= _OVERHEAD
        end = max(at + 1, bisect_right(self.sizes, self.sizes[at] + room) - 1)
        near = [span for span in self.spans if span.start < end and span.end > at]
        best = {_ANYWHERE: end}
        least = self.sizes[at] + room // _FULL_ENOUGH
        for place in range(end, at, -1):
            spans = [span for span in near if span.broken_by(place)]
            if any(span.emptied_by(place) for span in spans):
                if best[_ANYWHERE] == place > at + 1:
                    best[_ANYWHERE] = place - 1
                continue
            rank = self._rank(place, in_code=any(span.code for span in spans))
            if rank == _WORD or (rank < _WORD and self.sizes[place] >= least):
                best.setdefault(rank, place)
            if rank == _PARAGRAPH and rank in best:
                break
        return best[min(best)]

    def _rank(self, place: int, *, in_code: bool) -> int:
        before = self.graphemes[place - 1]
        if before == "\n":
            return _LINE if in_code or not self._paragraph_before(place) else _PARAGRAPH
        if before.isspace():
            return _SENTENCE if not in_code and self._sentence_before(place) else _WORD
        if before in _ENDS_UNSPACED and not in_code:
            follows = self.graphemes[place : place + 1]
            if follows and (follows[0] in _CLOSES or follows[0] in _ENDS_UNSPACED):
                return _ANYWHERE
            return _SENTENCE if before in _ENDS_SENTENCE else _WORD
        return _ANYWHERE

    def _paragraph_before(self, place: int) -> bool:
        above = place - 2
        while above >= 0 and self.graphemes[above] in " \t":
            above -= 1
        beside_code = any(span.code and (span.start == place or span.end == place - 1) for span in self.spans)
        return beside_code or (above >= 0 and self.graphemes[above] == "\n")

    def _sentence_before(self, place: int) -> bool:
        last = place - 2
        while last >= 0 and self.graphemes[last] in _CLOSES:
            last -= 1
        return last >= 0 and self.graphemes[last][-1] in _ENDS_SENTENCE

    def _piece(self, at: int, cut: int, reopen: str, closed: list[_Span]) -> str:
        """Returns the graphemes between the places, marks balanced; "" when nothing but marks and blanks is there."""
        while cut > at and self.graphemes[cut - 1].isspace():
            cut -= 1
        body = "".join(self.graphemes[at:cut])
        if not (body.strip("` \n") if reopen else body):
            return ""
        return reopen + body + "".join(span.closer for span in reversed(closed))


def _spans(text: str, graphemes: list[str]) -> list[_Span]:
    """Returns code blocks and marked texts in the order in which they open."""
    place = {start: i for i, start in enumerate(accumulate(map(len, graphemes), initial=0))}
    spans: list[_Span] = []
    for mark in (_FENCE, *_INLINE):
        for match in mark.finditer(text):
            found = match[0]
            block = found.startswith("```\n")
            opener = "```\n" if block else "```" if mark is _FENCE else found[0]
            closer = "\n```" if block else opener
            if match.start() in place and match.end() in place:
                spans.append(_Span(start=place[match.start()], end=place[match.end()], opener=opener, closer=closer))
        if mark in _VERBATIM:  # no marks within code, nor across it
            text = mark.sub(lambda match: ("\n" if match[0].startswith("```") else ".") * len(match[0]), text)
    return sorted(spans, key=lambda span: span.start)
