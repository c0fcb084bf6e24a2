"""Which of the cast's languages a chat message is in, so that fixed texts come in the person's own.

The kept libraries are no help here: lingua and fastText models weigh 100 MB and more, langdetect and py3langid guess on
three words, and none of them knows Hindi in Latin letters; nine languages with a list of function words each do.
"""

import re
import unicodedata
from typing import Final

from core.cast.characters import Cast

_SAMPLE: Final = 400
"""Characters looked at: a message shows its language within the first sentences, and the time stays bounded."""
_LETTER_SHARE: Final = 1 / 3
"""What a tell-tale letter counts beside a function word: about three of them make a word in Chinese and Japanese."""
_CLEAR_LEAD: Final = 1.5
"""Votes by which another language must lead to end the language spoken so far."""
_LEAD: Final = 0.01
"""The same when most of the message is in it: any lead that is no rounding."""
_APOSTROPHE: Final = "\u2019"
"""What telephones write for the straight one of the word lists."""
_EAST_ASIAN: Final = "\u2e80"
"""From here on a run of letters is no word: its letters vote, not it."""

_NO_LANGUAGE: Final = re.compile(r"\S*(?:://|\w[.@]\w)\S*|[@#]\w+")
"""Links, addresses, mentions and tags: their words are nobody's language ("com" would be Portuguese)."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_HAN: Final = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")


def detect(text: str, cast: Cast, previous: str | None) -> str:
    """Returns a tag out of `cast.languages`; `previous` is the person's language so far, None for a new person.

    Function words and tell-tale letters vote. No vote at all: the previous language, or Chinese for Chinese characters,
    else the fallback. A conversation changes its language only for a clear lead or a message mostly in the other one.
    """
    known = previous if previous in cast.languages else None
    sample = unicodedata.normalize("NFKC", _NO_LANGUAGE.sub(" ", text[:_SAMPLE])).casefold().replace(_APOSTROPHE, "'")
    words = set(_WORD.findall(sample))
    votes = _count(sample, words, cast)
    if not votes:
        return _undecided(sample, cast, known)
    best = max(votes, key=lambda tag: (votes[tag], -cast.languages.index(tag)))
    if known is None or best == known:
        return best
    lead = votes[best] - votes.get(known, 0.0)
    mostly = lead > _LEAD and votes[best] > sum(word < _EAST_ASIAN for word in words) / 2
    return best if mostly or lead >= _CLEAR_LEAD else known


def _count(sample: str, words: set[str], cast: Cast) -> dict[str, float]:
    votes: dict[str, float] = {}
    for word in words:
        for tag, share in cast.word_votes.get(word, ()):
            votes[tag] = votes.get(tag, 0.0) + share
    if not sample.isascii():
        for letter in sample:
            for tag, share in cast.letter_votes.get(letter, ()):
                votes[tag] = votes.get(tag, 0.0) + share * _LETTER_SHARE
    return votes


def _undecided(sample: str, cast: Cast, known: str | None) -> str:
    if _HAN.search(sample) and (known is None or not known.startswith(("zh", "ja"))):
        known = next((tag for tag in cast.languages if tag.startswith("zh")), known)
    return known or cast.languages[0]
