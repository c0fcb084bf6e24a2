"""The Celery application: its settings, each with the reason, and when the worker's parts are made and unmade."""

import logging
import os
from datetime import timedelta
from typing import Any, Final

from celery import Celery, signals

from core import log
from core.adapters.wakeups import CATCH_UP, DROP_OLD, QUEUE, SWEEP
from core.keeping.catchup import EVERY as CATCH_UP_EVERY
from core.keeping.retention import EVERY as DROP_OLD_EVERY
from core.wiring.worker import broker_of
from worker import running

SWEEP_EVERY: Final = timedelta(seconds=5)


def _every(period: timedelta, task: str) -> dict[str, Any]:
    """An entry of the timer. An outage leaves no heap: what could not be read within one period is dropped.

    By the anonymous exchange a message goes straight onto the queue's list: nothing is declared, and no table of
    bindings must survive in Redis. Source: kombu 5.7.0, `virtual.Channel.basic_publish`.
    """
    options = {"expires": period.total_seconds(), "exchange": "", "routing_key": QUEUE}
    return {"task": task, "schedule": period, "options": options}


log.setup(os.environ.get("SISTERS_PROCESS", "worker"))
_broker = broker_of(os.environ)
app = Celery("sisters", broker=_broker.url, include=["worker.tasks"])
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    # A wake-up is worth nothing once it is read: what it speaks of waits in Redis and Postgres, and is found there
    # again by any worker's sweep. Late acks would only bring second copies after a visibility timeout.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    # Waits for a broker that is away, for ever: an outage ends by itself.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        **_broker.options,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 25,
    },
    # Nobody listens to events, gossip or remote control: each costs connections and round trips.
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    beat_schedule={
        "sweep": _every(SWEEP_EVERY, SWEEP),
        "catch-up": _every(CATCH_UP_EVERY, CATCH_UP),
        "drop-old": _every(DROP_OLD_EVERY, DROP_OLD),
    },
)


@signals.setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone where somebody listens here."""
    logging.getLogger("celery").setLevel(logging.WARNING)  # two lines a task otherwise


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
