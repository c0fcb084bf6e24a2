"""Catch-up against the real simulator: a webhook that never came, and a database that forgot what was answered."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.wiring.worker import WorkerParts, read_worker, worker_parts
from deploy.local.child import free_port
from deploy.local.stack import Stack, local_environment
from tests.system.conftest import FROM_OUTSIDE

PERSON = "+15550400001"
HIDDEN = "+15550400002"


@pytest.fixture
def stack(database_url: str, redis_url: str, logs: Path) -> Iterator[Stack]:
    """Twilio and OpenAI as simulated, and no bot: every webhook is lost."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(FROM_OUTSIDE)}
    settings = local_environment(
        outside | {"SIMULATOR_LLM_LATENCY_MS": "0"},
        database_url=database_url,
        redis_url=redis_url,
        webhook_port=free_port(),
        simulator_port=free_port(),
    )
    with Stack(settings, logs=logs) as stack:
        stack.start_simulator()
        stack.processes.wait_for("simulator", f"{stack.phone.url}/healthz")
        stack.phone.set_faults({"webhook": {"drop": 1}})
        yield stack


@pytest.fixture
def parts(stack: Stack) -> Iterator[WorkerParts]:
    """A worker's real parts."""
    parts = worker_parts(read_worker(stack.environ), concurrency=100)
    parts.catch_up._grace = timedelta(0)  # pyright: ignore[reportPrivateUsage]
    parts.upkeep.beat()
    yield parts
    parts.close()


def read_again(parts: WorkerParts) -> dict[str, int]:
    time.sleep(1.1)  # the log has whole seconds
    return parts.catch_up.run(timedelta(minutes=5)).as_json()


def answer_what_waits(parts: WorkerParts) -> None:
    for turn in parts.turns.claim(100):
        parts.turns.run(turn)


def rows(stack: Stack, query: bytes) -> list[tuple[Any, ...]]:
    with psycopg.connect(stack.environ["DATABASE_URL"]) as connection:
        return connection.execute(query).fetchall()


def test_messages_whose_webhook_never_came_are_answered_once_and_never_again(stack: Stack, parts: WorkerParts) -> None:
    phone = stack.phone
    phone.write(PERSON, "Who knows about music?")
    phone.write(PERSON, "", media=[{"content_type": "audio/ogg"}])
    phone.write(HIDDEN, "who knows about comics?", hidden=True)
    assert read_again(parts) == {"read": 3, "late": 3, "too_late": 0, "failed": 0}
    answer_what_waits(parts)
    (reply,) = phone.replies(PERSON)
    assert reply["body"].startswith("*Kasho🎵*: ")
    assert len(phone.replies(HIDDEN)) == 1
    ((media_url,),) = rows(stack, b"SELECT attachments -> 'media' -> 0 ->> 'url' FROM messages WHERE text = '' "
                                  b"AND direction = 'in'")  # fmt: skip
    (sent,) = [m["url"] for message in phone.messages(PERSON) for m in message["media"]]
    assert media_url == sent
    assert read_again(parts)["late"] == 0

    # What we told the provider of our deliveries' reports was lost too: nobody listened.
    with psycopg.connect(stack.environ["DATABASE_URL"]) as connection:
        connection.execute("UPDATE deliveries SET accepted_at = now() - interval '11 minutes'")
    assert parts.outbox.ask_after(10) == 2
    assert {status for (status,) in rows(stack, b"SELECT status FROM deliveries")} <= {"delivered", "read"}

    # A backup from before all this is put back.
    with psycopg.connect(stack.environ["DATABASE_URL"]) as connection:
        connection.execute("TRUNCATE people, reports CASCADE")
    phone.write(PERSON, "Still there after the restore?")
    assert read_again(parts) == {"read": 4, "late": 1, "too_late": 3, "failed": 0}
    answer_what_waits(parts)
    assert (len(phone.replies(PERSON)), len(phone.replies(HIDDEN))) == (2, 1)


def test_the_command_prints_counts_and_says_no_when_somebody_cannot_be_reached(
    stack: Stack,
) -> None:
    def catch_up(**changes: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("sisters")), "catch-up", "--since", "2h"]
        return subprocess.run(
            command, env=stack.environ | changes, capture_output=True, text=True, timeout=60, check=False
        )

    stack.phone.write(PERSON, "Too young for a reading with its grace")
    done = catch_up()
    assert (done.returncode, json.loads(done.stdout)) == (0, {"read": 0, "late": 0, "too_late": 0, "failed": 0})
    for away, code, said in (
        ({"TWILIO_BASE_URL": "http://127.0.0.1:1"}, 1, "Twilio does not answer at 127.0.0.1:1 (connect)"),
        (
            {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"},
            1,
            "DATABASE_URL: Postgres does not answer at 127.0.0.1:1/x (connection refused)",
        ),
        ({"TWILIO_AUTH_TOKEN": "wrong"}, 2, "TWILIO_ACCOUNT_SID: Twilio refuses us (auth"),
    ):
        done = catch_up(**away)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.splitlines()[-1].startswith(said)
