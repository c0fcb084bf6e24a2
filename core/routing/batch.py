"""Routing for people and scripts at a terminal: one decision explained, or one JSON line in and one out."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.routing import memory as memories
from core.routing.decision import Decision
from core.routing.route import Router


class _Line(BaseModel):
    # Unknown keys pass: a labelled file carries its labels along.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    text: str
    current: str | None = None
    state: str | None = None
    idle_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None


class _Routed(BaseModel):
    character: str
    characters: tuple[str, ...]
    tier: str
    confidence: float
    scores: dict[str, float]
    margins: dict[str, float]
    evidence: list[str]
    why: str
    switched: bool
    state: str


class _Unreadable(BaseModel):
    error: str


def route_line(router: Router, line: str) -> tuple[str, bool]:
    """Returns the answer to one line of input as one line of JSON, and whether the input could be read."""
    try:
        asked = _Line.model_validate_json(line)
    except (ValidationError, UnicodeEncodeError) as error:
        return _Unreadable(error=_problem(error)).model_dump_json(), False
    idle = None if asked.idle_s is None else timedelta(seconds=asked.idle_s)
    # Who names the current character and knows no more means a conversation that is hers.
    state = memories.held_by(asked.current) if asked.state is None and asked.current else asked.state or ""
    decision = router.route(asked.text, current=asked.current, state=state, idle=idle)
    routed = _Routed(
        character=decision.character,
        characters=decision.characters,
        tier=decision.tier,
        confidence=decision.confidence,
        scores=dict(decision.scores),
        margins=dict(decision.margins),
        evidence=list(map(str, decision.evidence)),
        why=decision.why,
        switched=decision.switched,
        state=decision.state,
    )
    return routed.model_dump_json(), True


def explain(decision: Decision) -> str:
    """Returns a decision for a person to read, several lines."""
    lines = [
        f"{', '.join(decision.characters)} by {decision.tier}, confidence {decision.confidence:.2f}: {decision.why}",
        "scores: " + _listed(decision.scores),
        "leads: " + _listed(decision.margins),
        *(f"  {evidence}" for evidence in decision.evidence),
        *(
            f"asked {o.tier}: {', '.join(o.characters)} {o.confidence:.2f} ({'sure' if o.sure else 'unsure'})"
            for o in decision.asked
        ),
    ]
    return "\n".join(lines)


def _listed(points: Mapping[str, float]) -> str:
    return ", ".join(f"{each} {value:g}" for each, value in points.items())


def _problem(error: ValidationError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "not valid Unicode"
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'line'}: {e['msg']}" for e in error.errors(include_input=False))
