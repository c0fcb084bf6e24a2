"""Fills a database with talk, so that what grows has grown."""

from pathlib import Path
from typing import Final

import psycopg

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from deploy.local.stack import SIMULATED_TWILIO

_SQL: Final = Path(__file__).with_name("filling.sql")


def fill(database_url: str, *, people: int, turns: int) -> None:
    """Adds so many people with so many turns each (two messages a turn), and counts everything anew.

    About 20 s for a million messages. As a superuser it leaves out the checks of foreign keys, which hold by the way in
    which the rows are made.
    """
    values = {
        "people": people,
        "turns": turns,
        "number": SIMULATED_TWILIO["TWILIO_WHATSAPP_NUMBER"],
        "character": load_cast(DEFAULT_PROMPTS).default.id,
    }
    with psycopg.connect(database_url) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_SQL.read_bytes(), values)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
