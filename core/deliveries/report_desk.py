"""Where status reports come from: those that wait in Redis, and what the provider says when asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog

from core import metrics
from core.deliveries.reports import Reports
from core.errors import Permanent, Transient
from core.model import StatusReport, Unreadable, load_report
from core.ports import Channel, Inboxes, ProviderMessage
from core.store import Store, Transaction

REPORTS_AT_ONCE: Final = 200
REPORT_WITHIN: Final = timedelta(minutes=10)
"""After so long without a final report the provider is asked, once. "sent" is not final: whether a message that
failed after it counts as answered hangs on the report that did not come."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unreported:
    delivery_id: int
    conversation_id: int
    channel: str
    provider_id: str


class ReportDesk:
    """Takes reports in; `push_soon` sends what they set free."""

    def __init__(
        self,
        *,
        store: Store,
        inboxes: Inboxes,
        channels: Mapping[str, Channel],
        reports: Reports,
        push_soon: Callable[[int], None],
    ) -> None:
        self._store = store
        self._inboxes = inboxes
        self._channels = channels
        self._reports = reports
        self._push_soon = push_soon

    def take(self) -> int:
        """Stores and applies the reports that wait in Redis, until none is left; returns how many there were.

        One does so at a time, of all workers: while another is at it there are none. What cannot be read or applied is
        kept apart as a dead letter.
        Raises: Transient when Redis or Postgres is away; what was not stored stays in Redis.
        """
        taken, reader = 0, uuid4().hex
        while entries := self._inboxes.read_reports(reader=reader, limit=REPORTS_AT_ONCE):
            freed = self._apply(entries)
            taken += len(entries)
            left = self._inboxes.remove_reports(entries, reader=reader)
            for conversation_id in sorted(freed):
                self._push_soon(conversation_id)
            if left == 0:
                break
        return taken

    def _apply(self, entries: Sequence[bytes]) -> set[int]:
        """Returns the conversations that may go on. Raises: Transient."""
        try:
            with self._store.transaction() as transaction:
                return self._reports.take(transaction, _readable(transaction, entries))
        except Transient:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with one of them: else the same would come for ever
            _log.exception("reports_not_applied")
        return {conversation_id for entry in entries for conversation_id in self._apply_alone(entry)}

    def _apply_alone(self, entry: bytes) -> set[int]:
        """The same for one, which is kept apart where that fails. Raises: Transient."""
        try:
            with self._store.transaction() as transaction:
                return self._reports.take(transaction, _readable(transaction, [entry]))
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 - its text may repeat values: only its kind is kept
            reason = f"not applied: {type(error).__name__}"
        with self._store.transaction() as transaction:
            _bury(transaction, entry, reason)
        return set()

    def ask_after(self, limit: int) -> int:
        """Asks what became of deliveries of which no final report came; returns how many were asked about.

        Each is asked about once, whatever the answer; where the provider cannot be asked, again a minute later.
        Raises: Transient.
        """
        with self._store.transaction() as transaction:
            unreported = transaction.all(_Unreported, "claim_unreported", silence=REPORT_WITHIN, limit=limit)
        for delivery in unreported:
            try:
                message = self._channels[delivery.channel].fetch(delivery.provider_id)
            except Permanent as error:
                if error.reason == "auth":  # our account's trouble: says nothing of the message
                    raise Transient(error.reason, code=error.code) from None
                _log.warning("not_fetched", delivery=delivery.delivery_id, reason=error.reason, code=error.code)
                report = None
            else:
                report = _as_report(delivery, message)
            with self._store.transaction() as transaction:
                if report is not None:
                    self._reports.take_fetched(transaction, report)
                transaction.run("note_fetched", delivery_id=delivery.delivery_id, provider_id=delivery.provider_id)
        return len(unreported)


def _readable(transaction: Transaction, entries: Sequence[bytes]) -> list[StatusReport]:
    """Returns the reports; what is none is kept apart."""
    reports: list[StatusReport] = []
    for entry in entries:
        try:
            reports.append(load_report(entry))
        except Unreadable as error:
            _bury(transaction, entry, str(error))
    return reports


def _bury(transaction: Transaction, entry: bytes, reason: str) -> None:
    transaction.run("bury", source="reports", payload=entry, reason=reason)
    metrics.DEAD_LETTERS.labels("reports").inc()


def _as_report(delivery: _Unreported, message: ProviderMessage) -> StatusReport:
    """Under the provider's id alone: our own id in a report is for a delivery that has none yet."""
    return StatusReport(
        channel=delivery.channel,
        provider_id=delivery.provider_id,
        status=message.status,
        received_at=datetime.now(UTC),
        error_code=message.error_code,
    )
