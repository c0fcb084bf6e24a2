"""Celery's broker out of the environment; apart from the worker's parts because the timer needs nothing else."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from core.addresses import Broker, broker
from core.config import Environment, RedisSettings

_SENTINEL_BOUND: Final = timedelta(seconds=1)


def broker_of(environ: Mapping[str, str]) -> Broker:
    """Returns Celery's broker. Raises: ConfigurationError."""
    environment = Environment(environ)
    redis = environment.read(RedisSettings)
    environment.check()
    return broker(redis.broker, bound=_SENTINEL_BOUND)
