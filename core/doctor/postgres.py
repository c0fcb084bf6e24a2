"""Postgres: does it let us in, is it new enough and of this release's schema, and has it room for our connections."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from core.config import DatabaseSettings
from core.connection import CONNECT_TIMEOUT, connect, lacks_rights
from core.doctor.environment import is_here
from core.doctor.finding import Findings
from core.doctor.machine import weigh_clock
from core.errors import ConfigurationError, Unreachable
from core.keeping.upkeep import SILENT_AFTER
from core.store import Transaction, load_queries, migrations

AREA: Final = "postgres"
_OLDEST: Final = 15
_FREE_AT_LEAST: Final = 20
"""A worker keeps up to 18 connections, and operators and backups want some."""
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    version_num: int
    encrypted: bool
    places: int
    taken: int
    superuser: bool
    standby: bool
    encoding: str
    size_bytes: int
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    senders_resting: int
    workers_alive: int
    dead_letters: int


def check(settings: DatabaseSettings) -> Findings:
    """Returns what there is to say of the database, within about 15 s; writes nothing."""
    findings, queries = Findings(AREA), load_queries()
    bounded = {"connect_timeout": int(CONNECT_TIMEOUT.total_seconds()), "application_name": "sisters-doctor"}
    try:
        with connect(make_conninfo(settings.conninfo, **bounded), prepare_threshold=None) as connection:
            transaction = Transaction(connection, queries)
            transaction.run("doctor_bounds")
            facts = transaction.one(_Facts, "server_facts")
            assert facts is not None  # it is one row of facts
            _weigh_server(findings, facts, settings)
            _weigh_room(findings, facts)
            weigh_clock(findings, "clock", facts.now, "Postgres")
            _look_at_schema(findings, transaction)
    except ConfigurationError as error:
        _tell_wrong(findings, "login", error)
    except psycopg.errors.InsufficientPrivilege as error:
        _tell_wrong(findings, "rights", lacks_rights(error, settings.conninfo))
    except Unreachable as error:
        findings.broken("reachable", error.what, error.fix)
    except psycopg.OperationalError as error:
        findings.broken("reachable", f"Postgres broke off ({error.sqlstate or type(error).__name__})", "see its log")
    return findings


def _tell_wrong(findings: Findings, subject: str, error: ConfigurationError) -> None:
    for problem in error.problems:
        what, _, fix = problem.partition(": ")[2].partition("; ")
        findings.wrong(subject, what, fix)


def _weigh_server(findings: Findings, facts: _Facts, settings: DatabaseSettings) -> None:
    major, host = facts.version_num // 10_000, str(conninfo_to_dict(settings.conninfo).get("host") or "")
    if major < _OLDEST:
        findings.broken("version", f"Postgres {major} is too old", f"use {_OLDEST} or newer")
    else:
        findings.good("version", f"Postgres {major}")
    if facts.standby:
        findings.broken("role", "this is a standby: nothing can be written", "name the primary in DATABASE_URL")
    if facts.encoding != "UTF8":
        findings.broken(
            "encoding", f"{facts.encoding} cannot hold every text", "make the database with ENCODING 'UTF8'"
        )
    if facts.superuser and not is_here(host):
        findings.risky("user", "a superuser", "give the bot a user that owns its own database and nothing else")
    if facts.encrypted:
        findings.good("TLS", "the connection is encrypted")
    elif not is_here(host):
        findings.risky("TLS", "the connection to another host is not encrypted", "add ?sslmode=verify-full, or require")


def _weigh_room(findings: Findings, facts: _Facts) -> None:
    free = max(0, facts.places - facts.taken)
    if free < _FREE_AT_LEAST:
        findings.risky(
            "connections",
            f"{free} of {facts.places} are free; a worker keeps up to 18",
            "raise max_connections, or put PgBouncer in front and set DATABASE_POOLER=transaction",
        )
    else:
        findings.good("connections", f"{free} of {facts.places} are free; a worker keeps up to 18")
    findings.good("size", f"{facts.size_bytes / _MEGABYTE:,.0f} MB")


def _look_at_schema(findings: Findings, transaction: Transaction) -> None:
    ours = [path.stem for path in migrations()]
    try:
        applied = transaction.values("known_migrations")
    except psycopg.errors.UndefinedTable:
        findings.wrong("schema", "an empty database", "run sisters migrate")
        return
    if missing := [name for name in ours if name not in applied]:
        findings.wrong(
            "schema", f"{len(missing)} migrations are not applied, first {missing[0]}", "run sisters migrate"
        )
        return
    newer = len(set(applied) - set(ours))
    findings.good("schema", f"up to {ours[-1]}" + (f", and {newer} of a newer release" if newer else ""))
    rest = transaction.one(_Signs, "signs_of_life", silence=SILENT_AFTER)
    assert rest is not None  # it is one row of counts
    if rest.workers_alive:
        findings.good("workers", f"{rest.workers_alive} show signs of life")
    else:
        findings.risky("workers", "none shows signs of life: nothing is answered", "start sisters worker")
    if rest.dead_letters:
        findings.risky("dead letters", f"{rest.dead_letters} could not be read", "look at sisters dead list")
    if rest.senders_resting:
        findings.risky("sending", "our number rests: Twilio refused it", "see sisters_sender_pauses_total for the code")
