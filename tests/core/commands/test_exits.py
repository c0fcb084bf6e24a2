"""How a command ends whose service failed it on the way: one line that names the service, and the exit code."""

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
