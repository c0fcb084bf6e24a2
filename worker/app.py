"""The worker's Celery application: its tasks, and when the worker's parts are made and unmade."""

import os
from typing import Any, Final

from celery import signals

from core.wiring.worker import WorkerEnvironment
from worker import running
from worker.broker import application

_DESK_THREADS: Final = 16
"""Celery's own threads: they store, take reports and sweep; turns have threads of their own."""

app = application(os.environ)
app.conf.update(
    include=["worker.tasks"],
    # A wake-up is worth nothing once it is read: what it speaks of waits in Redis and Postgres, and is found there
    # again by any worker's sweep. Late acks would only bring second copies after a visibility timeout.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
)


def run(read: WorkerEnvironment, *, concurrency: int) -> int:
    """Works until a signal ends it, and mostly ends the process itself then; so many turns run at once.

    Returns the exit code of a stop that was cut short; it ends with 1 where Celery gave up. Celery's own command line
    does the same and loads a terminal's toolkit for it, which takes half a second. Raises: ConfigurationError.
    """
    # Made first: it imports the tasks, and a worker that cannot must not look alive.
    worker = app.Worker(
        pool="threads",
        concurrency=_DESK_THREADS,
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    running.start(read, concurrency=concurrency)
    worker.start()
    return int(worker.exitcode or 0)


@signals.worker_shutting_down.connect
def _take_no_more(**_: Any) -> None:
    running.take_no_more()


@signals.worker_shutdown.connect
def _stop(sender: Any, **_: Any) -> None:
    running.stop(exit_code=int(sender.exitcode or 0))
