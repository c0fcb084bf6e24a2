"""A bot on real services for the use cases, and the simulator for what asks the outside."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from deploy.local.postgres import Postgres
from tests.core.simulated import Simulated, simulator
from tests.fakes import Bot


@pytest.fixture
def bot(database_url: str, redis_url: str) -> Iterator[Bot]:
    bot = Bot(database_url, redis_url)
    yield bot
    bot.close()


@pytest.fixture
def powerless(postgres_server: Postgres) -> Iterator[dict[str, str]]:
    """A role that may connect and nothing else, as parts of a conninfo."""
    role = sql.Identifier("powerless")
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'hush'").format(role))
        yield {"user": "powerless", "password": "hush"}
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulated]:
    with simulator() as simulated:
        yield simulated


@pytest.fixture
def simulated(_simulator: Simulated) -> Simulated:
    """One simulator for all tests, without faults and messages."""
    _simulator.call("DELETE", "/simulator/state")
    _simulator.faults()
    return _simulator
