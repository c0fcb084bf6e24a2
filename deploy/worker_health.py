"""Ends with 0 while the worker of this container shows signs of life in Postgres, with 1 when it does not.

With `--alive` also with 0 where Postgres does not answer, or not this question: then nothing is known of the worker,
and to start it again would not help.
"""

import os
import socket
import sys
from typing import Final

import psycopg

from core.config import DatabaseSettings, Environment

_ALIVE: Final = "SELECT count(*) FROM workers WHERE host = %s AND beat_at > now() - interval '30 seconds'"
"""A worker beats every 2 s. While Postgres is away no worker counts as healthy, and none can answer a message."""


def main() -> int:
    """Returns the exit code."""
    environment = Environment(os.environ)
    settings = environment.read(DatabaseSettings)
    environment.check()
    try:
        with psycopg.connect(settings.conninfo, connect_timeout=3, prepare_threshold=None) as connection:
            row = connection.execute(_ALIVE, (socket.gethostname(),)).fetchone()
    except psycopg.Error as error:
        print(f"no answer from Postgres ({type(error).__name__})")
        return 0 if "--alive" in sys.argv[1:] else 1
    return 0 if row and row[0] else 1


if __name__ == "__main__":
    sys.exit(main())
