"""Routes labelled messages and dialogues and counts how often the one answers whose subject it is."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from core.routing.route import Router
from tests.eval.article import article

NONE: Final = "none"
"""The label of a message without a subject: the default answers it in a new conversation, else whoever is talking."""
_NO_TOPIC: Final = ("stay", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One labelled message that begins a conversation."""

    text: str
    label: str
    language: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a dialogue. `idle` is the time since the one before."""

    text: str
    label: str
    idle: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """Messages of one person in order."""

    turns: Sequence[Turn]
    language: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many were right."""

    right: int
    of: int

    @property
    def percent(self) -> float:
        """0 to 100; nothing counted is nothing wrong."""
        return 100 * self.right / self.of if self.of else 100.0

    def __str__(self) -> str:
        return f"{self.percent:5.1f}" if self.of else "    -"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one way of routing made of the messages. Groups: "all", "language en", "kind trap", "label none" ..."""

    groups: Mapping[str, Tally]
    tiers: Mapping[str, Tally]
    confusion: Mapping[tuple[str, str], int]
    """(label, what was found, "none" where no tier was sure) > messages."""
    dialogues: Tally = field(default_factory=lambda: Tally(right=0, of=0))
    turns: Tally = field(default_factory=lambda: Tally(right=0, of=0))


def read(path: Path) -> tuple[list[Message], list[Dialogue]]:
    """Returns what a file of JSON lines holds; a line with `messages` is a dialogue.

    Raises: OSError; ValueError naming the line that cannot be read.
    """
    messages: list[Message] = []
    dialogues: list[Dialogue] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            one = _labelled(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}:{number}: {type(error).__name__}: {error}") from error
        if isinstance(one, Dialogue):
            dialogues.append(one)
        else:
            messages.append(one)
    return messages, dialogues


def _labelled(row: dict[str, Any]) -> Message | Dialogue:
    language, kind = str(row.get("lang", "?")), str(row.get("kind", "?"))
    if "messages" not in row:
        return Message(text=row["text"], label=row["label"], language=language, kind=kind)
    turns = [Turn(text=each["text"], label=each["expect"], idle=_idle(each)) for each in row["messages"]]
    return Dialogue(turns=turns, language=language, kind=kind)


def _idle(turn: Mapping[str, Any]) -> timedelta | None:
    return None if turn.get("idle_s") is None else timedelta(seconds=float(turn["idle_s"]))


def score(router: Router, default: str, messages: Sequence[Message], dialogues: Sequence[Dialogue]) -> Report:
    """Returns how the router fares. A message counts as right when the one whose label it bears answers."""
    decided = [router.route(each.text, current=None) for each in messages]
    found = [NONE if d.tier in _NO_TOPIC else d.character for d in decided]
    tiers: dict[str, list[bool]] = defaultdict(list)
    for message, decision in zip(messages, decided, strict=True):
        tiers[decision.tier].append(decision.character == _who(message.label, default))
    whole, turns = _held(dialogues, lambda dialogue: _answers(router, dialogue), default)
    return Report(
        groups=_groups(messages, [d.character for d in decided], default),
        tiers={tier: _tally(right) for tier, right in sorted(tiers.items())},
        confusion=Counter(zip((m.label for m in messages), found, strict=True)),
        dialogues=whole,
        turns=turns,
    )


def score_article(default: str, messages: Sequence[Message], dialogues: Sequence[Dialogue]) -> Report:
    """Returns how the article's algorithm fares, which looks at each message by itself."""
    found = [article(each.text) for each in messages]
    whole, turns = _held(dialogues, lambda d: [_who(article(turn.text), default) for turn in d.turns], default)
    return Report(
        groups=_groups(messages, [_who(each, default) for each in found], default),
        tiers={},
        confusion=Counter(zip((m.label for m in messages), found, strict=True)),
        dialogues=whole,
        turns=turns,
    )


def _who(label: str, current: str) -> str:
    return current if label == NONE else label


def _groups(messages: Sequence[Message], answered: Sequence[str], default: str) -> dict[str, Tally]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for message, who in zip(messages, answered, strict=True):
        right = who == _who(message.label, default)
        for group in ("all", f"language {message.language}", f"kind {message.kind}", f"label {message.label}"):
            groups[group].append(right)
    return {group: _tally(right) for group, right in sorted(groups.items())}


def _answers(router: Router, dialogue: Dialogue) -> list[str]:
    current, state, answers = None, "", list[str]()
    for turn in dialogue.turns:
        decision = router.route(turn.text, current=current, state=state, idle=turn.idle)
        current, state = decision.character, decision.state
        answers.append(",".join(decision.characters))
    return answers


def _held(
    dialogues: Sequence[Dialogue], answers: Callable[[Dialogue], Sequence[str]], default: str
) -> tuple[Tally, Tally]:
    """Returns how many dialogues went right in every turn, and how many turns did."""
    whole: list[bool] = []
    turns: list[bool] = []
    for dialogue in dialogues:
        current = default
        right: list[bool] = []
        for turn, answer in zip(dialogue.turns, answers(dialogue), strict=True):
            current = _who(turn.label, current)
            right.append(answer == current)
        whole.append(all(right))
        turns += right
    return _tally(whole), _tally(turns)


def _tally(right: Iterable[bool]) -> Tally:
    each = list(right)
    return Tally(right=sum(each), of=len(each))
