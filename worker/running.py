"""What runs in one worker process beside Celery: made when the worker starts, finished or handed back when it stops."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import structlog
from prometheus_client import REGISTRY

from core import __version__, tracing
from core.config import WorkerSettings
from core.deliveries.outbox import Outbox
from core.errors import Transient
from core.keeping.upkeep import Upkeep
from core.metrics import IN_FLIGHT, PLACES
from core.turns.turn import Turns
from core.wiring.worker import WorkerEnvironment, WorkerParts, worker_parts
from worker import metrics
from worker.keeper import Keeper
from worker.pool import TurnPool

FINISH_MARGIN: Final = timedelta(seconds=5)
"""On SIGTERM turns may end within LLM_TIMEOUT_S and this; what has not is handed back."""
SENDS_END_WITHIN: Final = timedelta(seconds=3)
"""After that, for calls to the provider that are being made."""
LEAVES_AFTER: Final = timedelta(seconds=9)
"""LLM_TIMEOUT_S and this after SIGTERM the process is gone, whatever hangs. Below the promised 10 s."""
FURTHER_PORTS: Final = 20
"""Above METRICS_PORT: so many more workers of one host can be asked. In a container the first port is always free."""

_Result = TypeVar("_Result")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The parts of a started worker."""

    parts: WorkerParts
    pool: TurnPool
    keeper: Keeper


_running: Running | None = None


def get() -> Running:
    """The running worker's parts. Raises: RuntimeError outside a worker."""
    if _running is None:
        raise RuntimeError("no worker runs in this process")
    return _running


def start(read: WorkerEnvironment, *, concurrency: int) -> None:
    """Makes the parts and starts the keeper; services that are away are waited for, not for here.

    Raises: ConfigurationError.
    """
    global _running  # noqa: PLW0603 - one worker a process: Celery's tasks and signals are handed nothing
    parts = worker_parts(read, concurrency=concurrency)
    tracing.start("sisters-worker", instance=str(parts.worker_id))
    pool = TurnPool(parts.turns.run, size=parts.concurrency)
    keeper = Keeper(
        upkeep=parts.upkeep,
        turns=parts.turns,
        outbox=parts.outbox,
        eraser=parts.eraser,
        catch_up=parts.catch_up,
        pool=pool,
        sampler=parts.sampler if parts.settings.metrics_port is not None else None,
    )
    _running = Running(parts=parts, pool=pool, keeper=keeper)
    keeper.start()
    _log.info("worker_started", worker=str(parts.worker_id), version=__version__, turns_at_once=parts.concurrency)
    if parts.settings.metrics_port is not None:
        REGISTRY.register(parts.levels)
        IN_FLIGHT.set_function(pool.in_flight)
        PLACES.set(parts.concurrency)
        _serve_metrics(parts.settings, parts.settings.metrics_port)


def take_no_more() -> None:
    """Claims no further turn; the running ones go on. From now on there is an end, whatever hangs."""
    if _running is None:
        return
    _running.pool.close()
    _running.parts.turns.stop()
    _running.parts.retention.stop()
    _running.keeper.take_no_more()
    patience = _running.parts.llm_timeout + LEAVES_AFTER
    timer = threading.Timer(patience.total_seconds(), _leave)
    timer.daemon = True
    timer.start()


def stop(*, exit_code: int = 0) -> None:
    """Lets running turns end, hands back the rest, and leaves with that code."""
    running = get()
    running.pool.close()
    ended = running.pool.wait(running.parts.llm_timeout + FINISH_MARGIN)
    running.keeper.stop()
    parts = running.parts
    handed_back, sent = hand_back(turns=parts.turns, outbox=parts.outbox, upkeep=parts.upkeep)
    _log.info("worker_stopped", all_ended=ended, all_sent=sent, handed_back=handed_back)
    tracing.stop()
    _leave(exit_code)


def hand_back(*, turns: Turns, outbox: Outbox, upkeep: Upkeep) -> tuple[int, bool]:
    """Gives back what is held, each step whatever became of the one before.

    Returns how many turns were handed back, and whether all that was being sent has ended.
    """
    handed_back, sent = _unless_away(turns.hand_back) or 0, outbox.finish(SENDS_END_WITHIN)
    _unless_away(turns.note_costs)
    _unless_away(upkeep.leave)
    return handed_back, sent


def _unless_away(step: Callable[[], _Result]) -> _Result | None:
    try:
        return step()
    except Transient as error:
        _log.warning("not_handed_back", step=step.__name__, reason=error.reason, code=error.code)
        return None


def _leave(exit_code: int = 0) -> None:
    """Ends the process at once: a call that hangs has a row that tells others, a clean-up has nothing to add."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(exit_code)


def _serve_metrics(settings: WorkerSettings, port: int) -> None:
    """Metrics are worth having, not worth failing for. A second worker on a host finds the port taken."""
    try:
        server = metrics.serve(settings.host, port, settings.metrics_token, further=FURTHER_PORTS)
    except OSError as error:
        _log.error("metrics_not_served", port=port, errno=error.errno)
    else:
        _log.info("metrics_served", port=server.port)
