"""What a person, and all of them together, may use: asked before the LLM is, so that nothing is spent beyond it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from core.config import LimitSettings
from core.store import Store

SPENT_IS_GOOD_FOR: Final = timedelta(seconds=5)
"""The day's spending is summed up this often in each process, not for each turn; a budget may be passed by as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    messages_used_up: bool | None
    turns_used_up: bool | None
    tokens_used_up: bool | None


class Limits:
    """Says whether a turn may still ask the LLM."""

    def __init__(self, *, store: Store, settings: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._spent = Decimal(0)
        self._asked_at: float | None = None

    def reached(self, *, conversation_id: int, turn_id: int) -> str:
        """Returns the name of the limit that is reached: messages, turns, tokens or budget; "" when none is.

        Raises: Transient when Postgres is away.
        """
        settings = self._settings
        if settings.messages_per_minute or settings.turns_per_day or settings.tokens_per_day:
            with self._store.alone() as statement:
                used = statement.one(
                    _Used,
                    "used_by_person",
                    conversation_id=conversation_id,
                    turn_id=turn_id,
                    messages_per_minute=settings.messages_per_minute,
                    turns_per_day=settings.turns_per_day,
                    tokens_per_day=settings.tokens_per_day,
                )
            if used is not None and used.messages_used_up:
                return "messages"
            if used is not None and used.turns_used_up:
                return "turns"
            if used is not None and used.tokens_used_up:
                return "tokens"
        if settings.budget_usd and self._spent_today() >= settings.budget_usd:
            return "budget"
        return ""

    def _spent_today(self) -> Decimal:
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at > SPENT_IS_GOOD_FOR.total_seconds():
                with self._store.alone() as statement:
                    self._spent = statement.value("spent_today")
                self._asked_at = now
            return self._spent
