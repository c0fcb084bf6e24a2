"""Behind PgBouncer in transaction mode: every statement may run on another connection of the server."""

import os
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from core.config import DatabaseSettings
from core.store import SQL, migrate
from deploy.local.child import Child, free_port
from deploy.local.postgres import DATABASE, Postgres, unprivileged
from deploy.local.redis import Redis
from deploy.local.scratch import fresh_directory
from deploy.local.stack import Stack, local_environment
from tests.system.conftest import FROM_OUTSIDE
from tests.system.running import System

pytestmark = [pytest.mark.debian("pgbouncer"), pytest.mark.timeout(300)]

SERVER_CONNECTIONS = 3
"""Fewer than any process of ours opens: whoever kept something in a session would meet another's."""
PEOPLE = 12


@contextmanager
def pgbouncer(postgres: Postgres, log: Path) -> Generator[str]:
    """Yields the URL of the database behind it."""
    port, account = free_port(), unprivileged()
    directory = fresh_directory("pgbouncer", Path("/tmp"))
    password = postgres.url.partition("://sisters:")[2].partition("@")[0]
    server = f"host=127.0.0.1 port={postgres.port} user=sisters password={password}"
    settings = directory / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{DATABASE} = {server} dbname={DATABASE}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 300\n"
    )
    if account is not None:
        for path in (directory, settings):
            os.chown(path, account.uid, account.gid)
    program = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    assert program is not None
    url = f"postgresql://anybody@127.0.0.1:{port}/{DATABASE}"
    child = Child([program, str(settings)], log=log, account=account, directory=directory)

    def answers() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        child.wait_until(answers, within=timedelta(seconds=20), name="PgBouncer")
        yield url
    finally:
        child.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def own_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def postgres(own_logs: Path) -> Iterator[Postgres]:
    with Postgres(durable=False, log=own_logs / "postgres.log") as server:
        yield server


@pytest.fixture(scope="module")
def pooled_url(postgres: Postgres, own_logs: Path) -> Iterator[str]:
    """Migrated through it, by four at once; started anew, so that its connections have what the role has."""
    with pgbouncer(postgres, own_logs / "pgbouncer.log") as url, ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [settings_of(url)] * 4))
        assert sorted(map(len, applied)) == [0, 0, 0, len(list((SQL / "migrations").glob("*.sql")))]
    with pgbouncer(postgres, own_logs / "pgbouncer.log") as url:
        yield url


def settings_of(url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"DATABASE_URL": url, "DATABASE_POOLER": "transaction"})


def test_the_role_carries_the_timeouts(pooled_url: str) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with psycopg.connect(pooled_url) as connection:
        told = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
    assert told == [("10s",)] * 3


def test_the_whole_bot_answers_and_is_audited(postgres: Postgres, pooled_url: str, own_logs: Path) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith(FROM_OUTSIDE)}
    with ExitStack() as parts:
        redis = parts.enter_context(Redis(log=own_logs / "redis.log"))
        environ = local_environment(
            outside, database_url=pooled_url, redis_url=redis.url, webhook_port=free_port(), simulator_port=free_port()
        )
        stack = parts.enter_context(Stack(environ | {"DATABASE_POOLER": "transaction"}, logs=own_logs))
        stack.start(workers=2)
        system = System(stack=stack, postgres=postgres, redis=redis, logs=own_logs)
        system.wait_until(lambda: len(system.rows("SELECT id FROM workers")) == 2, within_s=120, what="two workers")
        people = [f"+1555090{number:04d}" for number in range(PEOPLE)]
        for count, text in enumerate(("hello", "and what about music?", "and a good book?"), start=1):
            for person in people:
                stack.phone.write(person, text)
            # Who writes again before being answered would be answered once for both.
            for person in people:
                system.wait_for_replies(person, count)
        code, told = stack.operate("audit")
        assert code == 0, told
        ours = system.rows("SELECT FROM pg_stat_activity WHERE application_name LIKE 'sisters%%'")
        assert 1 <= len(ours) <= SERVER_CONNECTIONS
    told_by_workers = "".join(log.read_text() for log in own_logs.glob("worker*.log"))
    for trouble in ("step_waits", "step_failed", "turn_crashed", "turn_interrupted", "prepared statement"):
        assert trouble not in told_by_workers
