"""Makes the parts of the operator's commands out of the environment; loads no client that a command does not need."""

from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Final

from core.adapters.redis_inbox import inboxes, knock, person_key
from core.config import DatabaseSettings, Environment, RedisSettings, TwilioSettings
from core.keeping.erasure import Eraser
from core.model import TWILIO
from core.operations.comparison import Comparer
from core.operations.dead_letters import DeadLetters
from core.store import CommandStore, Store

LOG_TIMEOUT: Final = timedelta(seconds=30)
"""For a page of 1,000 rows of the provider's log; nobody waits for an answer meanwhile."""


@contextmanager
def store_of(environ: Mapping[str, str]) -> Generator[Store]:
    """What reading commands need: Postgres alone. Raises: ConfigurationError, Unreachable."""
    environment = Environment(environ)
    database = environment.read(DatabaseSettings)
    environment.check()
    with closing(CommandStore(database)) as store:
        yield store


@contextmanager
def dead_letters(environ: Mapping[str, str], *, puts_back: bool) -> Generator[DeadLetters]:
    """What `sisters dead` needs: Postgres, and Redis where `puts_back`. Raises: ConfigurationError, Unreachable."""
    environment = Environment(environ)
    database, redis = environment.read(DatabaseSettings), environment.read(RedisSettings)
    environment.check()
    with closing(CommandStore(database)) as store, closing(inboxes(redis.url)) as box:
        if puts_back:
            knock(redis.url)
        yield DeadLetters(store=store, inboxes=box, person_key=person_key)


@contextmanager
def eraser(environ: Mapping[str, str]) -> Generator[Eraser]:
    """What `sisters forget` needs: Postgres and Redis alone. Raises: ConfigurationError, Unreachable."""
    environment = Environment(environ)
    database, redis = environment.read(DatabaseSettings), environment.read(RedisSettings)
    environment.check()
    with closing(CommandStore(database)) as store, closing(inboxes(redis.url)) as box:
        knock(redis.url)
        yield Eraser(store=store, inboxes=box)


@contextmanager
def comparer(environ: Mapping[str, str]) -> Generator[tuple[Store, Comparer]]:
    """What `sisters audit --against-provider` needs: Postgres, Redis and Twilio.

    Raises: ConfigurationError, Unreachable.
    """
    environment = Environment(environ)
    database, redis, twilio = (
        environment.read(DatabaseSettings),
        environment.read(RedisSettings),
        environment.read(TwilioSettings),
    )
    environment.check()
    from core.adapters.twilio import TwilioChannel  # half a second that no other command of an operator needs

    with (
        closing(CommandStore(database)) as store,
        closing(TwilioChannel(twilio, status_url="", connections=1, timeout=LOG_TIMEOUT)) as log,
        closing(inboxes(redis.url)) as box,
    ):
        knock(redis.url)
        yield store, Comparer(store=store, log=log, inboxes=box, channel=TWILIO, number=twilio.number)
