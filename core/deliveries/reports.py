"""Status reports: told once, applied to their delivery only forward, also when they came before it had an id.

A failure whose code deserves another try sends the piece anew, where nobody can have seen it and nothing overtook it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import structlog

from core import metrics, tracing
from core.delivery import FAILURES, RANKS, Remedy, advances, anew_after, goes_anew, pause, remedy, went_out
from core.model import StatusReport
from core.store import Transaction

_FAILED_RANK: Final = 9
_SEEN: Final = [status for status in RANKS if went_out(status)]
_OPEN: Final = ("waiting", "sending", "unknown", "accepted")

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reported:
    delivery_id: int
    conversation_id: int
    channel: str
    sender: str
    state: str
    status: str
    provider_id: str | None
    traceparent: str | None = None
    followed: bool = True
    """Whether something waits to be sent in the conversation, where that was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    channel: str
    provider_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    age: timedelta
    failed_before: int
    seen: bool
    overtaken: bool
    other_in_flight: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    status: str
    error_code: str
    received_at: datetime


class _Rests:
    """Which numbers are to rest by what a transaction was told: written at its end.

    Who sends locks a delivery, then its number; and everybody who sends waits for a number's row.
    """

    def __init__(self) -> None:
        self._longest: dict[tuple[str, str], tuple[timedelta, str]] = {}

    def note(self, channel: str, number: str, wait: timedelta, code: str) -> None:
        known = self._longest.get((channel, number))
        if known is None or wait > known[0]:
            self._longest[channel, number] = wait, code

    def write(self, transaction: Transaction) -> None:
        for (channel, number), (wait, code) in sorted(self._longest.items()):
            transaction.run("pause_sender", channel=channel, number=number, wait=wait, code=code)


class Reports:
    """Takes reports in, inside its caller's transaction, which then is to end: it may hold a number's row."""

    def __init__(self, *, retry_max_age: timedelta) -> None:
        self._retry_max_age = retry_max_age
        self._random = Random()  # noqa: S311 - jitter, no secret

    def take(self, transaction: Transaction, reports: Sequence[StatusReport]) -> set[int]:
        """Stores reports and applies those that are new, in their order; returns the conversations that may go on.

        Three statements for all that tell of deliveries nothing but good; several more for each of the others.
        """
        new = _store(transaction, reports)
        found = _find(transaction, new) if new else {}
        failed = {_id(report) for report in new if report.status in FAILURES}
        ordinary = [report for report in new if _id(report) in found and _id(report) not in failed]
        freed = _apply_ordinary(transaction, found, ordinary)
        rests = _Rests()
        for report in new:
            if _id(report) not in found or _id(report) in failed:
                conversation_id = self._apply(transaction, rests, report)
                freed |= set() if conversation_id is None else {conversation_id}
        rests.write(transaction)
        return freed

    def take_fetched(self, transaction: Transaction, report: StatusReport) -> None:
        """The same for what the provider said when asked: applied even where it was told before."""
        _store(transaction, [report])
        rests = _Rests()
        self._apply(transaction, rests, report)
        rests.write(transaction)

    def apply_told(self, transaction: Transaction, *, channel: str, provider_id: str) -> None:
        """Applies the reports that came before their delivery learned the provider's id."""
        rests = _Rests()
        self._apply_told(transaction, rests, channel=channel, provider_id=provider_id)
        rests.write(transaction)

    def _apply_told(self, transaction: Transaction, rests: _Rests, *, channel: str, provider_id: str) -> None:
        for told in transaction.all(_Told, "reports_told", channel=channel, provider_id=provider_id):
            report = StatusReport(
                channel=channel,
                provider_id=provider_id,
                status=told.status,
                received_at=told.received_at,
                error_code=told.error_code,
            )
            self._apply(transaction, rests, report)

    def _apply(self, transaction: Transaction, rests: _Rests, report: StatusReport) -> int | None:
        found = transaction.one(
            _Reported,
            "find_reported",
            channel=report.channel,
            provider_id=report.provider_id,
            delivery_id=report.delivery_id,
        )
        if found is None:
            return _recall(transaction, report) if went_out(report.status) else None
        if not advances(found.status, report.status):
            return None
        with _span(found, report):
            return self._take_effect(transaction, rests, found, report)

    def _take_effect(self, transaction: Transaction, rests: _Rests, found: _Reported, report: StatusReport) -> int:
        """Changes the delivery; returns the conversation that may go on."""
        failed = report.status in FAILURES
        metrics.REPORTS_APPLIED.labels(report.status).inc()
        if failed:
            metrics.REPORTED_FAILURES.labels(metrics.code_label(report.error_code)).inc()
        if failed and self._sends_anew(transaction, rests, found, report):
            return found.conversation_id
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
            self._apply_told(transaction, rests, channel=report.channel, provider_id=report.provider_id)
        return found.conversation_id

    def _sends_anew(self, transaction: Transaction, rests: _Rests, found: _Reported, report: StatusReport) -> bool:
        """Whether the failed piece goes once more; then its row says so, and its former id is kept apart."""
        code, what = report.error_code, remedy(report.error_code)
        if what is Remedy.NEVER:
            return False
        rest = _rest(rests, found, report) if what is Remedy.PAUSE_SENDER else timedelta(0)
        if found.state not in _OPEN:
            return False  # given up before: what followed it is cancelled
        transaction.run("hold_followers", delivery_id=found.delivery_id)
        weighed = transaction.one(
            _Weighed, "weigh_resend", delivery_id=found.delivery_id, provider_id=report.provider_id, seen=_SEEN
        )
        if weighed is None or weighed.seen or weighed.overtaken:
            return False
        wait = anew_after(code, failed_before=weighed.failed_before, random=self._random)
        late = weighed.age + max(wait, rest) > self._retry_max_age
        if late or not goes_anew(code, failed_before=weighed.failed_before):
            return False
        transaction.run(
            "keep_former_id",
            delivery_id=found.delivery_id,
            provider_id=report.provider_id,
            status=report.status,
            error_code=code,
            received_at=report.received_at,
        )
        if not weighed.other_in_flight:
            transaction.run("send_anew", delivery_id=found.delivery_id, error_code=code, wait=wait)
            metrics.SENT_ANEW.labels(metrics.code_label(code)).inc()
            _log.info("sent_anew", delivery=found.delivery_id, code=code, wait_s=round(wait.total_seconds(), 1))
        return True


def _id(report: StatusReport) -> tuple[str, str]:
    return report.channel, report.provider_id


def _store(transaction: Transaction, reports: Sequence[StatusReport]) -> list[StatusReport]:
    """Returns those that are new, in their order."""
    first: dict[tuple[str, str, str], StatusReport] = {}
    for report in reports:
        first.setdefault((*_id(report), report.status), report)
    if not first:
        return []
    new = transaction.all(
        _New,
        "store_reports",
        channels=[report.channel for report in first.values()],
        provider_ids=[report.provider_id for report in first.values()],
        delivery_ids=[report.delivery_id or None for report in first.values()],
        statuses=[report.status for report in first.values()],
        error_codes=[report.error_code for report in first.values()],
        received_ats=[report.received_at for report in first.values()],
    )
    keys = {(row.channel, row.provider_id, row.status) for row in new}
    return [report for key, report in first.items() if key in keys]


def _find(transaction: Transaction, reports: Sequence[StatusReport]) -> dict[tuple[str, str], _Reported]:
    """The deliveries that bear the reports' ids, by these."""
    ids = list(dict.fromkeys(map(_id, reports)))
    channels, provider_ids = [channel for channel, _ in ids], [provider_id for _, provider_id in ids]
    found = transaction.all(_Reported, "find_all_reported", channels=channels, provider_ids=provider_ids)
    return {(delivery.channel, delivery.provider_id or ""): delivery for delivery in found}


def _apply_ordinary(
    transaction: Transaction, found: Mapping[tuple[str, str], _Reported], reports: Sequence[StatusReport]
) -> set[int]:
    """Applies what is no failure to deliveries that bear its id; returns the conversations that may go on."""
    newest: dict[int, StatusReport] = {}  # by delivery
    error_codes: dict[int, str] = {}
    freed: set[int] = set()
    for report in reports:
        delivery = found[_id(report)]
        known = newest[delivery.delivery_id].status if delivery.delivery_id in newest else delivery.status
        if not advances(known, report.status):
            continue
        with _span(delivery, report):
            newest[delivery.delivery_id] = report
            error_codes[delivery.delivery_id] = report.error_code or error_codes.get(delivery.delivery_id, "")
            freed |= {delivery.conversation_id} if delivery.followed else set()
            metrics.REPORTS_APPLIED.labels(report.status).inc()
    if newest:
        transaction.run(
            "apply_reports",
            delivery_ids=list(newest),
            statuses=[report.status for report in newest.values()],
            ranks=[RANKS[report.status] for report in newest.values()],
            received_ats=[report.received_at for report in newest.values()],
            error_codes=list(error_codes.values()),
        )
    return freed


def _span(found: _Reported, report: StatusReport) -> tracing.Span:
    about = {"sisters.delivery.id": found.delivery_id, "sisters.report.status": report.status}
    return tracing.resume("report", [found.traceparent], about)


def _recall(transaction: Transaction, report: StatusReport) -> int | None:
    """What is told of an id that was set aside: it went out after all, so it must not go once more.

    Returns the conversation that may go on, if any.
    """
    told = {"channel": report.channel, "provider_id": report.provider_id}
    delivery_id = transaction.value("former_owner", **told)
    if delivery_id is None:
        return None
    conversation_id: int | None = transaction.value("recall", **told, delivery_id=delivery_id, rank=_FAILED_RANK)
    if conversation_id is None:
        metrics.SENT_TWICE.inc()
        _log.error("sent_twice", delivery=delivery_id, sid=report.provider_id)  # audit --against-provider tells it too
        return None
    transaction.run("drop_former_id", **told)
    transaction.run("cancel_rest", delivery_id=delivery_id)
    return conversation_id


def _rest(rests: _Rests, found: _Reported, report: StatusReport) -> timedelta:
    """Our account's trouble: the number rests from when it was told; returns for how long from now."""
    wait = (pause(report.error_code) or timedelta(0)) - (datetime.now(UTC) - report.received_at)
    if wait <= timedelta(0):
        return timedelta(0)
    metrics.SENDER_PAUSES.labels(metrics.code_label(report.error_code)).inc()
    _log.error("sender_rests", code=report.error_code, wait_s=round(wait.total_seconds()))
    rests.note(report.channel, found.sender, wait, report.error_code)
    return wait
