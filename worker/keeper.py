"""The keeper of one worker process: shows signs of life and takes up whatever was left lying."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from core.deliveries.outbox import Outbox
from core.errors import NOT_MIGRATED, Transient
from core.keeping.catchup import CatchUp
from core.keeping.erasure import Eraser
from core.keeping.upkeep import BEAT_EVERY, Upkeep
from core.metrics import DUTY_FAILING
from core.sampling import LOOK_EVERY, Sampler
from core.turns.turn import Turns
from worker.pool import TurnPool

TICK: Final = timedelta(milliseconds=500)
SWEEP_EVERY: Final = timedelta(seconds=1)
CATCH_UP_TICK: Final = timedelta(seconds=10)
"""How often this worker asks whether it is time; one reads, the others find out for the price of a statement."""
AT_ONCE: Final = 50
ASKED_AT_ONCE: Final = 5
"""Calls to the provider, one after the other, that a worker which stops still waits for."""

_log = structlog.stdlib.get_logger(__name__)


class Keeper:
    """A thread for each duty, so that one that hangs (Redis, Twilio) holds up no other, least of all the sign of life.

    Each worker sweeps by itself, so no single timer is needed for the promise to hold; two do no harm.
    """

    def __init__(
        self,
        *,
        upkeep: Upkeep,
        turns: Turns,
        outbox: Outbox,
        eraser: Eraser,
        catch_up: CatchUp,
        pool: TurnPool,
        sampler: Sampler | None = None,
    ) -> None:
        self._upkeep = upkeep
        self._turns = turns
        self._outbox = outbox
        self._catch_up = catch_up
        self._pool = pool
        self._stop = threading.Event()
        self._leaving = threading.Event()
        duties: tuple[tuple[timedelta, Callable[[], object]], ...] = (
            (BEAT_EVERY, upkeep.beat),
            (outbox.tick, self._push_due),
            (TICK, self._claim_when_freed),
            (SWEEP_EVERY, upkeep.release_lost),
            (SWEEP_EVERY, turns.release_unrun),
            (SWEEP_EVERY, turns.note_costs),
            (SWEEP_EVERY, self._drain),
            (SWEEP_EVERY, outbox.take_reports),
            (SWEEP_EVERY, self._find_out),
            (SWEEP_EVERY, eraser.erase_settled),
            (CATCH_UP_TICK, self.catch_up),
        )
        if sampler is not None:
            looks = (
                sampler.look_at_inboxes,
                sampler.look_at_redis,
                sampler.look_at_broker,
                sampler.look_at_postgres,
            )
            duties += tuple((LOOK_EVERY, look) for look in looks)
        self._threads = [
            threading.Thread(target=self._repeat, args=duty, name=f"keeper-{duty[1].__name__.strip('_')}", daemon=True)
            for duty in duties
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def take_no_more(self) -> None:
        """Ends a running reading of the provider's log soon, and begins none: Celery waits for what its threads do."""
        self._leaving.set()
        self._catch_up.stop()

    def stop(self) -> None:
        """Stops them after what they are doing; as daemons they hold up no exit."""
        self._stop.set()
        self.take_no_more()
        self._pool.freed.set()

    def sweep(self) -> None:
        """One round of every sweep on the caller's thread: what the timer asks for."""
        for step in (self._upkeep.release_lost, self._drain, self._outbox.take_reports, self._push_due):
            step()
        self._fill_places()

    def catch_up(self) -> None:
        """Reads the provider's log if it is time, and asks after deliveries of which no report came."""
        if self._leaving.is_set():
            return
        self._catch_up.run_due()
        asked = 0
        while not self._leaving.is_set() and asked < AT_ONCE:
            asked_now = self._outbox.ask_after(ASKED_AT_ONCE)
            asked += asked_now
            if asked_now < ASKED_AT_ONCE:
                return

    def _repeat(self, period: timedelta, step: Callable[[], object]) -> None:
        """An outage is told once when it begins and once when it is over."""
        name = step.__name__.strip("_")
        down, log, failing = False, _log.bind(step=name), DUTY_FAILING.labels(name)
        while True:
            try:
                step()
            except Transient as error:
                if not down:
                    hint = {"hint": "run sisters migrate"} if error.reason == NOT_MIGRATED else {}
                    log.warning("step_waits", reason=error.reason, code=error.code, **hint)
                down = True
            except Exception:
                if not down:
                    log.exception("step_failed")
                down = True
            else:
                if down:
                    log.info("step_works_again")
                down = False
            failing.set(down)
            if self._stop.wait(period.total_seconds()):
                return

    def _claim_when_freed(self) -> None:
        """Under load a place must not stay empty until the next tick."""
        self._fill_places()
        while not self._stop.is_set() and self._pool.freed.wait(TICK.total_seconds()):
            self._fill_places()

    def _fill_places(self) -> None:
        """Fills free places with turns that nobody holds."""
        while not self._stop.is_set():
            places = 0
            while places < AT_ONCE and self._pool.reserve():
                places += 1
            if not places:
                self._pool.freed.clear()  # set again by the next place that comes free
                return
            started = 0
            try:
                for turn in self._turns.claim(places):
                    self._pool.start(turn)
                    started += 1
            finally:
                for _ in range(places - started):
                    self._pool.release()
            if started < places:
                self._pool.caught_up()
                return

    def _push_due(self) -> None:
        for conversation_id in self._outbox.due(AT_ONCE):
            self._outbox.push_soon(conversation_id)

    def _drain(self) -> None:
        self._upkeep.drain_stale_inboxes(self._pool)

    def _find_out(self) -> None:
        self._outbox.find_out(AT_ONCE)
