"""The command as an operator types it: exit codes, problems all at once, JSON lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from deploy.local.stack import SIMULATED_TWILIO
from tests.fakes import SOMEBODY, Bot

SISTERS = str(Path(sys.executable).parent / "sisters")


def sisters(
    *arguments: str, given: str | None = None, environment: dict[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [SISTERS, *arguments],
        input=given,
        env=bare | (environment or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("webhook", ["PUBLIC_URL", "REDIS_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_WHATSAPP_NUMBER"]),
        ("worker", ["DATABASE_URL", "LLM_PROVIDERS", "PUBLIC_URL", "REDIS_URL", "TWILIO_ACCOUNT_SID"]),
        ("beat", ["REDIS_URL"]),
        ("migrate", ["DATABASE_URL"]),
        ("inspect", ["DATABASE_URL", "INSPECT_TOKEN"]),
    ],
)
def test_a_process_without_configuration_names_every_missing_value_and_exits_2(command: str, names: list[str]) -> None:
    done = sisters(command)
    assert done.returncode == 2
    told = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert [name for name in names if name not in told] == []
    assert told == sorted(told)


def test_a_turn_that_could_not_outlast_one_call_is_refused() -> None:
    done = sisters("worker", environment={"OPENAI_API_KEY": "k", "LLM_TIMEOUT_S": "60", "TURN_DEADLINE_S": "60"})
    assert "TURN_DEADLINE_S: should be more than LLM_TIMEOUT_S" in done.stderr


def test_a_broken_cast_is_told_beside_a_broken_environment(tmp_path: Path) -> None:
    done = sisters("worker", environment={"PROMPTS_DIR": str(tmp_path / "nothing")})
    assert done.returncode == 2
    assert "PROMPTS_DIR: no such directory of prompts" in done.stderr
    assert "REDIS_URL: missing" in done.stderr


def test_a_wrong_secret_is_not_repeated() -> None:
    done = sisters("migrate", environment={"DATABASE_URL": "postgresql://me:hunter2@[broken"})
    assert done.returncode == 2
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_sigterm_while_a_process_still_loads_ends_it_well(command: str, tmp_path: Path) -> None:
    endless = tmp_path / "celery"
    endless.mkdir()
    endless.joinpath("__init__.py").write_text("import time; print('loading', flush=True); time.sleep(60)")
    environ = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}
    environ |= SIMULATED_TWILIO | {
        "OPENAI_API_KEY": "k",
        "PUBLIC_URL": "https://a.example",
        "TWILIO_BASE_URL": "http://a",
        "PYTHONPATH": str(tmp_path),
    }
    with subprocess.Popen([SISTERS, command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        process.terminate()
        said, _ = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, b"")


def test_route_explains_with_no_environment_at_all() -> None:
    done = sisters("route", "Who knows about music?")
    assert done.returncode == 0
    assert "kasho" in done.stdout
    assert "music" in done.stdout


def test_a_batch_answers_line_by_line_and_says_at_the_end_that_one_could_not_be_read() -> None:
    lines = [
        '{"text": "who knows about comics?", "current": "botan"}',
        "not json",
        '{"text": "thanks!", "current": "yuri", "idle_s": 5}',
    ]
    done = sisters("route", "--batch", given="\n".join(lines) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer.get("character") for answer in answers] == ["yuri", None, "yuri"]
    assert "error" in answers[1]
    assert answers[2]["tier"] == "stay"
    assert done.returncode == 1


def test_a_line_that_is_no_utf_8_is_one_unreadable_line_whatever_the_terminal() -> None:
    lines = b'{"text": "\xff"}\n' + '{"text": "おすすめの小説は?"}\n'.encode()
    environment = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [SISTERS, "route", "--batch"], input=lines, env=environment, capture_output=True, timeout=60, check=False
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert "error" in first
    assert second["evidence"] == ['"小说" ~ yuri +5']
    assert done.returncode == 1


def test_migrate_says_what_it_did(empty_database_url: str) -> None:
    first = sisters("migrate", environment={"DATABASE_URL": empty_database_url})
    assert (first.returncode, "0001_" in first.stdout) == (0, True)
    second = sisters("migrate", environment={"DATABASE_URL": empty_database_url})
    assert (second.returncode, second.stdout) == (0, "nothing to apply\n")


def test_a_role_without_rights_is_a_wrong_configuration_told_in_one_line(
    empty_database_url: str, bot: Bot, powerless: dict[str, str]
) -> None:
    done = sisters("migrate", environment={"DATABASE_URL": make_conninfo(empty_database_url, **powerless)})
    [problem] = done.stderr.splitlines()
    assert problem.startswith("DATABASE_URL: the role powerless may not work at 127.0.0.1:")
    assert problem.endswith(" OWNER TO powerless")
    assert (done.returncode, done.stdout) == (2, "")
    restored = {"DATABASE_URL": make_conninfo(bot.database_url, **powerless), "REDIS_URL": bot.redis_url}
    for command in (["migrate"], ["audit"], ["timeline", "m1"], ["dead", "list"], ["forget", SOMEBODY]):
        done = sisters(*command, environment=restored)
        [problem] = done.stderr.splitlines()
        assert problem.startswith("DATABASE_URL: the role powerless may not work at 127.0.0.1:")
        assert (done.returncode, done.stdout) == (2, "")


def test_forget_erases_a_person_and_says_no_to_a_stranger(bot: Bot) -> None:
    bot.say("hello")
    environment = {"DATABASE_URL": bot.database_url, "REDIS_URL": bot.redis_url}
    assert sisters("forget", "+490000", environment=environment).returncode == 1
    assert sisters("forget", SOMEBODY, environment=environment).returncode == 0
    assert bot.rows("SELECT * FROM messages") == []


def test_a_database_that_is_away_is_waited_for_and_then_told() -> None:
    done = sisters("migrate", "--wait", "0.1", environment={"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"})
    waited, problem = done.stderr.splitlines()
    assert waited == "Postgres does not answer at 127.0.0.1:1/x (connection refused); waiting up to 0.1 s"
    assert (done.returncode, problem.partition(";")[0]) == (1, f"DATABASE_URL: {waited.partition(';')[0]}")


def test_a_wait_is_told_once() -> None:
    done = sisters("migrate", "--wait", "4", environment={"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"})
    assert done.stderr.count("waiting up to 4 s") == 1


@pytest.mark.parametrize("change", [{"password": "wrong-one"}, {"user": "nobody"}, {"dbname": "nowhere"}])
def test_a_user_whom_postgres_refuses_and_a_database_that_it_lacks_are_told_at_once(
    empty_database_url: str, change: dict[str, str]
) -> None:
    done = sisters("migrate", environment={"DATABASE_URL": make_conninfo(empty_database_url, **change)})
    assert done.returncode == 2
    said = "has no such database" if "dbname" in change else "refuses the user or the password"
    assert done.stderr.startswith(f"DATABASE_URL: Postgres {said} at ")
    assert "wrong-one" not in done.stderr


def test_a_command_on_an_empty_database_says_what_to_run(empty_database_url: str, redis_url: str) -> None:
    done = sisters("forget", "+49", environment={"DATABASE_URL": empty_database_url, "REDIS_URL": redis_url})
    assert (done.returncode, "run sisters migrate" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["webhook", "worker"])
def test_the_credentials_of_the_simulator_are_refused_without_one(command: str) -> None:
    done = sisters(command, environment=SIMULATED_TWILIO | {"REDIS_URL": "redis://127.0.0.1:1"})
    assert done.returncode == 2
    assert (
        "TWILIO_BASE_URL: missing, and TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are the published ones" in done.stderr
    )
