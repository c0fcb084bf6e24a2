"""The switching rule over opinions of any tier, and the interplay of tiers in the ladder."""

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.routing.decision import Opinion, Tier
from core.routing.memory import Memory
from core.routing.phrases import Thresholds
from core.routing.staying import Ruling, Talk, bar, decide, settle

LIMITS = Thresholds()
HELD = Talk(
    current="cook",
    begins="smith",
    memory=Memory(held=True, spoke="cook"),
    idle=timedelta(minutes=1),
    length=8,
    asks=False,
    change=None,
)
NEW = dataclasses.replace(HELD, current=None, memory=Memory())


def says(who: str, confidence: float, *, sure: bool = True, tier: Tier = "words", **scores: float) -> Opinion:
    return Opinion(
        tier=tier, characters=(who,), sure=sure, confidence=confidence, scores=scores, evidence=(), why=f"{tier} say so"
    )


def ask(*opinions: Opinion, talk: Talk = HELD) -> Ruling:
    """What the ladder makes of tiers that say this one after the other."""
    said = [(opinions[: n + 1]) for n in range(len(opinions))]
    return next((found for each in said if (found := decide(each, talk, LIMITS))), None) or settle(
        opinions, talk, LIMITS
    )


def hinted(who: str, age: int = 0) -> Talk:
    return dataclasses.replace(HELD, memory=dataclasses.replace(HELD.memory, hint=who, hint_age=age))


def test_one_weak_sign_stays_and_is_remembered():
    ruling = ask(says("sailor", 0.8))
    assert (ruling.opinion.tier, ruling.opinion.characters, ruling.hint) == ("stay", ("cook",), "sailor")
    assert "one weak sign for sailor (0.80, 0.85 needed)" in ruling.opinion.why


def test_a_weak_sign_where_nothing_holds_tells_no_limit_that_it_would_have_passed():
    loose = dataclasses.replace(HELD, memory=Memory())
    why = ask(says("sailor", 0.8, sure=False), talk=loose).opinion.why
    assert "one weak sign for sailor (0.80)" in why
    assert "needed" not in why


def test_a_second_weak_sign_for_the_same_one_switches():
    ruling = ask(says("sailor", 0.5), talk=hinted("sailor"))
    assert (ruling.opinion.tier, ruling.opinion.characters, ruling.hint) == ("words", ("sailor",), None)
    assert "second weak sign" in ruling.opinion.why


def test_a_second_weak_sign_for_somebody_else_stays():
    ruling = ask(says("smith", 0.5), talk=hinted("sailor"))
    assert (ruling.opinion.characters, ruling.hint) == (("cook",), "smith")


def test_a_message_about_the_subject_ends_the_first_sign():
    assert ask(says("cook", 0.8), talk=hinted("sailor")).hint is None
    assert ask(says("cook", 0.3, sure=False), talk=hinted("sailor")).hint is None


def test_one_message_without_a_topic_may_stand_between_two_signs():
    once = ask(talk=hinted("sailor"))
    assert (once.opinion.tier, once.hint, once.hint_age) == ("stay", "sailor", 1)
    assert ask(talk=hinted("sailor", age=1)).hint is None


def test_what_is_hardly_a_sign_is_forgotten():
    assert ask(says("sailor", 0.39, sure=False)).hint is None


def test_an_unsure_tier_gives_a_sign_too():
    ruling = ask(says("sailor", 0.5, sure=False, tier="likeness"), talk=hinted("sailor"))
    assert (ruling.opinion.tier, ruling.opinion.characters) == ("likeness", ("sailor",))


def test_a_clear_change_switches_at_once():
    ruling = ask(says("sailor", 0.86))
    assert ruling.opinion.characters == ("sailor",)
    assert "leaves cook (0.86, 0.85 needed)" in ruling.opinion.why


def test_a_question_needs_less_and_an_announced_change_nothing():
    assert ask(says("sailor", 0.8), talk=dataclasses.replace(HELD, asks=True)).opinion.characters == ("sailor",)
    announced = ask(says("sailor", 0.4), talk=dataclasses.replace(HELD, change="by the way"))
    assert announced.opinion.characters == ("sailor",)
    assert '"by the way" announces a change' in announced.opinion.why


def test_nobody_is_held_whom_no_topic_brought_in():
    assert bar(dataclasses.replace(HELD, memory=Memory()), LIMITS) == 0
    assert bar(NEW, LIMITS) == 0


def test_a_pause_loosens_the_grip_in_proportion():
    def after(hours: float) -> float:
        return bar(dataclasses.replace(HELD, idle=timedelta(hours=hours)), LIMITS)

    assert after(0) == 0.85
    assert after(3) == pytest.approx(0.425)  # pyright: ignore[reportUnknownMemberType]
    assert after(6) == after(20) == 0


def test_likeness_adds_nothing_to_a_stray_word_that_it_knows_too():
    ruling = ask(says("sailor", 0.8, sure=False), says("sailor", 0.98, tier="likeness"))
    assert (ruling.opinion.characters, ruling.hint) == (("cook",), "sailor")


def test_likeness_alone_switches_when_the_message_is_long_enough_to_stand_for_itself():
    likeness = says("sailor", 0.95, tier="likeness")
    assert ask(likeness).opinion.characters == ("sailor",)
    short = ask(likeness, talk=dataclasses.replace(HELD, length=4))
    assert (short.opinion.characters, short.hint) == (("cook",), "sailor")
    assert ask(likeness, talk=dataclasses.replace(HELD, length=3)).hint is None


def test_two_unsure_tiers_that_agree_begin_a_conversation_and_one_does_not():
    guess = says("sailor", 0.5, sure=False)
    assert ask(guess, says("sailor", 0.6, sure=False, tier="likeness"), talk=NEW).opinion.characters == ("sailor",)
    alone = ask(guess, talk=NEW).opinion
    assert (alone.characters, alone.tier) == (("smith",), "default")
    assert ask(guess, says("cook", 0.6, sure=False, tier="likeness"), talk=NEW).opinion.tier == "default"


def test_a_sure_tier_for_the_current_one_ends_a_doubt():
    ruling = ask(says("sailor", 0.8), says("cook", 0.7, tier="likeness"))
    assert (ruling.opinion.characters, ruling.opinion.tier, ruling.hint) == (("cook",), "likeness", None)


def test_what_speaks_for_the_current_one_is_taken_off():
    for_cook = says("cook", 0.3, sure=False)
    ruling = ask(for_cook, says("sailor", 0.95, tier="likeness"))
    assert (ruling.opinion.characters, ruling.hint) == (("cook",), "sailor")


def test_a_third_one_who_comes_close_does_not_hold_the_conversation():
    # 5 points, 1 for a third one, 1 of doubt: unclear who shall answer, clear that the current one shall not.
    opinion = says("sailor", 0.714, sailor=5.0, smith=1.0, cook=0.0)
    assert ask(opinion, talk=dataclasses.replace(HELD, asks=True)).opinion.characters == ("sailor",)
    rival = says("sailor", 0.714, sailor=5.0, smith=0.0, cook=1.0)
    assert ask(rival, talk=dataclasses.replace(HELD, asks=True)).opinion.characters == ("cook",)


def test_all_evidence_of_tiers_that_agree_is_told():
    talk = dataclasses.replace(HELD, change="by the way")
    ruling = ask(says("sailor", 0.7, sure=False), says("sailor", 0.9, tier="likeness"), talk=talk)
    assert ruling.opinion.why.startswith("likeness say so; words: words say so; leaves cook")


shares = st.floats(0, 1)
opinions = st.lists(
    st.builds(
        says,
        st.sampled_from(["cook", "smith", "sailor"]),
        shares,
        sure=st.booleans(),
        tier=st.sampled_from(["words", "likeness", "embeddings"]),
        cook=shares,
        smith=shares,
        sailor=shares,
    ),
    max_size=3,
)
talks = st.builds(
    dataclasses.replace,
    st.sampled_from([HELD, NEW, hinted("sailor")]),
    idle=st.timedeltas(timedelta(), timedelta(days=400)),
    asks=st.booleans(),
    change=st.sampled_from([None, "by the way"]),
)


@given(said=opinions, talk=talks)
def test_any_opinions_end_in_one_of_those_who_were_meant_or_stay(said: list[Opinion], talk: Talk):
    ruling = ask(*said, talk=talk)
    meant = {each.characters[0] for each in said}
    assert ruling.opinion.characters[0] in meant | {talk.current or talk.begins}
    assert 0 <= ruling.opinion.confidence <= 1
    assert ruling.hint is None or ruling.hint != talk.current
