"""The timer's entries reach the queue by themselves, whatever Redis has forgotten."""

import json
import os
import subprocess
import sys

from worker.keeper import CATCH_UP_TICK

PUBLISH_FLUSH_PUBLISH = """
import json, redis
from celery.beat import Scheduler
from worker.timer import app
client = redis.Redis.from_url(app.conf.broker_url)
scheduler = Scheduler(app)
def publish():
    client.flushall()
    for name in sorted(scheduler.schedule):
        scheduler.apply_async(scheduler.schedule[name], advance=False)
    return [json.loads(message) for message in client.lrange("sisters", 0, -1)]
print(json.dumps([publish(), publish(), [key.decode() for key in client.keys()]]))
"""


LOADED = "import sys; import worker.timer; print(*sys.modules)"


def test_the_timer_loads_no_client_of_a_worker(redis_url: str) -> None:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"REDIS_URL": redis_url}
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], env=environ, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert "celery" in loaded
    assert not {"openai", "twilio", "core.wiring.worker", "core.routing.route"} & set(loaded)


def test_after_redis_was_flushed_between_two_publishes_the_timer_still_reaches_the_queue(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH_FLUSH_PUBLISH],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second, keys = json.loads(done.stdout.splitlines()[-1])
    for published in (first, second):
        headers = {message["headers"]["task"]: message["headers"] for message in published}
        assert sorted(headers) == ["sisters.catch_up", "sisters.drop_old", "sisters.sweep"]
        assert all(header["expires"] for header in headers.values())  # an outage leaves no heap
    assert keys == ["sisters"]  # nothing was declared that could be lost


def test_a_worker_asks_often_enough_whether_it_is_time() -> None:
    assert CATCH_UP_TICK.total_seconds() <= 10
