"""The tasks: each is a call into the core. A lost or doubled one does no harm."""

import structlog

from core.adapters.wakeups import CATCH_UP, DROP_OLD, REPORTS, SWEEP, WAKE
from core.errors import Transient
from worker import running
from worker.app import app

_log = structlog.stdlib.get_logger(__name__)


@app.task(name=WAKE)
def wake(person: str) -> None:
    """Something waits in this person's inbox."""
    worker = running.get()
    try:
        worker.parts.intake.drain(person, worker.pool)
    except Transient as error:  # it stays in the inbox; the sweep comes by every second
        _log.info("wake_waits", reason=error.reason, code=error.code)  # a person key is an address to who can guess


@app.task(name=REPORTS)
def reports() -> None:
    """Status reports wait."""
    try:
        running.get().parts.outbox.take_reports()
    except Transient as error:
        _log.info("reports_wait", reason=error.reason, code=error.code)


@app.task(name=SWEEP)
def sweep() -> None:
    """The timer: takes up what was left lying."""
    try:
        running.get().keeper.sweep()
    except Transient as error:
        _log.info("sweep_waits", reason=error.reason, code=error.code)


@app.task(name=CATCH_UP)
def catch_up() -> None:
    """The timer: looks in the provider's log for what never reached us."""
    try:
        running.get().keeper.catch_up()
    except Transient as error:
        _log.info("catch_up_waits", reason=error.reason, code=error.code)


@app.task(name=DROP_OLD)
def drop_old() -> None:
    """The timer: deletes what is older than RETENTION_DAYS."""
    try:
        running.get().parts.retention.drop_old()
    except Transient as error:
        _log.info("retention_waits", reason=error.reason, code=error.code)
