"""What a chat in the terminal says of a message that is new or changed: bubbles, ticks, reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

_TICKS: Final = {"delivered": "✓✓ delivered", "read": "✓✓ read", "acknowledged": "✓✓ delivered"}
_CARRIED: Final = {
    "refused": "✗ the bot did not take it, after all of Twilio's tries",
    "dropped": "✗ lost on the way to the bot, as the faults in force want it",
    "found": "✓✓ found by the bot in Twilio's log",
}
_LOST: Final = ("refused", "dropped")
_FAILED: Final = ("undelivered", "failed")
_WHY_LETTERS: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something to show: what the person wrote, what the bot did, or a remark beside the chat."""

    by: Literal["person", "bot", "remark"]
    text: str


def news(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> Sequence[Said]:
    """Returns what is to be shown of a message's row; `before` is the row as it was seen last, None for a new one."""
    said: list[Said] = []
    if before is None:
        said.append(Said(by="person" if row["direction"] == "inbound" else "bot", text=_bubble(row)))
    mark, old = _mark(row), _mark(before) if before else ""
    if mark and mark != old:
        said.append(Said(by="remark", text=mark))
    return said


def reason(story: Mapping[str, Any]) -> str:
    """Returns in one line who answered and why, "" where nothing was decided."""
    facts: Mapping[str, Any] = story.get("facts") or {}
    decision: Mapping[str, Any] | None = facts.get("decision")
    if not decision:
        return ""
    why = " ".join(decision["why"].split())
    short = why if len(why) <= _WHY_LETTERS else f"{why[:_WHY_LETTERS]}…"
    return f"{decision['character']} by {decision['tier']}, {decision['confidence']:.2f}: {short}"


def _bubble(row: Mapping[str, Any]) -> str:
    parts = [f"[{media['content_type']}, {media['bytes']} bytes]" for media in row["media"]]
    if place := row["location"]:
        parts.append(f"[location {place['latitude']}, {place['longitude']} {place['label']}]".replace(" ]", "]"))
    return "\n".join([*parts, *([row["body"]] if row["body"] or not parts else [])])


def _mark(row: Mapping[str, Any]) -> str:
    if row["direction"] == "inbound":
        if row["read_at"] and row["carried"] not in _LOST:
            return _TICKS["read"]
        return _CARRIED.get(row["carried"], _TICKS.get(row["carried"], ""))
    if row["status"] in _FAILED:
        return f"✗ {row['status']} {row['error_code'] or ''}: {row['error_message'] or ''}".rstrip(": ")
    return _TICKS.get(row["status"], "")
