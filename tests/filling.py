"""Fills a database with talk, so that what grows has grown."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from deploy.local.stack import SIMULATED_TWILIO

_INDEXES: Final = """
SELECT coalesce('ALTER TABLE ' || i.indrelid::regclass || ' DROP CONSTRAINT ' || quote_ident(c.conname),
                'DROP INDEX ' || i.indexrelid::regclass),
       coalesce('ALTER TABLE ' || i.indrelid::regclass || ' ADD CONSTRAINT ' || quote_ident(c.conname) || ' '
                || pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid))
FROM pg_index i
JOIN pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'u'
WHERE t.relnamespace = 'public'::regnamespace AND NOT i.indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.conindid = i.indexrelid AND f.contype = 'f')
"""
"""How each index is dropped and made again; one that a foreign key rests on stays."""
_SQL: Final = Path(__file__).with_name("filling.sql")


def fill(database_url: str, *, people: int, turns: int, sessions: int = 1) -> None:
    """Adds so many people with so many turns each (two messages a turn), and counts everything anew.

    About 50 s for a million messages in one session; see `indexes_later`. As a superuser it leaves out the checks of
    foreign keys, which hold by the way in which the rows are made.
    """
    shares = [len(range(number, people, sessions)) for number in range(sessions)]
    with ThreadPoolExecutor(sessions) as pool:
        for adding in [pool.submit(_add, database_url, share, turns) for share in shares]:
            adding.result()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


@contextmanager
def indexes_later(database_url: str) -> Generator[None]:
    """What is filled within meets few indexes; the others are made at the end, which takes half as long.

    Only primary keys, and what foreign keys rest on, stay. An index that is made at once is packed tighter than one
    that grew, by up to a third, and reads faster by less.
    """
    with psycopg.connect(database_url) as connection:
        taken = connection.execute(_INDEXES).fetchall()
        for drop, _ in taken:
            connection.execute(drop)
    yield
    with ThreadPoolExecutor(2) as pool:
        for making in [pool.submit(_make, database_url, make) for _, make in taken]:
            making.result()


def _make(database_url: str, index: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
        connection.execute(index.encode())


def _add(database_url: str, people: int, turns: int) -> None:
    values = {
        "people": people,
        "turns": turns,
        "number": SIMULATED_TWILIO["TWILIO_WHATSAPP_NUMBER"],
        "character": load_cast(DEFAULT_PROMPTS).default.id,
    }
    with psycopg.connect(database_url) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_SQL.read_bytes(), values)
