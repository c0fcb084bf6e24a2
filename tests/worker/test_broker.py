"""What Celery's broker does for a wake-up, on a real Redis."""

from contextlib import closing
from pathlib import Path

from kombu import Connection, Consumer, Queue

from core.adapters.wakeups import QUEUE
from deploy.local.redis import Redis
from tests.core.adapters.raw import raw_client
from worker.broker import application


def test_a_wake_up_that_is_worked_on_is_kept_nowhere_and_goes_back_at_an_orderly_end(tmp_path: Path) -> None:
    taken: list[object] = []
    with Redis(log=tmp_path / "redis.log") as server, closing(raw_client(server.url)) as raw:
        app = application({"REDIS_URL": server.url})
        app.send_task("worker.tasks.wake", ["somebody"])
        with app.connection_for_read() as connection:
            assert isinstance(connection, Connection)
            queue = Queue(QUEUE, routing_key=QUEUE)
            with Consumer(connection, queues=[queue], on_message=taken.append, accept=["json"]):
                connection.drain_events(timeout=10)
                assert len(taken) == 1
                assert not list(raw.scan_iter("unacked*"))
        assert raw.llen(QUEUE) == 1
