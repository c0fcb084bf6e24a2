"""Status reports: told once, applied to their delivery only forward, also when they came before it had an id."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.delivery import FAILURES, RANKS, advances
from core.model import StatusReport
from core.store import Transaction

_FAILED_RANK: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reported:
    delivery_id: int
    conversation_id: int
    state: str
    status: str
    provider_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    status: str
    error_code: str
    received_at: datetime


def take_report(transaction: Transaction, report: StatusReport) -> int | None:
    """Stores a report and applies it if it is new; returns the conversation that may go on, if any."""
    return _apply(transaction, report) if _store(transaction, report) else None


def take_fetched(transaction: Transaction, report: StatusReport) -> int | None:
    """The same for what the provider said when asked: applied even where it was told before."""
    _store(transaction, report)
    return _apply(transaction, report)


def apply_told(transaction: Transaction, *, channel: str, provider_id: str) -> None:
    """Applies the reports that came before their delivery learned the provider's id."""
    for told in transaction.all(_Told, "reports_told", channel=channel, provider_id=provider_id):
        report = StatusReport(
            channel=channel,
            provider_id=provider_id,
            status=told.status,
            received_at=told.received_at,
            error_code=told.error_code,
        )
        _apply(transaction, report)


def _store(transaction: Transaction, report: StatusReport) -> bool:
    new = transaction.value(
        "store_report",
        channel=report.channel,
        provider_id=report.provider_id,
        delivery_id=report.delivery_id or None,
        status=report.status,
        error_code=report.error_code,
        received_at=report.received_at,
    )
    return new is not None


def _apply(transaction: Transaction, report: StatusReport) -> int | None:
    found = transaction.one(
        _Reported,
        "find_reported",
        channel=report.channel,
        provider_id=report.provider_id,
        delivery_id=report.delivery_id,
    )
    if found is None or not advances(found.status, report.status):
        return None
    failed = report.status in FAILURES
    transaction.run(
        "apply_report",
        delivery_id=found.delivery_id,
        status=report.status,
        rank=RANKS.get(report.status, _FAILED_RANK),
        received_at=report.received_at,
        provider_id=report.provider_id,
        error_code=report.error_code,
        state="failed" if failed else "accepted",
    )
    if failed:
        transaction.run("cancel_rest", delivery_id=found.delivery_id)
    if found.provider_id is None:
        apply_told(transaction, channel=report.channel, provider_id=report.provider_id)
    return found.conversation_id
