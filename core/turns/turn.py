"""One turn: read what waits, find the answer, store it with its deliveries in one transaction; then the next one."""

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import structlog

from core import metrics, tracing
from core.cast.files import WHY
from core.config import TurnSettings
from core.deliveries.outbox import Outbox
from core.errors import EMPTY, NOTHING, OutsideError, Permanent, Spent, Transient
from core.intake import HeldTurn
from core.model import person_key
from core.prompting import HISTORY_MESSAGES
from core.retry import ATTEMPTS_AT_MOST, backoff, given_up
from core.store import Store
from core.turns.answer import Answerer
from core.turns.rows import NOTICE_AGAIN_AFTER, TurnRow, Waiting, cost, ending, work_of
from core.turns.work import Answer, Attempt, OwnMessage, Work

MESSAGES_PER_TURN: Final = 100
CLAIMS_AT_MOST: Final = 10
"""A turn claimed so often without ending, or saying why not, is taken to end the workers that run it."""
EMPTY_AT_MOST: Final = 3
"""Attempts of a turn, after which a second answer in a row that shows nothing is its last."""
CRASH_WAITS: Final = timedelta(seconds=10)
"""At least so long after a crash of our own: it is hardly over in a second."""
UNRUN_AFTER: Final = timedelta(seconds=5)

_log = structlog.stdlib.get_logger(__name__)


class TurnLost(Exception):
    """Another worker holds the turn now: whatever this one found out is worth nothing."""


class Turns:
    """Claims turns and runs them, from the waiting message to the stored reply."""

    def __init__(
        self, *, store: Store, answerer: Answerer, outbox: Outbox, worker_id: UUID, settings: TurnSettings
    ) -> None:
        self._store = store
        self._answerer = answerer
        self._outbox = outbox
        self._worker_id = worker_id
        self._settings = settings
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._running: set[tuple[int, int]] = set()
        """Turns that a thread of ours runs, each with its claim; adding and discarding are atomic."""
        self._unnoted: deque[tuple[int, Spent]] = deque()
        """What turns paid that could not store it with their end; appending and popping are atomic."""
        self._stopping = False

    def claim(self, limit: int) -> Sequence[HeldTurn]:
        """Takes up to that many turns that nobody holds, oldest first. Raises: Transient."""
        with self._store.alone() as statement:
            return statement.all(
                HeldTurn,
                "claim_turns",
                worker_id=self._worker_id,
                deadline=self._settings.deadline,
                limit=limit,
            )

    def run(self, turn: HeldTurn) -> None:
        """Answers the turn, and those that follow it in the same conversation; has sent what it stored.

        Never raises: what fails is given back as a row; what cannot even be given back, Postgres being away, is found
        by `release_unrun`.
        """
        held: HeldTurn | None = turn
        while held is not None:
            turn_id = held.turn_id
            log = _log.bind(turn=turn_id, conversation=held.conversation_id)
            claim = (turn_id, held.fence)
            self._running.add(claim)
            try:
                following = self._unless_stopping(self._run_once(held))
            except TurnLost:
                metrics.TURNS.labels("lost").inc()
                log.info("turn_lost")
                return
            except OutsideError as error:
                log.warning("turn_interrupted", reason=error.reason, code=error.code)
                return
            except Exception:
                metrics.TURNS.labels("crashed").inc()
                log.exception("turn_crashed")
                following = self._after_crash(held)
            finally:
                self._running.discard(claim)
            held = following

    def release_unrun(self) -> int:
        """Frees turns that are ours by their row and that no thread of ours runs; returns how many. Raises: Transient.

        A commit whose answer was lost, an interruption by an outage: without this they would wait for their deadline.
        """
        with self._store.alone() as statement:
            # Not before the wait for a connection: what began meanwhile would look as if nobody ran it.
            running = [turn_id for turn_id, _ in self._running.copy()]
            return statement.run("release_unrun", worker_id=self._worker_id, running=running, grace=UNRUN_AFTER)

    def note_costs(self) -> int:
        """Writes down what lost and interrupted turns had paid; returns of how many. Raises: Transient, and keeps it.

        Where the answer of a commit was lost it may be counted twice: a budget had better be reached early than passed.
        """
        noted = 0
        while True:
            try:
                turn_id, spent = self._unnoted.popleft()
            except IndexError:
                return noted
            try:
                with self._store.alone() as statement:
                    noted += statement.run("note_cost", turn_id=turn_id, **cost(spent))
            except Transient:
                self._unnoted.append((turn_id, spent))
                raise

    @contextmanager
    def _paid(self, turn_id: int, spent: Spent) -> Generator[None]:
        """Around what stores the end of a turn: without it, what was spent is kept for `note_costs`."""
        try:
            yield
        except Exception:
            if spent != NOTHING:
                self._unnoted.append((turn_id, spent))
            raise

    def stop(self) -> None:
        """From now on a turn is run to the end of its call and no further: what follows it is for other workers."""
        self._stopping = True

    def hand_back(self) -> int:
        """Gives back every turn of this worker, for others to take at once; returns how many. Raises: Transient."""
        with self._store.transaction() as transaction:
            handed_back = transaction.run("hand_back", worker_id=self._worker_id)
        metrics.HANDED_BACK.inc(handed_back)
        return handed_back

    def _unless_stopping(self, following: HeldTurn | None) -> HeldTurn | None:
        """Returns it, unless it is for other workers: then it is given back."""
        if following is None or not self._stopping:
            return following
        with self._store.transaction() as transaction:
            given_back = transaction.run("give_back", **self._fence(following))
        metrics.HANDED_BACK.inc(given_back)
        return None

    def _run_once(self, held: HeldTurn) -> HeldTurn | None:
        """Returns the turn to run next: the same one when it was superseded, the following one, or None."""
        row, work = self._read(held)
        with _span(held, work) as span:
            return self._end(held, row, work, span)

    def _end(self, held: HeldTurn, row: TurnRow, work: Work, span: tracing.Span) -> HeldTurn | None:
        """The same, for a turn that was just read."""
        read_at = time.monotonic()
        attempt = Attempt(deadline=read_at + row.time_left.total_seconds())
        if not work.own:
            # Its messages were erased, or stored twice by two releases: nothing is owed.
            return self._store_answer(held, row, work, Answer(outcome="answered", reason="nothing_owed"), attempt)
        try:
            answer = self._answer(held, row, work, attempt)
        except (Transient, Permanent) as error:
            failed = self._failed(row, work, error)
            if failed is None:
                self._postpone(held, error.reason, self._wait(row, error), attempt.spent)
                span.set({"sisters.turn.outcome": "postponed", "sisters.turn.reason": error.reason})
                return None
            answer = failed
        span.set({"sisters.turn.outcome": answer.outcome, "sisters.turn.reason": answer.reason})
        following = self._store_answer(held, row, work, answer, attempt)
        _count(row, answer, time.monotonic() - read_at, superseded=following == held)
        self._send(held, answer, following)
        return following

    def _send(self, held: HeldTurn, answer: Answer, following: HeldTurn | None) -> None:
        if answer.replies and following is None:
            self._outbox.push(held.conversation_id)
        elif answer.replies and following != held:
            self._outbox.push_soon(held.conversation_id)  # the next turn may think meanwhile

    def _answer(self, held: HeldTurn, row: TurnRow, work: Work, attempt: Attempt) -> Answer:
        if held.fence - row.failures > CLAIMS_AT_MOST:
            raise Permanent("ends_workers")
        try:
            return self._answerer.answer(work, attempt)
        except OutsideError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the person is owed an ending: retried, then told
            _log.exception("answer_crashed", turn=held.turn_id)
            raise Transient("crash") from None

    def _failed(self, row: TurnRow, work: Work, error: OutsideError) -> Answer | None:
        """The notice, when trying again is pointless or has taken too long; else None.

        Nobody is kept waiting in silence for a time that will be too late: `after` counts as if it had passed. An
        answer that shows nothing is paid for each time, and mostly what the person asked for.
        """
        age = row.now - row.waiting_since + (getattr(error, "after", None) or timedelta(0))
        empty_again = error.reason == row.last_reason == EMPTY  # not by chance, at the end of an outage
        attempts = EMPTY_AT_MOST - 1 if empty_again else ATTEMPTS_AT_MOST
        if isinstance(error, Transient) and not given_up(
            row.failures, age=age, max_age=self._settings.retry_max_age, at_most=attempts
        ):
            return None
        _log.error("turn_failed", turn=row.turn_id, reason=error.reason, code=error.code, failures=row.failures)
        noticed = row.failure_notice_at is not None and row.now - row.failure_notice_at < NOTICE_AGAIN_AFTER
        return self._answerer.failure(work, error.reason, noticed=noticed)

    def _read(self, held: HeldTurn) -> tuple[TurnRow, Work]:
        with self._store.together() as batch:
            found = batch.one(
                TurnRow, "read_turn", **self._fence(held), limit=MESSAGES_PER_TURN, history=HISTORY_MESSAGES
            )
            given = batch.all(OwnMessage, "own_messages", turn_id=held.turn_id)
        row, own = found.get(), given.get()
        if row is None:
            raise TurnLost
        decision = None
        if own and own[0].command == WHY:
            with self._store.alone() as statement:
                decision = statement.value("last_decision", conversation_id=row.conversation_id, turn_id=row.turn_id)
        return row, work_of(row, own, decision)

    def _store_answer(
        self, held: HeldTurn, row: TurnRow, work: Work, answer: Answer, attempt: Attempt
    ) -> HeldTurn | None:
        """Stores reply and deliveries, unless messages came meanwhile and the turn may still take them in."""
        with self._paid(row.turn_id, attempt.spent):
            # The trace of its deliveries goes on from the turn, not from the storing of it.
            stored = {**self._fence(held), **ending(row, work, answer, attempt), "traceparent": _traceparent(work)}
            with tracing.span("store"):
                return self._write(held, row, work, answer, attempt, stored)

    def _write(
        self, held: HeldTurn, row: TurnRow, work: Work, answer: Answer, attempt: Attempt, stored: Mapping[str, Any]
    ) -> HeldTurn | None:
        if not answer.erase:
            # Mostly nothing came: then this is all, in one round trip. Otherwise it changes nothing.
            with self._store.together() as batch:
                batch.run("lock_conversation", conversation_id=row.conversation_id)
                done = batch.run("store_answer", **stored, despite_waiting=False)
            if done.get():
                return None
        with self._store.transaction() as transaction:
            transaction.run("lock_conversation", conversation_id=row.conversation_id)
            superseded = transaction.value("still_held", **self._fence(held))
            if superseded is None:
                raise TurnLost
            came = transaction.one(Waiting, "waiting_messages", conversation_id=row.conversation_id)
            waiting = came is not None and came.waiting > 0
            takes_in = came is not None and came.plain_first and not superseded
            if takes_in and work.own and work.own[0].command is None:
                transaction.run("supersede", turn_id=row.turn_id)
                transaction.run("note_cost", turn_id=row.turn_id, **cost(attempt.spent))
                return held
            transaction.run("store_answer", **stored, despite_waiting=True)
            if answer.erase:
                ids = transaction.values("request_erasure", conversation_id=row.conversation_id)
                transaction.run("erase_dead_letters", persons=[person_key(identity) for identity in ids])
            if not waiting:
                return None
            return transaction.one(
                HeldTurn,
                "open_turn",
                conversation_id=row.conversation_id,
                worker_id=self._worker_id,
                deadline=self._settings.deadline,
            )

    def _postpone(self, held: HeldTurn, reason: str, wait: timedelta, spent: Spent = NOTHING) -> None:
        with self._paid(held.turn_id, spent), self._store.transaction() as transaction:
            if not transaction.run("postpone_turn", **self._fence(held), reason=reason, wait=wait, **cost(spent)):
                raise TurnLost
        metrics.TURNS.labels("postponed").inc()
        metrics.TURN_RETRIES.labels(reason).inc()
        _log.info("turn_postponed", turn=held.turn_id, reason=reason, wait_s=round(wait.total_seconds(), 1))

    def _wait(self, row: TurnRow, error: OutsideError) -> timedelta:
        """How long until the next attempt; never past the age at which the person is told."""
        left = self._settings.retry_max_age - (row.now - row.waiting_since)
        return backoff(row.failures, after=getattr(error, "after", None), left=left, random=self._random)

    def _after_crash(self, held: HeldTurn) -> HeldTurn | None:
        """A crash of our own ends as any failure does: another attempt later, and after the bounds the notice.

        Returns the turn to run next, as `_run_once` does.
        """
        following = None
        try:
            row, work = self._read(held)
            crash = Transient("crash", after=CRASH_WAITS)
            with _span(held, work) as span:
                span.set({"sisters.turn.reason": crash.reason})
                failed = self._failed(row, work, crash)
                if failed is None:
                    self._postpone(held, crash.reason, self._wait(row, crash))
                else:
                    following = self._store_answer(held, row, work, failed, Attempt(deadline=0.0))
                    self._send(held, failed, following)
            following = self._unless_stopping(following)
        except (OutsideError, TurnLost) as error:
            _log.warning("turn_not_given_back", turn=held.turn_id, reason=str(error))
        except Exception:  # noqa: BLE001 - logged; its deadline frees it, and its claims are counted
            _log.exception("turn_not_given_back", turn=held.turn_id)
        return following

    def _fence(self, held: HeldTurn) -> Mapping[str, Any]:
        return {"turn_id": held.turn_id, "fence": held.fence, "worker_id": self._worker_id}


def _span(held: HeldTurn, work: Work) -> tracing.Span:
    """Of one run of a turn: whichever worker runs it, it belongs to the trace of the first of its messages."""
    about = {"sisters.turn.id": held.turn_id, "sisters.turn.claim": held.fence}
    return tracing.resume("turn", (message.traceparent for message in work.own), about)


def _traceparent(work: Work) -> str | None:
    """What the deliveries carry: this turn, else (where this worker traces nothing) what its messages came with."""
    return tracing.traceparent() or next((message.traceparent for message in work.own if message.traceparent), None)


def _count(row: TurnRow, answer: Answer, took_s: float, *, superseded: bool) -> None:
    """`took_s` is since the turn was read; what came before that the database tells."""
    metrics.TURNS.labels("superseded" if superseded else answer.outcome).inc()
    if not superseded:
        waited = (row.now - row.waiting_since).total_seconds()
        metrics.TURN_SECONDS.labels(answer.outcome).observe(max(0.0, waited + took_s))
