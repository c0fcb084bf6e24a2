"""How an attempt to send ends in the rows: fenced by its number, so that who lost it changes nothing."""

from dataclasses import dataclass
from typing import Any

import structlog

from core.deliveries.reports import Reports
from core.delivery import opted_out
from core.errors import Transient
from core.store import Conflict, Store

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to send a delivery; `fence` is its number."""

    delivery_id: int
    conversation_id: int
    fence: int
    channel: str
    sender: str
    recipient: str
    body: str


class Settling:
    """Writes what became of attempts. Postgres away: the row is later found to be old, and is looked into."""

    def __init__(self, *, store: Store, reports: Reports) -> None:
        self._store = store
        self._reports = reports

    def accept(self, attempt: Attempt, provider_id: str) -> bool:
        """The delivery learns the provider's id, and what was reported under that id before.

        Returns whether something was reported: without that its pause begins now, and nothing may follow yet.
        """
        known = {"delivery_id": attempt.delivery_id, "fence": attempt.fence, "provider_id": provider_id}
        try:
            with self._store.alone() as statement:
                if statement.run("accept_unreported", **known):
                    return False
            with self._store.transaction() as transaction:
                told = bool(transaction.value("accept_delivery", **known))
                if told:
                    self._reports.apply_told(transaction, channel=attempt.channel, provider_id=provider_id)
        except (Transient, Conflict) as error:
            _log.warning("not_settled", delivery=attempt.delivery_id, statement="accept_delivery", reason=str(error))
            return False
        return told

    def settle(self, statement: str, attempt: Attempt, **params: Any) -> None:
        """Runs that statement for the attempt."""
        try:
            with self._store.alone() as only:
                only.run(statement, delivery_id=attempt.delivery_id, fence=attempt.fence, **params)
        except (Transient, Conflict) as error:
            _log.warning("not_settled", delivery=attempt.delivery_id, statement=statement, reason=str(error))

    def fail(self, attempt: Attempt, code: str) -> None:
        """Never again; a person who told the provider to stop is left alone from now on. Raises: Transient."""
        self.settle("fail_delivery", attempt, code=code)
        if opted_out(code):
            with self._store.transaction() as transaction:
                transaction.run("silence_conversation", conversation_id=attempt.conversation_id)
