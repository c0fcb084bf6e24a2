"""The worker's Celery application: its tasks, and when the worker's parts are made and unmade."""

import logging
import os
from typing import Any

from celery import signals

from core import log
from worker import running
from worker.broker import application

log.setup("worker")
app = application(os.environ)
app.conf.update(
    include=["worker.tasks"],
    # A wake-up is worth nothing once it is read: what it speaks of waits in Redis and Postgres, and is found there
    # again by any worker's sweep. Late acks would only bring second copies after a visibility timeout.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
)


@signals.worker_init.connect
def _start(**_: Any) -> None:
    try:
        running.start()
    except BaseException:  # Celery would swallow it and go on as a worker without parts
        logging.getLogger(__name__).exception("worker_not_started")
        os._exit(1)


@signals.worker_shutting_down.connect
def _take_no_more(**_: Any) -> None:
    running.take_no_more()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    running.stop()
