"""What follows from a moderation verdict."""

from enum import StrEnum

from core.ports import Verdict


class Judgement(StrEnum):
    """What to do with a text. More layers may add steps between PASS and REFUSE."""

    PASS = "pass"  # noqa: S105 - no password
    REFUSE = "refuse"
    CRISIS = "crisis"


def judge(verdict: Verdict) -> Judgement:
    """Help comes before refusal: whoever speaks of harming themselves gets the crisis text, never a refusal.

    What could not be checked passes: moderation fails open, and the caller counts it.
    """
    if verdict.self_harm:
        return Judgement.CRISIS
    return Judgement.REFUSE if verdict.flagged else Judgement.PASS
