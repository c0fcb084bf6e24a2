import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from core.adapters.redis_inbox import door, inboxes, person_key
from core.adapters.wakeups import WAKE, BrokerWakeups, QueueDepth
from core.model import InboundMessage, StatusReport
from deploy.local.child import free_port
from deploy.local.redis import Redis
from tests.core.adapters.rabbitmq import RabbitMq
from tests.core.adapters.raw import raw_client
from tests.core.logged import logged

PHONE = "whatsapp:+4915112345678"
NOW = datetime(2026, 11, 22, tzinfo=UTC)

APP = """
import os, redis
from celery import Celery

app = Celery("test", broker=os.environ["BROKER"])
app.conf.update(task_default_queue="sisters", task_ignore_result=True, broker_connection_retry_on_startup=True)
seen = redis.Redis.from_url(os.environ["BROKER"])

@app.task(name="sisters.wake")
def wake(person):
    seen.rpush("seen", "wake " + person)

@app.task(name="sisters.reports")
def reports():
    seen.rpush("seen", "reports")
"""


def message(sender: str = PHONE) -> InboundMessage:
    return InboundMessage(
        channel="twilio", provider_id="SM1", sender=sender, recipient="whatsapp:+14155238886", received_at=NOW
    )


def report() -> StatusReport:
    return StatusReport(channel="twilio", provider_id="SM1", status="sent", received_at=NOW)


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[Any]:
    """A real Celery worker on the same Redis; gives a client to see what it did."""
    (tmp_path / "wakeable.py").write_text(APP)
    command = [sys.executable, "-m", "celery", "-A", "wakeable", "worker", "-P", "threads", "-c", "4"]
    with (tmp_path / "worker.log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | {"BROKER": redis_url}, stdout=output, stderr=output
        )
    with closing(raw_client(redis_url)) as client:
        yield client
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def seen(client: Any, count: int) -> list[str]:
    end = time.monotonic() + 30
    while client.llen("seen") < count and time.monotonic() < end:
        time.sleep(0.02)
    return sorted(entry.decode() for entry in client.lrange("seen", 0, -1))


def test_a_celery_worker_carries_out_what_the_door_pushed(worker: Any, redis_url: str):
    way_in = door(redis_url, redis_url)
    way_in.accept(message())
    way_in.accept(message())
    way_in.accept(message("whatsapp:+1"))
    way_in.report(report())
    expected = sorted(["reports", f"wake {person_key(PHONE)}", f"wake {person_key('whatsapp:+1')}"])
    assert seen(worker, 3) == expected
    way_in.close()


def test_a_celery_worker_carries_out_what_came_through_another_broker(worker: Any, redis_url: str, redis_server: Redis):
    inboxes_url = redis_server.database_url(0)
    with closing(raw_client(inboxes_url)) as raw:
        raw.flushdb()
    way_in = door(inboxes_url, redis_url)
    way_in.accept(message())
    way_in.accept(message())
    way_in.report(report())
    assert seen(worker, 2) == ["reports", f"wake {person_key(PHONE)}"]
    way_in.close()


def assert_accepted_within_a_second(redis_url: str, broker_url: str) -> None:
    """A broker that is away costs no message, at most one of them some time, and is told."""
    way_in = door(redis_url, broker_url)
    with logged() as lines:
        for number in range(20):
            began = time.monotonic()
            way_in.accept(message(f"whatsapp:+{number}"))
            assert time.monotonic() - began < (1.0 if number == 0 else 0.1)
    assert [line["event"] for line in lines.told() if line["logger"] == "core.adapters.wakeups"] == [
        "wakeup_not_published"
    ]
    within = inboxes(redis_url)
    assert len(within.read(person_key("whatsapp:+19"), limit=5).entries) == 1
    within.close()
    way_in.close()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_refuses_costs_no_message(redis_url: str, scheme: str):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert_accepted_within_a_second(redis_url, f"{scheme}://127.0.0.1:{port}//")


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_never_answers_costs_no_message(redis_url: str, scheme: str):
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        assert_accepted_within_a_second(redis_url, f"{scheme}://127.0.0.1:{server.getsockname()[1]}//")


@pytest.mark.debian("rabbitmq-server")
def test_a_wakeup_goes_through_rabbitmq(tmp_path: Path):
    port = free_port()
    url = f"amqp://guest:guest@127.0.0.1:{port}//"
    with RabbitMq(tmp_path, port), Connection(url) as connection:
        queue = connection.SimpleQueue("sisters")
        wakeups = BrokerWakeups(url, limit=4)
        wakeups.wake(WAKE, "person")
        entry = queue.get(timeout=10)
        entry.ack()
        assert (entry.headers["task"], entry.payload[0]) == (WAKE, ["person"])
        queue.close()
        wakeups.close()


@pytest.mark.debian("rabbitmq-server")
def test_the_depth_of_a_queue_of_rabbitmq_is_seen_too(tmp_path: Path) -> None:
    port = free_port()
    url = f"amqp://guest:guest@127.0.0.1:{port}//"
    with RabbitMq(tmp_path, port), Connection(url) as connection, closing(QueueDepth(url)) as queue:
        assert queue.depth() == 0  # nobody has made it yet
        connection.SimpleQueue("sisters")
        with closing(BrokerWakeups(url, limit=1)) as wakeups:
            for _ in range(3):
                wakeups.wake(WAKE, "person")
            end = time.monotonic() + 20
            while queue.depth() != 3:  # the broker confirms nothing here: it counts when it gets round to it
                assert time.monotonic() < end
                time.sleep(0.05)
