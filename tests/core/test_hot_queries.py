"""What runs for each message or each second finds its rows by index, however much was said before."""

import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from core.store import SQL, load_queries
from deploy.local.postgres import Postgres
from tests.conftest import TEMPLATE, database_on
from tests.fakes import Bot
from tests.filling import fill

GROWS = ("people", "identities", "conversations", "turns", "messages", "deliveries", "reports", "former_ids", "erased")
HOT_FILES = ("intake", "turn", "outbox", "people", "limits", "metrics", "worker", "catchup", "retention")
RARE = {
    "people_called": "an operator's command",
    "drop_dead_letter": "an operator's command",
}
PEOPLE, TURNS = 4000, 3
LONG = 5000
ROUNDS = 6
"""Turns of one conversation beside the others."""
ROWS_AT_MOST = 300
"""Of one table, read for one turn; the long conversation has 83 turns a day, read for two limits."""
PERSON = "whatsapp:+1556000000007"
NOW = datetime.now(UTC)
VALUES: Mapping[str, Any] = {
    "accepted_at": NOW, "account": "", "address": PERSON, "at_once": False, "attachments": [None], "attempts": 1,
    "bodies": ["text"], "budget": 1, "burst": timedelta(0), "but": [9], "channel": "twilio", "channels": ["twilio"],
    "character": None, "characters": ["x"], "code": "", "command": None, "commands": [None], "conversation_id": 7,
    "cost_usd": 0, "cut": False, "deadline": timedelta(minutes=2), "decision": Jsonb({}), "delete_asked": False,
    "delivery_id": 7, "delivery_ids": [7], "despite_waiting": False, "error_code": "", "error_codes": [""],
    "every": timedelta(seconds=1), "external": "",
    "failure": "", "fence": 1, "free_at": NOW, "good_for": timedelta(seconds=1), "grace": timedelta(seconds=5),
    "hashes": [b""], "history": 20,
    "host": "", "id": 7, "in_log": timedelta(hours=26), "keep": timedelta(days=30), "kind": "address",
    "kinds": ["address"], "language": None, "last_message_at": NOW, "late": False, "lates": [False],
    "lease": timedelta(minutes=1), "limit": 50, "llm_ms": 1, "message_ids": [7], "moderation": None,
    "messages_per_minute": 60, "model": None, "name": PERSON, "names": [PERSON], "number": "x", "outcome": "answered",
    "parent": "", "pause": timedelta(seconds=1.5), "payload": b"", "person": "x", "person_id": 7, "persons": ["x"],
    "pid": 1, "profile_name": "", "prompt_characters": 1, "prompt_messages": 1, "provider": None, "provider_id": "SMx",
    "provider_ids": ["SMx"], "quoted_ids": [None], "rank": 3, "ranks": [3], "reason": "",
    "received_at": NOW, "received_ats": [NOW],
    "recipient": "x", "replies": [1], "read_until": NOW, "route_state": None, "running": [7], "seen": ["sent"],
    "sender": PERSON, "silence": timedelta(seconds=8), "since": NOW, "slot_at": NOW, "soon": timedelta(seconds=1),
    "source": "x", "state": "accepted", "status": "sent", "statuses": ["sent"],
    "text": "", "texts": ["text"], "tokens_in": 1,
    "tokens_out": 1, "tokens_per_day": 9, "traceparent": None, "traceparents": [None], "too_late": False, "turn_id": 7,
    "turns_per_day": 9, "value": PERSON, "values": [PERSON], "version": "", "wait": timedelta(seconds=1),
    "welcomed": False, "worker_id": uuid4(),
}  # fmt: skip
SPECIAL: Mapping[tuple[str, str], Any] = {
    ("store_answer", "limit"): "", ("store_answer", "silence"): "", ("take_in", "limit"): 1,
    ("store_answer", "failure"): "",
}  # fmt: skip


def hot_queries() -> list[str]:
    names = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
    files = [SQL / f"{name}.sql" for name in HOT_FILES if (SQL / f"{name}.sql").exists()]
    return [name for file in files for name in names.findall(file.read_text()) if name not in RARE]


@pytest.fixture(scope="module")
def filled_url(postgres_server: Postgres) -> Iterator[str]:
    """12,000 turns of 4,000 people, and 5,000 of one."""
    with database_on(postgres_server, TEMPLATE) as url:
        fill(url, people=PEOPLE, turns=TURNS)
        fill(url, people=1, turns=LONG)
        yield url


@pytest.fixture(scope="module")
def connection(filled_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled_url) as connection:
        yield connection


@pytest.mark.parametrize("name", hot_queries())
def test_no_hot_query_reads_a_whole_table_that_grows(connection: psycopg.Connection[Any], name: str) -> None:
    query = load_queries()[name]
    if not re.match(rb"(?i)\s*(--.*\n\s*)*(with|select|insert|update|delete)", query):
        return  # takes a lock, or sets something
    wanted = set(re.findall(r"%\((\w+)\)s", query.decode()))
    params = {param: SPECIAL[name, param] if (name, param) in SPECIAL else VALUES[param] for param in wanted}
    plan = connection.execute(b"EXPLAIN " + query, params).fetchall()
    connection.rollback()
    told = "\n".join(line for (line,) in plan)
    read_whole = [table for table in GROWS if re.search(rf"Seq Scan on {table}\b", told)]
    assert not read_whole, told


def rows_read(url: str) -> dict[str, tuple[int, int]]:
    """For each table: rows read by going through it, and rows fetched by index. Counted when a session ends."""
    query = "SELECT relname, seq_tup_read, coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
    with psycopg.connect(url) as connection:
        return {name: (whole, by_index) for name, whole, by_index in connection.execute(query)}


@pytest.mark.parametrize(("whose", "number"), [("min", 1), ("max", 2)])
def test_a_turn_reads_few_rows_however_long_the_conversation_is(
    filled_url: str, redis_url: str, whose: str, number: int
) -> None:
    """The first conversation is short, the last one long; the last turn of a round is asked why she answers."""
    bot = Bot(
        filled_url, redis_url, PERSON_MESSAGES_PER_MINUTE=60, PERSON_TURNS_PER_DAY=1000, PERSON_TOKENS_PER_DAY=10**9
    )
    bot.channel.ids = itertools.count(number * 1000)
    query = f"SELECT sender FROM conversations WHERE id = (SELECT {whose}(id) FROM conversations WHERE id <= %(known)s)"
    (row,) = bot.rows(query, known=PEOPLE + 1)

    def talk(count: int) -> None:
        text = "why you?" if count == ROUNDS else f"and what do you think of song {count}?"
        bot.say(text, sender=row["sender"], provider_id=f"SMnew{number}{count}")
        bot.report("delivered", provider_id=bot.channel.log[0].provider_id)
        bot.outbox.due(50)
        bot.turns.claim(1)
        bot.turns.release_unrun()
        bot.upkeep.beat()
        bot.time_passes(5)
        bot.upkeep.release_lost()

    talk(0)
    before = rows_read(filled_url)
    for count in range(1, ROUNDS + 1):
        talk(count)
    answered = len(bot.channel.sent)
    bot.close()
    after = rows_read(filled_url)
    grown = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in GROWS}
    assert answered == ROUNDS + 1
    assert all(whole == 0 for whole, _ in grown.values()), grown
    assert all(by_index <= ROUNDS * ROWS_AT_MOST for _, by_index in grown.values()), grown
    assert grown["messages"][1] > 0  # it was counted at all


def looked_at(node: Mapping[str, Any]) -> float:
    """Rows that a plan brought and those that it dropped, in all its nodes and loops."""
    own = sum(count for name, count in node.items() if name == "Actual Rows" or name.startswith("Rows Removed by"))
    return own * node["Actual Loops"] + sum(looked_at(below) for below in node.get("Plans", ()))


@pytest.fixture(scope="module", params=["statistics of a good hour", "statistics of the backlog"])
def backlog(postgres_server: Postgres, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """2,000 conversations in which two pieces wait, the last with 3,000 turns before."""
    with database_on(postgres_server, TEMPLATE) as url:
        fill(url, people=1999, turns=2)
        fill(url, people=1, turns=3000)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER TABLE deliveries SET (autovacuum_enabled = off)")
            connection.execute("""
                INSERT INTO deliveries (
                    conversation_id, turn_id, piece, channel, sender, recipient, body, next_attempt_at)
                SELECT newest.conversation_id, newest.id, 10 + piece, 'twilio', 'x', 'y', 'text', now()
                FROM generate_series(1, 2) piece,
                     (SELECT conversation_id, max(id) AS id FROM turns GROUP BY conversation_id) newest
                ORDER BY piece, newest.id""")
            if request.param == "statistics of the backlog":
                connection.execute("ANALYZE")
            yield connection


def looked_at_for(connection: psycopg.Connection[Any], name: str, **params: object) -> float:
    with connection.transaction(force_rollback=True):
        explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load_queries()[name]
        ((plans,),) = connection.execute(
            explain, {"pause": timedelta(seconds=1.5), "good_for": timedelta(seconds=1)} | params
        ).fetchall()
    return looked_at(plans[0]["Plan"])


@pytest.mark.parametrize("whose", ["min", "max"])
def test_a_claim_looks_at_few_rows_however_many_wait_or_were_sent(backlog: psycopg.Connection[Any], whose: str) -> None:
    ((conversation_id,),) = backlog.execute(f"SELECT {whose}(id) FROM conversations".encode())
    params = {"conversation_id": conversation_id, "worker_id": uuid4()}
    assert looked_at_for(backlog, "claim_delivery", **params) < 20


def test_finding_what_is_due_looks_at_few_rows_for_each(backlog: psycopg.Connection[Any]) -> None:
    assert looked_at_for(backlog, "due_conversations", limit=50) < 50 * 12
    with backlog.transaction(force_rollback=True):
        backlog.execute(
            "INSERT INTO senders (channel, number, paused_until) VALUES ('twilio', 'x', now() + interval '1 hour')"
        )
        assert looked_at_for(backlog, "due_conversations", limit=50) < 4000 * 2  # each piece, and nothing besides
