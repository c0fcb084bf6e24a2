"""A bot on real services for the use cases."""

from collections.abc import Iterator

import pytest

from tests.fakes import Bot


@pytest.fixture
def bot(database_url: str, redis_url: str) -> Iterator[Bot]:
    bot = Bot(database_url, redis_url)
    yield bot
    bot.close()
