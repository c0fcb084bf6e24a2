"""Redis as it is, to look at what our adapters left there."""

from typing import Any

import redis


def raw_client(url: str) -> Any:
    return redis.Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]
