"""The article's own way of choosing, in its own words: the baseline for every other figure."""

from typing import Final

_POINTS: Final = {
    "botan": {
        "stream": 6, "youtube": 6, "vtuber": 6, "social": 5, "social media": 1, "streaming": 1, "twitch": 1,
        "tiktok": 1, "instagram": 1, "twitter": 1, "content": 1, "creator": 1, "video": 1, "viral": 1,
        "entertainment": 1, "pop culture": 1, "trending": 1,
    },
    "kasho": {
        "music": 6, "instrument": 6, "career": 6, "song": 1, "piano": 1, "guitar": 1, "drums": 1, "band": 1,
        "compose": 1, "production": 1, "mixing": 1, "recording": 1, "concert": 1, "performance": 1, "job": 1,
        "work": 1, "relationship": 1, "advice": 1, "help": 1,
    },
    "yuri": {
        "book": 6, "read": 6, "write": 6, "anime": 6, "novel": 1, "story": 1, "author": 1, "literature": 1,
        "poetry": 1, "philosophy": 1, "fiction": 1, "non-fiction": 1, "scifi": 1, "fantasy": 1, "manga": 1,
        "comic": 1, "game": 1,
    },
}  # fmt: skip
"""What each text is worth wherever it stands in a message, inside other words too; a trigger's five are added."""


def article(text: str) -> str:
    """Returns who would answer, "none" where nothing is found (the article's default then speaks)."""
    lowered = text.lower()
    points = {who: sum(p for part, p in parts.items() if part in lowered) for who, parts in _POINTS.items()}
    best = max(points.values())
    return next(who for who, each in points.items() if each == best) if best else "none"
