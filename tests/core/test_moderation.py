import pytest

from core.moderation import Judgement, judge
from core.ports import Verdict


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict(), Judgement.PASS),
        (Verdict(flagged=True, categories=("hate",)), Judgement.REFUSE),
        (Verdict(flagged=True, self_harm=True, categories=("self-harm/intent",)), Judgement.CRISIS),
        (Verdict(flagged=True, self_harm=True, categories=("hate", "self-harm")), Judgement.CRISIS),
        (Verdict(checked=False), Judgement.PASS),
    ],
)
def test_self_harm_gets_help_the_flagged_refusal_the_unchecked_pass(verdict: Verdict, expected: Judgement) -> None:
    assert judge(verdict) is expected
