"""What Celery beat sends and how often; it knows the tasks by name alone and loads none of a worker's clients."""

import os
from datetime import timedelta
from typing import Any, Final

import structlog
from celery import signals

from core import __version__
from core.adapters.wakeups import CATCH_UP, DROP_OLD, QUEUE, SWEEP
from core.keeping.catchup import EVERY as CATCH_UP_EVERY
from core.keeping.retention import EVERY as DROP_OLD_EVERY
from worker.broker import application

SWEEP_EVERY: Final = timedelta(seconds=5)

_log = structlog.stdlib.get_logger(__name__)


def _every(period: timedelta, task: str) -> dict[str, Any]:
    """An entry of the timer. An outage leaves no heap: what could not be read within one period is dropped.

    By the anonymous exchange a message goes straight onto the queue's list: nothing is declared, and no table of
    bindings must survive in Redis. Source: kombu 5.7.0, `virtual.Channel.basic_publish`.
    """
    options = {"expires": period.total_seconds(), "exchange": "", "routing_key": QUEUE}
    return {"task": task, "schedule": period, "options": options}


app = application(os.environ)
app.conf.beat_schedule = {
    "sweep": _every(SWEEP_EVERY, SWEEP),
    "catch-up": _every(CATCH_UP_EVERY, CATCH_UP),
    "drop-old": _every(DROP_OLD_EVERY, DROP_OLD),
}


@signals.beat_init.connect
def _say_so(**_: Any) -> None:
    """It keeps nothing that one could look at: this line is what deploy.sh waits for."""
    _log.info("beat_started", version=__version__)


def run() -> None:
    """Sends them until a signal ends it. The plain scheduler keeps nothing on disk: every entry is a short interval."""
    app.Beat(scheduler="celery.beat:Scheduler", quiet=True).run()
