"""How a command ends whose service failed it on the way: one line that names the service, and the exit code."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from core.commands.exits import checked
from core.errors import NOT_MIGRATED, OutsideError, Permanent, Transient


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Transient("postgres", code="57P01"), 1, "Postgres broke off on the way (57P01); try again"),
        (Transient("redis_timeout"), 1, "Redis broke off on the way (redis_timeout); try again"),
        (Transient("connect"), 1, "Twilio does not answer at 127.0.0.1:1 (connect); try again"),
        (Permanent("auth", code="20003"), 2, "TWILIO_ACCOUNT_SID: Twilio refuses us (auth 20003); check it, and "),
        (Transient(NOT_MIGRATED), 2, "DATABASE_URL: the database lacks this release's schema; run sisters migrate"),
    ],
    ids=str,
)
def test_who_failed_a_command_is_named(error: OutsideError, code: int, line: str) -> None:
    @click.command()
    @checked
    def command() -> None:
        raise error

    done = CliRunner(env={"TWILIO_BASE_URL": "http://u:hush@127.0.0.1:1/"}).invoke(command)
    assert (done.exit_code, done.stdout) == (code, "")
    [told] = done.stderr.splitlines()
    assert told.startswith(line)


def test_in_the_journal_what_is_wrong_is_an_error_in_json_like_every_line():
    theirs, ours = socket.socketpair()
    with theirs, ours:
        found = os.fstat(ours.fileno())
        environment = {"PATH": os.environ["PATH"], "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        command = [str(Path(sys.executable).with_name("sisters")), "worker"]
        done = subprocess.run(
            command, env=environment, stderr=ours.fileno(), stdout=ours.fileno(), timeout=60, check=False
        )
        ours.close()
        lines = theirs.makefile(encoding="utf-8").read().splitlines()
    assert done.returncode == 2
    problems = [json.loads(line.removeprefix("<3>")) for line in lines if line.startswith("<3>")]
    assert len(problems) == len(lines)
    assert any(each["event"].startswith("DATABASE_URL: missing") for each in problems)
    assert {each["level"] for each in problems} == {"error"}
