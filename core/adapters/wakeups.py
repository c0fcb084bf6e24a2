"""Wakes a worker: the Celery messages `sisters.wake` and `sisters.reports`, ready-made for whoever carries them."""

import json
import time
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import structlog
from kombu import Connection
from kombu.pools import ProducerPool
from prometheus_client import Counter

from core.addresses import broker
from core.errors import Transient

WAKE: Final = "sisters.wake"
REPORTS: Final = "sisters.reports"
SWEEP: Final = "sisters.sweep"
CATCH_UP: Final = "sisters.catch_up"
DROP_OLD: Final = "sisters.drop_old"
QUEUE: Final = "sisters"

_PERSON: Final = "{person}"
_ID: Final = "{id}"
_BOUND_S: Final = 0.3
"""Of each step towards a broker of its own: after Redis has taken the message the answer must not wait much longer."""
_LOOK_S: Final = 2.0
"""The same for who only looks at the queue."""
_NOT_FOUND: Final = "404"
_REST_AFTER_FAILURE: Final = timedelta(seconds=5)
_FAILED: Final = Counter(
    "sisters_wakeups_failed", "Wake-ups that the broker did not take; the sweep finds these inboxes"
)

_log = structlog.get_logger(__name__)


def _headers(task: str, message_id: str) -> dict[str, Any]:
    """What a Celery worker needs to run a task. Source: celery 5.7.0, `as_task_v2` and `create_request_cls`."""
    return {
        "lang": "py",
        "task": task,
        "id": message_id,
        "root_id": message_id,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "(...)",
        "kwargsrepr": "{}",
        "origin": "door",
        "ignore_result": True,
    }


def _body(args: list[str]) -> list[Any]:
    return [args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


class Envelope:
    """The same task as kombu would put it onto its Redis list, so that Lua can push it in the same round trip.

    The body stays plain JSON: only its reader decides by `body_encoding`, and Lua can set the person key into it.
    Source: kombu 5.7.0, `virtual.Channel._inplace_augment_message` and `virtual.Message`.
    """

    def __init__(self, task: str, *, person: bool) -> None:
        """`person`: whether the task takes a person key."""
        message = {
            "body": json.dumps(_body([_PERSON] if person else [])),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": _headers(task, _ID),
            "properties": {
                "correlation_id": _ID,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "delivery_tag": _ID,
            },
        }
        self._before, _, self._after = json.dumps(message).partition(_PERSON)

    def around_person(self) -> tuple[str, str]:
        """Returns one new message, cut where the person key belongs; the second half is empty for a task without."""
        message_id = str(uuid4())
        return self._before.replace(_ID, message_id), self._after.replace(_ID, message_id)


def _bounded(broker_url: str, bound_s: float) -> Connection:
    """A connection whose every step is bounded; nothing is opened yet."""
    where = broker(broker_url, bound=timedelta(seconds=bound_s))
    options = {"socket_timeout": bound_s, "socket_connect_timeout": bound_s, "health_check_interval": 25}
    if broker_url.startswith(("amqp", "pyamqp")):
        options = {"read_timeout": bound_s, "write_timeout": bound_s}
    return Connection(where.url, connect_timeout=bound_s, transport_options={**options, **where.options})


class QueueDepth:
    """Asks any broker how many wake-ups wait. For one thread."""

    def __init__(self, broker_url: str) -> None:
        self._connection = _bounded(broker_url, _LOOK_S)

    def depth(self) -> int:
        """Returns how many messages are in the queue; one that does not exist (an empty Redis list) holds none.

        Raises: Transient.
        """
        try:
            with self._connection.channel() as opened:
                channel: Any = opened  # kombu's base class does not name what every channel has
                try:
                    return int(channel.queue_declare(queue=QUEUE, passive=True).message_count)
                except self._connection.channel_errors as error:
                    if str(getattr(error, "reply_code", "")) == _NOT_FOUND:  # kombu's own has it as a text
                        return 0
                    raise
        except Exception as error:  # noqa: BLE001 - transports raise their own kinds
            self._connection.close()
            raise Transient("broker", code=type(error).__name__) from None

    def close(self) -> None:
        """Closes the connection."""
        self._connection.release()


class BrokerWakeups:
    """Wake-ups through a broker that is not the inboxes' Redis. They are best effort: the sweep sees every inbox.

    After a failure it rests, so that a broker that hangs costs one message its time and not every message.
    """

    def __init__(self, broker_url: str, *, limit: int) -> None:
        """`limit` is how many threads may publish at once. Nothing is opened before the first wake-up."""
        self._connections = _bounded(broker_url, _BOUND_S).Pool(limit)
        self._pool = ProducerPool(connections=self._connections, limit=limit)
        self._rest_until = 0.0

    def wake(self, task: str, *args: str) -> None:
        """Publishes the task; never raises. A wake-up that does not get through is logged and counted."""
        if time.monotonic() < self._rest_until:
            _FAILED.inc()
            return
        try:
            self._publish(task, list(args))
        except Exception as error:  # noqa: BLE001 - transports raise their own kinds; none may cost the message
            self._rest_until = time.monotonic() + _REST_AFTER_FAILURE.total_seconds()
            _FAILED.inc()
            _log.warning("wakeup_not_published", task=task, reason=type(error).__name__)

    def close(self) -> None:
        """Closes the connections that were opened."""
        self._pool.force_close_all()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        self._connections.force_close_all()

    def _publish(self, task: str, args: list[str]) -> None:
        message_id = str(uuid4())
        with self._pool.acquire(block=True, timeout=_BOUND_S) as producer:
            producer.publish(
                _body(args),
                exchange="",
                routing_key=QUEUE,
                serializer="json",
                headers=_headers(task, message_id),
                correlation_id=message_id,
                retry=True,
                # Without `retry` kombu is slower, not faster, when the broker is gone (tried with kombu 5.7.0).
                retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
            )
