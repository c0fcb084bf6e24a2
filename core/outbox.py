"""The outbox: sends each stored delivery once and in sequence, and finds out what became of a doubtful one."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog

from core import metrics
from core.config import TurnSettings
from core.delivery import RANKS, Remedy, folded, opted_out, pause, remedy
from core.errors import Ambiguous, OutsideError, Permanent, Transient
from core.model import StatusReport, Unreadable, load_report
from core.ports import Channel, Inboxes, Outgoing, ProviderMessage
from core.reports import Reports
from core.retry import backoff, given_up
from core.store import Conflict, Store, Transaction

PAIR_EVERY: Final = timedelta(seconds=6)
PAIR_BURST: Final = PAIR_EVERY * 44
"""One message per 6 s to one person, after a burst of 45. Source: Meta's pair rate limit, as of 2026-11."""
SOON: Final = timedelta(milliseconds=50)
"""A place in time this close is taken as now."""
PAUSE: Final = timedelta(seconds=1.5)
"""Between an acceptance without a report and the next piece: two creates close together may arrive swapped."""
CLAIM_GOOD_FOR: Final = timedelta(seconds=2)
"""A worker whose own clock shows more since the claim was frozen in between and must not send any more."""
LOOK_AFTER: Final = (timedelta(seconds=5), timedelta(seconds=10))
"""Waits between the first look-ups of a doubtful send: at once, after 5 and after 15 s."""
LOOK_AT: Final = 20
"""How many of the person's newest messages are searched for a doubtful one."""
CLOCKS_DIFFER_BY: Final = timedelta(seconds=60)
RESEND_AT_MOST: Final = 1
REPORTS_AT_ONCE: Final = 200
REPORT_WITHIN: Final = timedelta(minutes=10)
"""After so long without a final report the provider is asked, once. "sent" is not final: whether a message that
failed after it counts as answered hangs on the report that did not come."""

_Given = TypeVar("_Given")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to make one call for a delivery; `fence` is the number of the attempt."""

    delivery_id: int
    conversation_id: int
    fence: int
    channel: str
    sender: str
    recipient: str
    body: str
    failures: int
    age: timedelta
    slot_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    slot_at: datetime
    free: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    delivery_id: int
    conversation_id: int
    fence: int
    channel: str
    sender: str
    recipient: str
    body: str
    lookups: int
    resent_unseen: int
    claimed_at: datetime
    doubted_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unreported:
    delivery_id: int
    conversation_id: int
    channel: str
    provider_id: str


class Outbox:
    """Sends, retries, finds out, and takes in what the provider reports."""

    def __init__(
        self,
        *,
        store: Store,
        inboxes: Inboxes,
        channels: Mapping[str, Channel],
        worker_id: UUID,
        settings: TurnSettings,
        senders: Executor,
        send_every: timedelta | None = None,
    ) -> None:
        """`senders` are the threads on which calls are made that nobody waits for.

        `send_every` is the time between two sends from one number, all workers together; None: no limit at all.
        """
        self._senders = senders
        self._pushing: set[int] = set()
        self._lock = threading.Lock()
        self._store = store
        self._inboxes = inboxes
        self._send_every = send_every
        self._channels = channels
        self._worker_id = worker_id
        self._settings = settings
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._reports = Reports(retry_max_age=settings.retry_max_age)

    @property
    def tick(self) -> timedelta:
        """How often to look for due deliveries: places in time are taken in order only if they are not all late."""
        return timedelta(milliseconds=500 if self._send_every is None else 100)

    def push(self, conversation_id: int) -> None:
        """Sends what may go now in this conversation, in its order. Returns as soon as the next piece has to wait."""
        while (claim := self.claim(conversation_id)) is not None and self.carry_out(*claim):
            pass

    def claim(self, conversation_id: int) -> tuple[Claim, float] | None:
        """Takes the next delivery if it may go now; with it the moment on our own clock before the claim was made."""
        try:
            with self._store.transaction() as transaction:
                asked = time.monotonic()  # after the wait for a connection, which is no freeze
                claim = transaction.one(
                    Claim,
                    "claim_delivery",
                    conversation_id=conversation_id,
                    worker_id=self._worker_id,
                    sent_rank=RANKS["sent"],
                    pause=PAUSE,
                )
                if claim is not None and not self._takes_place(transaction, claim):
                    claim = None
        except Conflict:
            return None  # another worker is sending in this conversation: it goes on from there
        except Transient as error:
            _log.warning("claim_failed", conversation=conversation_id, reason=error.reason)
            return None
        return None if claim is None else (claim, asked)

    def carry_out(self, claim: Claim, asked: float) -> bool:
        """Makes the one call of a claim and settles it; returns whether the conversation may go on at once.

        `asked` is on `time.monotonic()`'s clock: a process frozen since then for too long sends nothing any more.
        """
        log = _log.bind(delivery=claim.delivery_id, attempt=claim.fence)
        try:
            if time.monotonic() - asked > CLAIM_GOOD_FOR.total_seconds():
                log.warning("claim_expired")
                _count("expired")
                return self._settle("drop_claim", claim)
            with metrics.SEND_SECONDS.time():
                provider_id = self._channels[claim.channel].send(_outgoing(claim))
        except Transient as error:
            return self._again(claim, error)
        except Permanent as error:
            if remedy(error.code) is Remedy.PAUSE_SENDER:  # our account's trouble, not this message's
                return self._rest(claim, error)
            log.warning("send_failed", code=error.code, reason=error.reason)
            _count("failed", error.code)
            self._fail(claim, error.code or error.reason)
            return True
        except Ambiguous as error:
            log.warning("send_doubtful", reason=error.reason, code=error.code)
            _count("doubtful", error.code)
            return self._settle("doubt_delivery", claim, code=error.code or error.reason)
        self._accept(claim, provider_id)
        _count("accepted")
        log.info("sent", sid=provider_id)
        return True  # the next claim decides whether the pause is over

    def close(self) -> None:
        """Takes nothing more to send; calls that are being made are not waited for: their rows tell others."""
        self._senders.shutdown(wait=False, cancel_futures=True)

    def push_soon(self, conversation_id: int) -> None:
        """As `push`, on a thread of the senders: reports, sweeps and turns never wait for a call to the provider."""
        with self._lock:
            if conversation_id in self._pushing:
                return  # what that one does not see, the sweep does
            self._pushing.add(conversation_id)
        try:
            self._senders.submit(self._guarded, self._push_marked, conversation_id)
        except RuntimeError:  # closed: the row waits for another worker
            self._pushing.discard(conversation_id)

    def _push_marked(self, conversation_id: int) -> None:
        try:
            self.push(conversation_id)
        finally:
            with self._lock:
                self._pushing.discard(conversation_id)

    def _guarded(self, step: Callable[[_Given], None], given: _Given) -> None:
        """Nobody asks for a sender's result: what goes wrong is logged, and the row tells the sweep."""
        try:
            step(given)
        except Exception:  # noqa: BLE001
            _log.exception("sender_failed")

    def due(self, limit: int) -> Sequence[int]:
        """Returns conversations whose next delivery may go now. Raises: Transient."""
        with self._store.transaction() as transaction:
            return transaction.values("due_conversations", sent_rank=RANKS["sent"], pause=PAUSE, limit=limit)

    def find_out(self, limit: int) -> int:
        """Looks up doubtful deliveries whose time has come; returns how many were looked at. Raises: Transient."""
        with self._store.transaction() as transaction:
            doubts = transaction.all(_Doubt, "claim_unknown", limit=limit)
        for doubt in doubts:
            self._senders.submit(self._guarded, self._look_up, doubt)
        return len(doubts)

    def take_reports(self) -> int:
        """Stores and applies the status reports that wait in Redis, until none is left; sends what they set free.

        Raises: Transient when Redis or Postgres is away; what was not stored stays in Redis.
        """
        taken = 0
        while entries := self._inboxes.read_reports(limit=REPORTS_AT_ONCE):
            freed: set[int] = set()
            with self._store.transaction() as transaction:
                for entry in entries:
                    try:
                        report = load_report(entry)
                    except Unreadable as error:
                        transaction.run("bury", source="reports", payload=entry, reason=str(error))
                        metrics.DEAD_LETTERS.labels("reports").inc()
                        continue
                    conversation_id = self._reports.take(transaction, report)
                    if conversation_id is not None:
                        freed.add(conversation_id)
            taken += len(entries)
            left = self._inboxes.remove_reports(entries)
            for conversation_id in sorted(freed):
                self.push_soon(conversation_id)
            if left == 0:
                break
        return taken

    def _takes_place(self, transaction: Transaction, claim: Claim) -> bool:
        """Whether the delivery may go now by Meta's pair limit and by our number's rate; else its row says when."""
        if self._send_every is None or claim.slot_at is not None:
            return True
        slot_at = None
        if transaction.value(
            "take_pair_place", conversation_id=claim.conversation_id, every=PAIR_EVERY, burst=PAIR_BURST
        ):
            slot = transaction.one(
                _Slot, "take_slot", channel=claim.channel, number=claim.sender, every=self._send_every, soon=SOON
            )
            if slot is None or slot.free:
                return True
            slot_at = slot.slot_at
        transaction.run(
            "wait_for_place", delivery_id=claim.delivery_id, fence=claim.fence, slot_at=slot_at, burst=PAIR_BURST
        )
        return False

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

    def _accept(self, claim: Claim | _Doubt, provider_id: str) -> None:
        """The delivery learns the provider's id, and what was reported under that id before."""
        try:
            with self._store.transaction() as transaction:
                told = transaction.value(
                    "accept_delivery", delivery_id=claim.delivery_id, fence=claim.fence, provider_id=provider_id
                )
                if told:
                    self._reports.apply_told(transaction, channel=claim.channel, provider_id=provider_id)
        except (Transient, Conflict) as error:
            _log.warning("not_settled", delivery=claim.delivery_id, statement="accept_delivery", reason=str(error))

    def _settle(self, statement: str, claim: Claim | _Doubt, **params: Any) -> bool:
        """Writes how a claim ended; Postgres away: it is later found to be old and looked into. Returns False."""
        try:
            with self._store.transaction() as transaction:
                transaction.run(statement, delivery_id=claim.delivery_id, fence=claim.fence, **params)
        except (Transient, Conflict) as error:
            _log.warning("not_settled", delivery=claim.delivery_id, statement=statement, reason=str(error))
        return False

    def _again(self, claim: Claim, error: Transient) -> bool:
        """A row says when; the sweep wakes it. Both bounds reached: never again."""
        code = error.code or error.reason
        if given_up(claim.failures, age=claim.age, max_age=self._settings.retry_max_age):
            _count("failed", error.code)
            self._fail(claim, code)
            return True
        if remedy(error.code) is Remedy.PAUSE_SENDER:
            return self._rest(claim, error)
        left = self._settings.retry_max_age - claim.age
        wait = backoff(claim.failures, after=error.after, left=left, random=self._random)
        _count("again", error.code)
        _log.info("send_again", delivery=claim.delivery_id, reason=error.reason, code=error.code)
        return self._settle("retry_delivery", claim, code=code, wait=wait)

    def _rest(self, claim: Claim, error: OutsideError) -> bool:
        """Our account's trouble: the number rests, and the message waits without having failed."""
        wait = max(pause(error.code) or timedelta(0), getattr(error, "after", None) or timedelta(0))
        _log.error("sender_rests", code=error.code, wait_s=wait.total_seconds())
        _count("rests", error.code)
        metrics.SENDER_PAUSES.labels(metrics.code_label(error.code)).inc()
        try:
            with self._store.transaction() as transaction:
                transaction.run("pause_sender", channel=claim.channel, number=claim.sender, wait=wait, code=error.code)
        except Transient as lost:
            _log.warning("not_settled", delivery=claim.delivery_id, statement="pause_sender", reason=str(lost))
        return self._settle("drop_claim", claim)

    def _fail(self, claim: Claim | _Doubt, code: str) -> None:
        self._settle("fail_delivery", claim, code=code)
        if opted_out(code):
            with self._store.transaction() as transaction:
                transaction.run("silence_conversation", conversation_id=claim.conversation_id)

    def _look_up(self, doubt: _Doubt) -> None:
        """Searches the provider's log for a doubtful send: found, seen to be missing, or looked for again later."""
        try:
            provider_id = self._find(doubt)
        except OutsideError as error:
            _log.warning("look_up_failed", delivery=doubt.delivery_id, reason=error.reason, code=error.code)
            if doubt.doubted_for > self._settings.retry_max_age:
                metrics.DOUBTS.labels("given_up").inc()
                self._fail(doubt, "unseen")
            else:
                self._settle("look_again", doubt, wait=LOOK_AFTER[0])
            return
        if provider_id is not None:
            metrics.DOUBTS.labels("found").inc()
            _log.info("doubt_found", delivery=doubt.delivery_id, sid=provider_id)
            self._accept(doubt, provider_id)
            self.push(doubt.conversation_id)
        elif doubt.doubted_for < self._settings.ambiguous_wait:
            rest = self._settings.ambiguous_wait - doubt.doubted_for
            planned = LOOK_AFTER[doubt.lookups - 1] if doubt.lookups <= len(LOOK_AFTER) else rest
            self._settle("look_again", doubt, wait=max(min(planned, rest), timedelta(milliseconds=200)))
        elif doubt.resent_unseen < RESEND_AT_MOST:
            metrics.DOUBTS.labels("resent").inc()
            metrics.RESENT_UNSEEN.inc()
            _log.warning("resent_unseen", delivery=doubt.delivery_id)
            self._settle("resend_unseen", doubt)
            self.push(doubt.conversation_id)
        else:
            metrics.DOUBTS.labels("given_up").inc()
            self._fail(doubt, "unseen")
            self.push(doubt.conversation_id)

    def _find(self, doubt: _Doubt) -> str | None:
        """The provider's id of a message to the same person with the same text that no delivery of ours has yet."""
        earliest = doubt.claimed_at - CLOCKS_DIFFER_BY
        listed = [
            message
            for message in self._channels[doubt.channel].recent_to(doubt.recipient, limit=LOOK_AT)
            if not message.inbound
            and folded(message.body) == folded(doubt.body)
            and (message.created_at is None or message.created_at >= earliest)
        ]
        if not listed:
            return None
        with self._store.transaction() as transaction:
            known = transaction.values(
                "known_provider_ids", channel=doubt.channel, provider_ids=[message.provider_id for message in listed]
            )
        return next((message.provider_id for message in listed if message.provider_id not in known), None)


def _count(outcome: str, code: str = "") -> None:
    metrics.SENDS.labels(outcome, metrics.code_label(code)).inc()


def _as_report(delivery: _Unreported, message: ProviderMessage) -> StatusReport:
    """Under the provider's id alone: our own id in a report is for a delivery that has none yet."""
    return StatusReport(
        channel=delivery.channel,
        provider_id=delivery.provider_id,
        status=message.status,
        received_at=datetime.now(UTC),
        error_code=message.error_code,
    )


def _outgoing(claim: Claim) -> Outgoing:
    return Outgoing(delivery_id=claim.delivery_id, sender=claim.sender, recipient=claim.recipient, body=claim.body)
