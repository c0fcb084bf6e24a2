"""The outbox: sends each stored delivery once and in sequence."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final, TypeVar
from uuid import UUID

import structlog

from core import metrics, tracing
from core.config import TurnSettings
from core.deliveries.doubts import Doubts
from core.deliveries.report_desk import ReportDesk
from core.deliveries.reports import Reports
from core.deliveries.settling import Attempt, Settling
from core.delivery import REFUSED_FOR, Remedy, pause, remedy
from core.errors import Ambiguous, OutsideError, Permanent, Transient
from core.ports import Channel, Inboxes, Outgoing
from core.retry import backoff, given_up
from core.store import Conflict, Store, Transaction

PAIR_EVERY: Final = timedelta(seconds=6)
PAIR_BURST: Final = PAIR_EVERY * 44
"""One message per 6 s to one person, after a burst of 45. Source: Meta's pair rate limit, as of 2026-11."""
SOON: Final = timedelta(milliseconds=50)
"""A place in time this close is taken as now."""
PAUSE: Final = timedelta(seconds=1.5)
"""Between an acceptance without a report and the next piece: two creates close together may arrive swapped."""
PLACE_GOOD_FOR: Final = timedelta(seconds=1)
"""A place in time that passed longer ago is none: after a rest all that were missed would go at once."""
CLAIM_GOOD_FOR: Final = timedelta(seconds=2)
"""A worker whose own clock shows more since the claim was frozen in between and must not send any more."""

_Given = TypeVar("_Given")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Attempt):
    """The right to make one call for a delivery."""

    failures: int
    age: timedelta
    has_place: bool
    """In the time of our number, and it is now."""
    had_place: bool
    """One that was missed counts: against the limit of the pair it was taken already."""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    slot_at: datetime
    free: bool


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
        self._at_work: set[Future[None]] = set()
        """What the senders do or are to do; adding and discarding are atomic."""
        self._lock = threading.Lock()
        self._store = store
        self._send_every = send_every
        self._channels = channels
        self._worker_id = worker_id
        self._settings = settings
        self._random = Random()  # noqa: S311 - jitter, no secret
        reports = Reports(retry_max_age=settings.retry_max_age)
        self._settling = Settling(store=store, reports=reports)
        self._doubts = Doubts(
            store=store, channels=channels, settings=settings, settling=self._settling, push=self.push
        )
        self._desk = ReportDesk(
            store=store, inboxes=inboxes, channels=channels, reports=reports, push_soon=self.push_soon
        )

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
            # Where places in time are taken, they are given back with a claim that fails: one transaction.
            with self._store.alone() if self._send_every is None else self._store.transaction() as transaction:
                asked = time.monotonic()  # after the wait for a connection, which is no freeze
                claim = transaction.one(
                    Claim,
                    "claim_delivery",
                    conversation_id=conversation_id,
                    worker_id=self._worker_id,
                    pause=PAUSE,
                    good_for=PLACE_GOOD_FOR,
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
                self._settling.settle("drop_claim", claim)
                return False
            with _span(claim) as span, metrics.SEND_SECONDS.time():
                provider_id = self._channels[claim.channel].send(_outgoing(claim))
                span.set({"messaging.message.id": provider_id})
        except Transient as error:
            return self._again(claim, error)
        except Permanent as error:
            if _is_of_our_account(error):
                return self._again(claim, error)
            log.warning("send_failed", code=error.code, reason=error.reason)
            _count("failed", error.code)
            self._settling.fail(claim, error.code or error.reason)
            return True
        except Ambiguous as error:
            log.warning("send_doubtful", reason=error.reason, code=error.code)
            _count("doubtful", error.code)
            self._settling.settle("doubt_delivery", claim, code=error.code or error.reason)
            return False
        goes_on = self._settling.accept(claim, provider_id)
        _count("accepted")
        log.info("sent", sid=provider_id)
        return goes_on

    def close(self) -> None:
        """Takes nothing more to send; calls that are being made are not waited for: their rows tell others."""
        self._senders.shutdown(wait=False, cancel_futures=True)

    def finish(self, within: timedelta) -> bool:
        """The same, but waits so long for the calls that are being made; returns whether all have ended.

        A call broken off half-way is a doubtful send, and finding out takes longer than waiting for it.
        """
        self.close()
        at_work = [future for future in self._at_work.copy() if not future.done()]
        return not wait(at_work, timeout=within.total_seconds()).not_done

    def push_soon(self, conversation_id: int) -> None:
        """As `push`, on a thread of the senders: reports, sweeps and turns never wait for a call to the provider."""
        with self._lock:
            if conversation_id in self._pushing:
                return  # what that one does not see, the sweep does
            self._pushing.add(conversation_id)
        try:
            self._submit(self._push_marked, conversation_id)
        except RuntimeError:  # closed: the row waits for another worker
            self._pushing.discard(conversation_id)

    def _push_marked(self, conversation_id: int) -> None:
        try:
            self.push(conversation_id)
        finally:
            with self._lock:
                self._pushing.discard(conversation_id)

    def _submit(self, step: Callable[[_Given], None], given: _Given) -> None:
        """Raises: RuntimeError after the end."""
        future = self._senders.submit(self._guarded, step, given)
        self._at_work.add(future)
        future.add_done_callback(self._at_work.discard)

    def _guarded(self, step: Callable[[_Given], None], given: _Given) -> None:
        """Nobody asks for a sender's result: what goes wrong is logged, and the row tells the sweep."""
        try:
            step(given)
        except Exception:  # noqa: BLE001
            _log.exception("sender_failed")

    def due(self, limit: int) -> Sequence[int]:
        """Returns conversations whose next delivery may go now. Raises: Transient."""
        with self._store.alone() as statement:
            return statement.values("due_conversations", pause=PAUSE, limit=limit)

    def find_out(self, limit: int) -> int:
        """Looks up doubtful deliveries whose time has come; returns how many are looked at. Raises: Transient."""
        doubts = self._doubts.claim(limit)
        for doubt in doubts:
            self._submit(self._doubts.look_up, doubt)
        return len(doubts)

    def take_reports(self) -> int:
        """Takes in the status reports that wait in Redis; see `ReportDesk.take`. Raises: Transient."""
        return self._desk.take()

    def ask_after(self, limit: int) -> int:
        """Asks after deliveries of which no final report came; see `ReportDesk.ask_after`. Raises: Transient."""
        return self._desk.ask_after(limit)

    def _takes_place(self, transaction: Transaction, claim: Claim) -> bool:
        """Whether the delivery may go now by Meta's pair limit and by our number's rate; else its row says when."""
        if self._send_every is None or claim.has_place:
            return True
        slot_at = None
        if claim.had_place or transaction.value(
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

    def _again(self, claim: Claim, error: Transient | Permanent) -> bool:
        """A row says when, that of our number where it is our account's trouble. One bound reached: never again."""
        code = error.code or error.reason
        if given_up(claim.failures, age=claim.age, max_age=self._settings.retry_max_age):
            _count("failed", error.code)
            self._settling.fail(claim, code)
            return True
        after = error.after if isinstance(error, Transient) else None
        if _is_of_our_account(error):
            return self._rest(claim, error, after or timedelta(0))
        left = self._settings.retry_max_age - claim.age
        wait = backoff(claim.failures, after=after, left=left, random=self._random)
        _count("again", error.code)
        _log.info("send_again", delivery=claim.delivery_id, reason=error.reason, code=error.code)
        self._settling.settle("retry_delivery", claim, code=code, wait=wait)
        return False

    def _rest(self, claim: Claim, error: OutsideError, after: timedelta) -> bool:
        """Our account's trouble: the number rests, and the message waits without having failed."""
        wait = max(pause(error.code) or REFUSED_FOR, after)
        _log.error("sender_rests", code=error.code, wait_s=wait.total_seconds())
        _count("rests", error.code)
        metrics.SENDER_PAUSES.labels(metrics.code_label(error.code)).inc()
        try:
            with self._store.transaction() as transaction:
                transaction.run("pause_sender", channel=claim.channel, number=claim.sender, wait=wait, code=error.code)
        except Transient as lost:
            _log.warning("not_settled", delivery=claim.delivery_id, statement="pause_sender", reason=str(lost))
        self._settling.settle("drop_claim", claim)
        return False


def _is_of_our_account(error: Transient | Permanent) -> bool:
    """Trouble that says nothing of the message: its code is known for it, or our credentials were refused."""
    return error.reason == "auth" or remedy(error.code) is Remedy.PAUSE_SENDER


def _span(claim: Claim) -> tracing.Span:
    """Of one call, a step of the turn that wrote the piece, whoever makes it and however late."""
    about = {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.system": claim.channel,
        "sisters.delivery.id": claim.delivery_id,
        "sisters.delivery.attempt": claim.fence,
    }
    return tracing.resume("send", [claim.traceparent], about, kind="client")


def _count(outcome: str, code: str = "") -> None:
    metrics.SENDS.labels(outcome, metrics.code_label(code)).inc()


def _outgoing(claim: Claim) -> Outgoing:
    return Outgoing(delivery_id=claim.delivery_id, sender=claim.sender, recipient=claim.recipient, body=claim.body)
