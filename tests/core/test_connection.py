"""Why there is no connection to Postgres, as an operator is told it: where, the driver's reason, never the password."""

import socket
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from core.config import DatabaseSettings
from core.connection import CONNECT_TIMEOUT, connect
from core.errors import ConfigurationError, Transient, Unreachable
from core.store import POOL_TIMEOUT, CommandStore
from tests.fakes import Bot


def told(conninfo: str) -> str:
    with pytest.raises(Unreachable) as caught:
        connect(conninfo, connect_timeout=2)
    return caught.value.problem


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose server takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("conninfo", "where"),
    [
        ("postgresql://u:hush@127.0.0.1:1/d", "127.0.0.1:1/d (connection refused)"),
        ("postgresql://u:hush@[::1]:1/d", "[::1]:1/d (connection refused)"),
        ("postgresql://u:hush@127.0.0.1:1,127.0.0.1:2/d", "127.0.0.1:1,127.0.0.1:2/d (connection refused)"),
        ("host=127.0.0.1,127.0.0.1 port=1 user=u password=hush", "127.0.0.1:1,127.0.0.1:1/u (connection refused)"),
        ("host=/nowhere dbname=d user=u password=hush", "/nowhere:5432/d (no such file or directory)"),
        ("postgresql://u:hush@127.0.0.1:1/d?sslmode=bogus", '127.0.0.1:1/d (invalid sslmode value: "bogus")'),
    ],
)
def test_where_and_why_are_told_in_one_line_without_the_password(conninfo: str, where: str) -> None:
    line = told(conninfo)
    assert line.startswith(f"DATABASE_URL: Postgres does not answer at {where}; is it running")
    assert ("hush" in line, "\n" in line) == (False, False)


def test_what_the_environment_says_beside_the_url_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    assert "at 127.0.0.1:1/d (" in told("postgresql://u@127.0.0.1/d")


def test_a_server_that_takes_the_call_and_says_nothing_is_left_after_the_bound(silent: int) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        CommandStore(DatabaseSettings.model_validate({"DATABASE_URL": f"postgresql://u@127.0.0.1:{silent}/d"}))
    assert caught.value.what == f"Postgres does not answer at 127.0.0.1:{silent}/d (connection timeout expired)"
    assert CONNECT_TIMEOUT.total_seconds() <= time.monotonic() - started < POOL_TIMEOUT.total_seconds()


def test_a_refused_user_and_a_missing_database_are_wrong_configuration(empty_database_url: str) -> None:
    for change, said in (
        ({"password": "hush"}, "Postgres refuses the user or the password at 127.0.0.1:"),
        ({"user": "nobody"}, "Postgres refuses the user or the password at 127.0.0.1:"),
        ({"dbname": "nowhere"}, "Postgres has no such database at 127.0.0.1:"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            connect(make_conninfo(empty_database_url, **change))
        [problem] = caught.value.problems
        assert problem.startswith(f"DATABASE_URL: {said}")
        assert change.get("dbname", "(password authentication failed for user ") in problem
        assert "hush" not in problem


def test_a_command_whose_connection_was_ended_has_another_for_the_next_statement(bot: Bot) -> None:
    store = CommandStore(DatabaseSettings.model_validate({"DATABASE_URL": bot.database_url}))
    with psycopg.connect(bot.database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND application_name = 'sisters' AND datname = current_database()"
        )
    with pytest.raises(Transient), store.alone() as transaction:
        transaction.values("known_migrations")
    with store.alone() as transaction:
        assert transaction.values("known_migrations")
    store.close()


def test_what_a_command_does_in_a_transaction_is_done_whole_or_not_at_all(bot: Bot) -> None:
    store = CommandStore(DatabaseSettings.model_validate({"DATABASE_URL": bot.database_url}))

    def note_and_fail() -> None:
        with store.transaction() as transaction:
            transaction.run("note_migration", name="9999_half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        note_and_fail()
    with store.transaction() as transaction:
        assert "9999_half" not in transaction.values("known_migrations")
        transaction.run("note_migration", name="9999_whole")
    with store.alone() as transaction:
        assert "9999_whole" in transaction.values("known_migrations")
    store.close()
