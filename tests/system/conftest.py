"""Real processes for system tests: Postgres, Redis, simulator, gunicorn, a Celery worker and beat."""

import itertools
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from deploy.local.child import free_port
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import Stack, local_environment
from tests.system.running import System

LLM_LATENCY_MS = 200
FROM_OUTSIDE = (
    "OPENAI_",
    "LLM_",
    "TWILIO_",
    "MODERATION",
    "PROMPTS_DIR",
    "TURN_",
    "RETRY_",
    "PERSON_",
    "BUDGET_",
    "OTEL_",
)
_numbers = itertools.count(1)


@contextmanager
def running_system(
    logs: Path,
    environ: Mapping[str, str],
    *,
    workers: int = 1,
    concurrency: int = 50,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Generator[System]:
    """Everything as real processes; of the tester's own environment only what is no setting of ours.

    `elsewhere` names services that stand in for the local ones: REDIS_URL, BROKER_URL, DATABASE_URL.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith(FROM_OUTSIDE)}
    with ExitStack() as parts:
        postgres = parts.enter_context(Postgres(durable=False, log=logs / "postgres.log"))
        redis = parts.enter_context(Redis(log=logs / "redis.log"))
        settings = local_environment(
            outside | dict(environ),
            database_url=postgres.url,
            redis_url=redis.url,
            webhook_port=free_port(),
            simulator_port=free_port(),
            inspect_port=free_port(),
        ) | dict(elsewhere)
        stack = parts.enter_context(Stack(settings, logs=logs))
        stack.start(workers=workers, concurrency=concurrency)
        system = System(stack=stack, postgres=postgres, redis=redis, logs=logs)
        system.wait_until(
            lambda: len(system.rows("SELECT id FROM workers")) == workers, within_s=90, what=f"{workers} workers"
        )
        yield system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for all tests of a file; each test brings people of its own."""
    latency = {"SIMULATOR_LLM_LATENCY_MS": str(LLM_LATENCY_MS)}
    with running_system(tmp_path_factory.mktemp("system"), latency) as system:
        yield system


@pytest.fixture
def person() -> str:
    """A number that nobody wrote from yet."""
    return f"+1555020{next(_numbers):04d}"
