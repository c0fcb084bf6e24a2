"""Migrations, named queries, and how Postgres's words become ours."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from core.config import DatabaseSettings, Environment
from core.errors import ConfigurationError, Transient
from core.store import SQL, CommandStore, Conflict, Store, load_queries, migrate
from tests.fakes import Bot

CODE = [path for folder in ("core", "worker") for path in Path(folder).rglob("*.py")]


def settings(url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"DATABASE_URL": url})


def test_every_migration_is_applied_once(empty_database_url: str) -> None:
    names = [path.stem for path in sorted((SQL / "migrations").glob("*.sql"))]
    assert list(migrate(settings(empty_database_url))) == names
    assert list(migrate(settings(empty_database_url))) == []


def test_two_that_migrate_at_once_do_no_harm(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [settings(empty_database_url)] * 4))
    assert sorted(map(len, applied)) == [0, 0, 0, len(list((SQL / "migrations").glob("*.sql")))]


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:4]) for path in sorted((SQL / "migrations").glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_postgres_understands_every_query(database_url: str) -> None:
    """PREPARE checks names and types against the schema without running anything."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, query in load_queries().items():
            if query.startswith((b"CREATE", b"SET", b"DO")):
                continue  # a utility statement cannot be prepared; the tests of its caller run it
            numbers: dict[str, int] = {}
            text = re.sub(
                r"%\((\w+)\)s", lambda found, n=numbers: f"${n.setdefault(found[1], len(n) + 1)}", query.decode()
            )
            try:
                connection.execute(f"PREPARE q_{name} AS {text}".encode())
            except psycopg.errors.IndeterminateDatatype:
                pytest.fail(f"{name}: a parameter needs a cast")


def test_every_query_has_a_caller_and_every_call_a_query() -> None:
    code = "\n".join(path.read_text() for path in CODE)
    called = set(re.findall(r'"([a-z_]+)"', code))
    assert [name for name in load_queries() if name not in called] == []


def test_no_sql_stands_in_python() -> None:
    statement = re.compile(r'"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER) ', re.IGNORECASE)
    assert [path.name for path in CODE if statement.search(path.read_text())] == []


def test_a_query_name_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    with pytest.raises(ValueError, match="one is taken"):
        load_queries(tmp_path)


def test_postgres_away_is_transient_and_says_no_more_than_a_code() -> None:
    store = Store(settings("postgresql://u:secret@127.0.0.1:1/x"), connections=1)
    store._pool.timeout = 0.2  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Transient) as caught, store.transaction():
        pass
    assert "secret" not in str(caught.value)
    store.close()


def test_a_unique_constraint_becomes_a_conflict_that_names_it(bot: Bot) -> None:
    with bot.store.transaction() as transaction:
        transaction.run("note_migration", name="9999_twice")
    with pytest.raises(Conflict) as caught, bot.store.transaction() as transaction:
        transaction.run("note_migration", name="9999_twice")
    assert caught.value.constraint == "schema_migrations_pkey"


def test_the_pool_recovers_when_its_connections_are_cut(bot: Bot) -> None:
    bot.say("one")
    bot.change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sisters'")
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
    bot.say("two")
    assert len(bot.channel.sent) == 2


ONLY_READS = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
WRITES_AGAIN = sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only")


def test_a_postgres_that_only_reads_is_away_and_no_connection_to_it_is_kept(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as operator:
        name = sql.Identifier(operator.info.dbname)
        operator.execute(ONLY_READS.format(name))  # for whoever connects from now on, as around a failover
        store = Store(settings(database_url), connections=1)
        for way in (store.alone, store.transaction, store.together):
            with pytest.raises(Transient, match=r"^postgres 25006$"), way() as statements:
                statements.run("note_migration", name="9999_never")
        operator.execute(WRITES_AGAIN.format(name))
    with suppress(Transient), store.alone() as statement:
        statement.run("note_migration", name="9998_perhaps")  # the pool may have connected just before
    with store.alone() as statement:
        assert statement.run("note_migration", name="9999_now") == 1
    store.close()


def test_a_postgres_that_only_reads_is_not_migrated_and_says_so(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as operator:
        operator.execute(ONLY_READS.format(sql.Identifier(operator.info.dbname)))
    with pytest.raises(Transient, match=r"^postgres 25006$"):
        migrate(settings(empty_database_url))


def test_a_transaction_that_postgres_gave_up_for_idleness_is_an_outage(database_url: str) -> None:
    store = Store(settings(database_url), connections=1)

    def idle() -> None:
        with store.transaction() as transaction:
            transaction._connection.execute("SET LOCAL idle_in_transaction_session_timeout = 20")  # pyright: ignore[reportPrivateUsage]
            time.sleep(0.2)
            transaction.values("known_migrations")

    with pytest.raises(Transient, match=r"^postgres 25P03$"):
        idle()
    with store.alone() as statement:
        assert statement.values("known_migrations")
    store.close()


def test_any_password_works(database_url: str) -> None:
    password = "p@ss!w#rd%/:"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS odd")
        connection.execute("CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'p@ss!w#rd%/:'")
        info = connection.info
        environment = Environment(
            {
                "POSTGRES_HOST": info.host,
                "POSTGRES_PORT": str(info.port),
                "POSTGRES_DB": info.dbname,
                "POSTGRES_USER": "odd",
                "POSTGRES_PASSWORD": password,
            }
        )
    read = environment.read(DatabaseSettings)
    environment.check()
    assert list(migrate(read)) == []
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE odd")


def test_a_command_whose_role_lacks_rights_ends_in_words_and_what_runs_meets_the_error_as_it_is(
    database_url: str, powerless: dict[str, str]
) -> None:
    url = settings(make_conninfo(database_url, **powerless))
    command, process = CommandStore(url), Store(url, connections=1)
    try:
        for way in (command.alone, command.transaction):
            with pytest.raises(ConfigurationError) as caught, way() as transaction:
                transaction.values("known_migrations")
            [problem] = caught.value.problems
            assert problem.startswith("DATABASE_URL: the role powerless may not work at 127.0.0.1:")
            assert "(permission denied for table schema_migrations); the tables are another role's" in problem
            assert "hush" not in problem
        with pytest.raises(psycopg.errors.InsufficientPrivilege), process.transaction() as transaction:
            transaction.values("known_migrations")
    finally:
        command.close()
        process.close()
