"""A turn between its rows and its values: what is read becomes `Work`, how it ended becomes columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.types.json import Jsonb

from core.errors import Spent
from core.prompting import Said
from core.work import Answer, Attempt, OwnMessage, Work

NOTICE_AGAIN_AFTER: Final = timedelta(hours=1)
"""A notice (of a failure, of a limit) covers what follows it, for as long as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """A held turn with its conversation."""

    turn_id: int
    conversation_id: int
    failures: int
    superseded: bool
    waiting_since: datetime
    person_id: int
    channel: str
    sender: str
    recipient: str
    profile_name: str
    character: str | None
    language: str | None
    route_state: str
    last_message_at: datetime | None
    welcomed_at: datetime | None
    silenced_at: datetime | None
    delete_asked_at: datetime | None
    failure_notice_at: datetime | None
    limit_notice_at: datetime | None
    time_left: timedelta
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """Something said before, by the person (`in`) or a character (`out`)."""

    direction: str
    character: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What came while the turn was thinking."""

    waiting: int
    plain_first: bool


def work_of(
    row: TurnRow,
    own: Sequence[OwnMessage],
    history: Sequence[HistoryRow],
    last_decision: Mapping[str, Any] | None,
) -> Work:
    """Returns what there is to answer; `history` is newest first, as it is read."""
    return Work(
        turn_id=row.turn_id,
        conversation_id=row.conversation_id,
        channel=row.channel,
        character=row.character,
        language=row.language,
        route_state=row.route_state,
        last_message_at=row.last_message_at,
        welcomed=row.welcomed_at is not None,
        silenced=row.silenced_at is not None,
        delete_asked_at=row.delete_asked_at,
        limit_noticed=row.limit_notice_at is not None and row.now - row.limit_notice_at < NOTICE_AGAIN_AFTER,
        now=row.now,
        own=own,
        history=[
            Said(character=said.character if said.direction == "out" else None, text=said.text)
            for said in reversed(history)
        ],
        last_decision=last_decision,
    )


def columns(answer: Answer, attempt: Attempt) -> dict[str, Any]:
    """Returns how the turn ended; of several calls the last one's provider and prompt, and the time of all of them."""
    calls = attempt.calls
    last, prompt = calls[-1] if calls else None, attempt.prompts[-1] if attempt.prompts else None
    took = sum((call.took for call in calls), timedelta(0))
    return {
        "outcome": answer.outcome,
        "reason": answer.reason,
        "character": answer.character,
        "decision": _decision(answer),
        "provider": last and last.provider,
        "model": last and last.model,
        "llm_ms": round(took.total_seconds() * 1000) if calls else None,
        "cut": any(call.cut for call in calls),
        "moderation": Jsonb([check.as_json() for check in attempt.checks]) if attempt.checks else None,
        "prompt_messages": prompt and len(prompt),
        "prompt_characters": prompt and sum(len(message.text) for message in prompt),
    }


def cost(spent: Spent) -> dict[str, Any]:
    """Returns what is added to the turn's tokens and price."""
    return {"tokens_in": spent.tokens_in, "tokens_out": spent.tokens_out, "cost_usd": spent.cost_usd}


def _decision(answer: Answer) -> Jsonb | None:
    """The routing's decision, with the one thing it does not know: who was talking before."""
    if answer.decision is None:
        return None
    before = {"took_over_from": answer.took_over_from} if answer.took_over_from else {}
    return Jsonb(answer.decision.as_json() | before)
