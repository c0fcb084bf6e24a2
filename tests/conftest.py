"""What tests share: a real Postgres and a real Redis of their own, and a plain word about tests that were left out."""

import itertools
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from core.config import DatabaseSettings
from core.store import migrate
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis

TEMPLATE = "migrated"
_LEFT_OUT = pytest.StashKey[list[tuple[str, list[str]]]]()
"""Names of tests, and the commands that each misses."""
_PACKAGES = {"ip": "iproute2", "promtool": "prometheus"}
"""Commands that are not called like their Debian packages."""
_skipped: list[str] = []


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One server for all tests, with a migrated template. Do not stop it: tests that stop a server start their own."""
    with Postgres(durable=False, log=tmp_path_factory.mktemp("postgres") / "postgres.log") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(DatabaseSettings.model_validate({"DATABASE_URL": server.database_url(TEMPLATE)}))
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One server for all tests. Do not stop it: tests that stop a server start their own."""
    with Redis(log=tmp_path_factory.mktemp("redis") / "redis.log") as server:
        yield server


_numbers = itertools.count(1)


@contextmanager
def database_on(server: Postgres, template: str) -> Generator[str]:
    """A copy of that database, dropped in the end."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        yield server.database_url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres_server: Postgres) -> Iterator[str]:
    """A migrated database of the test's own, without rows (about 20 ms)."""
    with database_on(postgres_server, TEMPLATE) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: Postgres) -> Iterator[str]:
    """A database of the test's own without any migration."""
    with database_on(postgres_server, "template1") as url:
        yield url


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis database of the test's own (numbers come round after 63 tests)."""
    url = redis_server.database_url(1 + next(_numbers) % 63)
    with redis.Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.flushdb()  # pyright: ignore[reportUnknownMemberType]
    return url


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when a test was skipped or left out")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = []


@pytest.hookimpl(trylast=True)  # after -k and -m: only what was asked for can be left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out `@pytest.mark.debian("command", ...)` where one of the commands is missing."""
    missing = {item: _missing_commands(item) for item in items}
    left_out = [item for item in items if missing[item]]
    config.stash[_LEFT_OUT] = [(item.name, missing[item]) for item in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not missing[item]]


def _missing_commands(item: pytest.Item) -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/lib/rabbitmq/bin"])
    commands = [str(command) for mark in item.iter_markers("debian") for command in mark.args]
    return [command for command in commands if not shutil.which(command, path=path)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left_out := config.stash[_LEFT_OUT]:
        needed = {_PACKAGES.get(command, command) for _, commands in left_out for command in commands}
        packages = " ".join(sorted(needed))
        names = ", ".join(name for name, _ in left_out)
        terminalreporter.write_line(f"left out for want of Debian packages (apt-get install {packages}): {names}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--no-skips") and (_skipped or session.config.stash[_LEFT_OUT]):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where a test's processes write."""
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory
