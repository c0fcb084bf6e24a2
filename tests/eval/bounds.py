"""What the held-out messages are held to: the figures that were promised, less three points for chance."""

from collections.abc import Iterable
from typing import Final

from tests.eval.score import Report, Tally

ALLOWANCE: Final = 3.0
GOALS: Final = {"all": 83.0, "kind indirect": 60.0, "kind typo": 85.0, "kind trap": 65.0, "label none": 85.0}
ANY_LANGUAGE: Final = 75.0
LANGUAGE_FROM: Final = 20
"""Messages of a language from which its figure means anything: one of ten is ten points."""
DIALOGUES: Final = 75.0
WITH_EMBEDDINGS: Final = 88.0


def problems(report: Report, *, with_embeddings: Report | None = None) -> list[str]:
    """Returns one sentence for each figure that is too low."""
    found = [_below(group, report.groups.get(group), goal) for group, goal in GOALS.items()]
    found += [
        _below(group, tally, ANY_LANGUAGE)
        for group, tally in report.groups.items()
        if group.startswith("language ") and tally.of >= LANGUAGE_FROM
    ]
    if report.dialogues.of:
        found.append(_below("dialogues whole", report.dialogues, DIALOGUES))
    if with_embeddings:
        found.append(_below("all, with embeddings", with_embeddings.groups.get("all"), WITH_EMBEDDINGS))
    return list(_some(found))


def _below(what: str, tally: Tally | None, goal: float) -> str | None:
    if tally is None or tally.percent >= goal - ALLOWANCE:
        return None
    return f"{what}: {tally.percent:.1f} % right of {tally.of}, the bound is {goal - ALLOWANCE:.0f} %"


def _some(each: Iterable[str | None]) -> Iterable[str]:
    return (one for one in each if one)
