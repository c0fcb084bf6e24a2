"""Celery as the worker and the timer use it: the settings that both share, each with the reason."""

import logging
from collections.abc import Mapping
from typing import Any

from celery import Celery, signals

from core.adapters.wakeups import QUEUE
from core.wiring.broker import broker_of


def application(environ: Mapping[str, str]) -> Celery:
    """Returns an application at the broker of that environment, without tasks. Raises: ConfigurationError."""
    broker = broker_of(environ)
    app = Celery("sisters", broker=broker.url)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        # Waits for a broker that is away, for ever: an outage ends by itself.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            **broker.options,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # Redis only. What is taken and not yet acknowledged would be kept there, in four more commands by two new
            # clients for each wake-up, to be delivered again an hour later; the sweep finds what is lost in a second.
            "ack_emulation": False,
        },
        # Nobody listens to events, gossip or remote control: each costs connections and round trips.
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


@signals.setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone where somebody listens here."""
    logging.getLogger("celery").setLevel(logging.WARNING)  # two lines a task otherwise
