"""What a message costs at Postgres: counted on the wire, so that nothing is added unnoticed."""

import psycopg
import pytest

from core.config import DatabaseSettings
from core.errors import Transient
from core.store import Store
from tests.core.counting import counting
from tests.fakes import Bot

WARM_UP = 7
"""After five times a statement is prepared on its connection, and the person has been known for long."""


@pytest.mark.parametrize("limit_per_minute", [0, 60])
def test_a_lone_message_takes_few_statements_and_fewer_round_trips(
    database_url: str, redis_url: str, limit_per_minute: int
) -> None:
    with counting(database_url) as (url, wire):
        bot = Bot(url, redis_url, PERSON_MESSAGES_PER_MINUTE=limit_per_minute)
        for _ in range(WARM_UP):
            bot.say("Who knows about music?")
            bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
        sent = len(bot.channel.sent)
        wire.reset()
        bot.say("And who sings?")
        told = (wire.statements, wire.round_trips)
        assert len(bot.channel.sent) == sent + 1
        bot.close()
    # Stored 2 in one round trip, read 2 in one round trip, answer stored 2 in one, claimed to send 1, accepted 1.
    assert told == ((8, 5) if limit_per_minute == 0 else (9, 6))


def store_of(url: str) -> Store:
    return Store(DatabaseSettings.model_validate({"DATABASE_URL": url}), connections=1)


def test_statements_together_are_one_transaction(database_url: str) -> None:
    store = store_of(database_url)
    batch_of_two = ("9998_first", None)
    with pytest.raises(psycopg.errors.NotNullViolation), store.together() as batch:
        [batch.run("note_migration", name=name) for name in batch_of_two]
    with store.alone() as statement:
        assert "9998_first" not in statement.values("known_migrations")
    with store.together() as batch:
        first = batch.run("note_migration", name="9998_first")
        second = batch.run("note_migration", name="9999_second")
    assert (first.get(), second.get()) == (1, 1)
    with store.alone() as statement:
        assert {"9998_first", "9999_second"} <= set(statement.values("known_migrations"))
    store.close()


def test_a_connection_that_the_server_closed_is_not_used_again(database_url: str) -> None:
    with counting(database_url) as (url, wire):
        store = store_of(url)
        with store.alone() as statement:
            statement.values("known_migrations")
        wire.reset()
        with store.alone() as statement:
            statement.values("known_migrations")
        assert wire.round_trips == 1  # nothing was asked to know that the connection is well
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sisters'")
        assert wire.closed.wait(20)
        with store.alone() as statement:
            assert statement.values("known_migrations")
        store.close()


def test_what_is_missing_together_is_told_as_ever(database_url: str) -> None:
    store = store_of(database_url)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("ALTER TABLE turns RENAME TO renamed")
    with pytest.raises(Transient, match="not_migrated"), store.together() as batch:
        batch.run("supersede", turn_id=1)
    with store.alone() as statement:
        assert statement.values("known_migrations")  # the connection is good for another
    store.close()
