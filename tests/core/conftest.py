"""A bot on real services for the use cases, and the simulator for what asks the outside."""

from collections.abc import Iterator

import pytest

from tests.core.simulated import Simulated, simulator
from tests.fakes import Bot


@pytest.fixture
def bot(database_url: str, redis_url: str) -> Iterator[Bot]:
    bot = Bot(database_url, redis_url)
    yield bot
    bot.close()


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
