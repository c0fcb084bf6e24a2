import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]


def _exit_code(database_url: str, *options: str) -> int:
    run = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "worker_health.py"), *options],
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in run.stderr
    return run.returncode


def _beat(database_url: str, *, host: str, seconds_ago: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO workers (id, host, pid, version, beat_at)"
            " VALUES (gen_random_uuid(), %s, 1, '', now() - make_interval(secs => %s))",
            (host, seconds_ago),
        )


def test_a_worker_of_this_host_that_beat_just_now_is_healthy(database_url: str):
    _beat(database_url, host=socket.gethostname(), seconds_ago=1)
    assert _exit_code(database_url) == 0


def test_a_silent_worker_and_a_worker_of_another_host_are_not(database_url: str):
    _beat(database_url, host=socket.gethostname(), seconds_ago=60)
    _beat(database_url, host="elsewhere", seconds_ago=1)
    assert _exit_code(database_url) == 1


def test_without_postgres_nobody_is_healthy_and_nobody_is_known_to_be_dead(empty_database_url: str):
    for url in ("postgresql://127.0.0.1:1/none", empty_database_url):
        assert _exit_code(url) == 1
        assert _exit_code(url, "--alive") == 0


def test_a_worker_that_is_silent_while_postgres_answers_is_not_alive(database_url: str):
    _beat(database_url, host=socket.gethostname(), seconds_ago=60)
    assert _exit_code(database_url, "--alive") == 1
    _beat(database_url, host=socket.gethostname(), seconds_ago=1)
    assert _exit_code(database_url, "--alive") == 0
