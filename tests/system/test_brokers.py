"""The same promise on other services than one plain Redis: RabbitMQ, Sentinel with a master that is lost, TLS."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from deploy.local.child import free_port
from tests.core.adapters.rabbitmq import RabbitMq
from tests.core.adapters.sentinels import watched
from tests.core.adapters.tls_redis import tls_redis
from tests.system.conftest import running_system
from tests.system.running import System

PEOPLE = 20
ROUNDS = 4
LATENCY = {"SIMULATOR_LLM_LATENCY_MS": "200", "LLM_TIMEOUT_S": "4"}


def write(system: System, person: str, pause_s: float, now: threading.Event) -> int:
    """One after the other. What was refused until Twilio gave up (15 s), its log tells within two minutes."""
    for number in range(ROUNDS):
        system.stack.phone.write(person, f"Question {number} about streaming")
        if number:
            now.set()
        time.sleep(pause_s)
    return ROUNDS


def assert_all_end_well(system: System, written: int) -> None:
    def audit() -> dict[str, int]:
        return json.loads(system.stack.operate("audit")[1])

    system.wait_until(
        lambda: audit()["answered"] + audit()["merged"] == written, within_s=240, what=f"{written} answered or merged"
    )
    code, told = system.stack.operate("audit", "--against-provider", "--since", "1h")
    assert code == 0, told
    assert system.told_in_logs() == []


@pytest.mark.debian("rabbitmq-server")
@pytest.mark.timeout(420)
def test_everybody_is_answered_through_rabbitmq_which_goes_away_and_comes_back(tmp_path: Path, logs: Path):
    port = free_port()
    elsewhere = {"BROKER_URL": f"amqp://guest:guest@127.0.0.1:{port}//"}
    halfway = threading.Event()
    with RabbitMq(tmp_path, port) as broker, running_system(logs, LATENCY, workers=2, elsewhere=elsewhere) as system:
        with ThreadPoolExecutor(PEOPLE) as pool:
            people = [f"+1555060{n:04d}" for n in range(PEOPLE)]
            writing = pool.map(partial(write, system, pause_s=2, now=halfway), people)
            assert halfway.wait(30)
            broker.restart()
            written = sum(writing)
        assert_all_end_well(system, written)
        tasks = (logs / "worker.log").read_text() + (logs / "worker-2.log").read_text()
        assert "Connected to amqp" in tasks or "amqp" in tasks


@pytest.mark.timeout(420)
def test_everybody_is_answered_while_the_master_that_sentinels_watch_is_lost(tmp_path: Path, logs: Path):
    halfway = threading.Event()
    with watched(tmp_path) as servers:
        elsewhere = {"REDIS_URL": servers.url}
        with running_system(logs, LATENCY, workers=2, elsewhere=elsewhere) as system:
            with ThreadPoolExecutor(PEOPLE) as pool:
                people = [f"+1555061{n:04d}" for n in range(PEOPLE)]
                writing = pool.map(partial(write, system, pause_s=2, now=halfway), people)
                assert halfway.wait(30)
                failed = servers.fail_over()
                servers.start_server(failed, replica_of=None)
                written = sum(writing)
            assert_all_end_well(system, written)


@pytest.mark.debian("redis-server", "openssl")
@pytest.mark.timeout(420)
def test_a_message_is_answered_over_redis_under_tls(tmp_path: Path, logs: Path):
    with tls_redis(tmp_path) as server, running_system(logs, LATENCY, elsewhere={"REDIS_URL": server.url()}) as system:
        system.stack.phone.write("+15550620001", "Who knows about music?")
        assert system.wait_for_replies("+15550620001", 1, within_s=60)
        assert "insecure" not in (logs / "worker.log").read_text().lower()
