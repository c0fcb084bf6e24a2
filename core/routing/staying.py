"""Whether a running conversation is left for somebody else: a rule over what the tiers said so far, no more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from core.routing.decision import Opinion
from core.routing.memory import Memory
from core.routing.phrases import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """The running conversation as far as it matters to who goes on."""

    current: str | None
    """Id of whoever is talking; None in a conversation that is new or has rested."""
    begins: str
    """Id of who answers when nobody is talking and no topic is seen."""
    memory: Memory
    idle: timedelta
    length: float
    """Words in the message."""
    asks: bool
    """Whether the message is a question or a request."""
    change: str | None
    """The phrase in it that announces another subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Who answers, and which weak sign is kept for the next message."""

    opinion: Opinion
    hint: str | None = None
    hint_age: int = 0


def bar(talk: Talk, thresholds: Thresholds) -> float:
    """Returns the confidence, 0 to 1, at which this message is taken away from whoever is talking."""
    if not talk.current or not talk.memory.held or talk.change:
        return 0.0
    rested = min(1.0, talk.idle / timedelta(hours=thresholds.grip_h))
    return (thresholds.switch_asked_at if talk.asks else thresholds.switch_at) * (1 - rested)


def decide(opinions: Sequence[Opinion], talk: Talk, thresholds: Thresholds) -> Ruling | None:
    """Returns the decision as soon as the tiers asked so far are clear enough, None to ask the next one.

    The last opinion speaks. Those of the tiers before, none of them enough by itself, add to it where they mean the
    same one; a running conversation is left only when all of that is clear enough.
    """
    last = opinions[-1]
    chosen = last.characters[0]
    agreeing = [each for each in opinions if each.characters[0] == chosen]
    together = _together(agreeing)
    enough = last.sure or (len(agreeing) > 1 and together >= thresholds.agree_at)
    if not enough:
        return None
    if talk.current is None or chosen == talk.current:
        return Ruling(opinion=_joined(agreeing, together, ""))
    needed, strength = bar(talk, thresholds), _strength(chosen, opinions, talk, thresholds)
    if strength >= needed:
        clear = f"{strength:.2f}, {needed:.2f} needed"
        change = f', "{talk.change}" announces a change' if talk.change else ""
        return Ruling(opinion=_joined(agreeing, together, f"; leaves {talk.current} ({clear}{change})"))
    return None


def settle(opinions: Sequence[Opinion], talk: Talk, thresholds: Thresholds) -> Ruling:
    """Returns the decision when all tiers were asked and none was clear enough: two weak signs, staying, beginning."""
    sign = _sign(opinions, talk, thresholds)
    if sign and sign.characters[0] == talk.memory.hint:
        agreeing = [each for each in opinions if each.characters[0] == talk.memory.hint]
        why = f"; leaves {talk.current} (second weak sign in a row)"
        return Ruling(opinion=_joined(agreeing, sign.confidence, why))
    stays = _stays(opinions, talk)
    if sign:
        # Where nothing holds, the sign fell short by itself.
        needed = f", {limit:.2f} needed" if (limit := bar(talk, thresholds)) else ""
        weak = f"one weak sign for {sign.characters[0]} ({sign.confidence:.2f}{needed})"
        return Ruling(opinion=replace(stays, why=f"{stays.why}: {weak}: {sign.why}"), hint=sign.characters[0])
    if opinions or talk.memory.hint is None or talk.memory.hint_age >= thresholds.hint_lasts:
        return Ruling(opinion=stays)
    return Ruling(opinion=stays, hint=talk.memory.hint, hint_age=talk.memory.hint_age + 1)


def _sign(opinions: Sequence[Opinion], talk: Talk, thresholds: Thresholds) -> Opinion | None:
    """Who else is meant more than whoever is talking, if that is worth remembering."""
    if talk.current is None:
        return None
    meant = dict.fromkeys(each.characters[0] for each in opinions)
    weighed = {who: _strength(who, opinions, talk, thresholds) for who in meant if who != talk.current}
    if not weighed:
        return None
    who = max(weighed, key=lambda each: weighed[each])
    own = max((each.confidence for each in opinions if each.characters[0] == talk.current), default=0.0)
    if weighed[who] < max(thresholds.hint_at, own):
        return None
    strongest = max((each for each in opinions if each.characters[0] == who), key=lambda each: each.confidence)
    return replace(strongest, confidence=weighed[who])


def _stays(opinions: Sequence[Opinion], talk: Talk) -> Opinion:
    """Whoever is talking goes on, else the default begins. What was guessed stays on record."""
    guess = max(opinions, key=lambda each: each.confidence, default=None)
    who = talk.current or talk.begins
    does = f"stays with {who}" if talk.current else f"begins with {who}"
    return Opinion(
        tier="stay" if talk.current else "default",
        characters=(who,),
        sure=True,
        confidence=0.0,
        scores=guess.scores if guess else {},
        evidence=tuple(reason for each in opinions for reason in each.evidence),
        why=f"{'too little to go by' if guess else 'no topic'}, {does}" + (f" ({guess.why})" if guess else ""),
    )


def _together(opinions: Sequence[Opinion]) -> float:
    """How sure tiers that mean the same one are together: what each of them leaves in doubt is multiplied."""
    return round(1 - math.prod(1 - each.confidence for each in opinions), 3)


def _strength(who: str, opinions: Sequence[Opinion], talk: Talk, thresholds: Thresholds) -> float:
    """How clearly the tiers that mean `who` speak against whoever is talking, less what speaks for her.

    The tiers of likeness know the cast's words too and judge each message by itself: where there are words, likeness
    adds nothing that tells a stray one from a change of subject, and where there are none, a short message ("and how
    much does it cost?") goes on with what was said before, whatever it sounds like.
    """
    current = talk.current or ""
    meant = [each for each in opinions if each.characters[0] == who]
    own = max((each.confidence for each in opinions if each.characters[0] == current), default=0.0)
    words = [_against(each, current) for each in meant if each.tier == "words"]
    if words:
        return round(max(words) * (1 - own), 3)
    share = min(1.0, talk.length / thresholds.full_length_words)
    return round(max(_against(each, current) for each in meant) * share * (1 - own), 3)


def _against(opinion: Opinion, other: str) -> float:
    """How sure a tier is of its choice if the choice were between that one and `other` alone.

    A third one who comes close makes it less sure who shall answer, and no less sure that `other` shall not.
    """
    chosen = opinion.characters[0]
    best, rival = opinion.scores.get(chosen, 0.0), opinion.scores.get(other, 0.0)
    if chosen == other or best <= 0 or opinion.confidence <= 0:
        return opinion.confidence
    second = max((points for each, points in opinion.scores.items() if each != chosen), default=0.0)
    unknown = max(0.0, best / opinion.confidence - best - second)
    return max(opinion.confidence, best / (best + max(rival, 0.0) + unknown))


def _joined(agreeing: Sequence[Opinion], confidence: float, why: str) -> Opinion:
    """The last opinion with what those before it, which mean the same one, add to it."""
    *before, last = agreeing
    added = "".join(f"; {each.tier}: {each.why}" for each in before)
    evidence = (*last.evidence, *(reason for each in before for reason in each.evidence))
    return replace(last, sure=True, confidence=confidence, evidence=evidence, why=f"{last.why}{added}{why}")
