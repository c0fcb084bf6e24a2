"""A turn between its rows and its values: what is read becomes `Work`, how it ended becomes columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.types.json import Jsonb

from core.errors import Spent
from core.prompting import Said
from core.turns.work import Answer, Attempt, OwnMessage, Work

NOTICE_AGAIN_AFTER: Final = timedelta(hours=1)
"""A notice (of a failure, of a limit) covers what follows it, for as long as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """A held turn with its conversation."""

    turn_id: int
    conversation_id: int
    failures: int
    last_reason: str | None
    """What its attempt before this one failed for."""
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
    history: Sequence[tuple[str, str | None, str]]
    """Direction, character and text of what was said before, by the person (`in`) or a character (`out`); newest
    first, as JSON carries it: twenty small rows cost the client more than one large one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What came while the turn was thinking."""

    waiting: int
    plain_first: bool


def work_of(
    row: TurnRow,
    own: Sequence[OwnMessage],
    last_decision: Mapping[str, Any] | None,
) -> Work:
    """Returns what there is to answer."""
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
            Said(character=character if direction == "out" else None, text=text)
            for direction, character, text in reversed(row.history)
        ],
        last_decision=last_decision,
    )


def ending(row: TurnRow, work: Work, answer: Answer, attempt: Attempt) -> dict[str, Any]:
    """Returns all that is stored with an answer."""
    pieces = [(place, body) for place, reply in enumerate(answer.replies, 1) for body in reply.pieces]
    return {
        **_columns(answer, attempt),
        **cost(attempt.spent),
        "conversation_id": row.conversation_id,
        "channel": row.channel,
        "sender": row.recipient,
        "recipient": row.sender,
        "characters": [reply.character for reply in answer.replies],
        "texts": [reply.text for reply in answer.replies],
        "replies": [place for place, _ in pieces],
        "bodies": [body for _, body in pieces],
        "language": answer.language,
        "route_state": None if answer.decision is None else answer.decision.state,
        "last_message_at": work.own[-1].received_at if work.own else None,
        "welcomed": answer.welcomed,
        "silence": answer.silence,
        "delete_asked": answer.delete_asked,
        "failure": answer.failure,
        "limit": answer.limit,
    }


def _columns(answer: Answer, attempt: Attempt) -> dict[str, Any]:
    """How the turn ended; of several calls the last one's provider and prompt, and the time of all of them."""
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
