"""A connection to Postgres that is made now, or why there is none: in words for whoever sits at the terminal."""

import re
from datetime import timedelta
from itertools import cycle
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from core.addresses import host_and_port
from core.errors import ConfigurationError, Unreachable, reason_of

CONNECT_TIMEOUT: Final = timedelta(seconds=3)
"""Of each address: a second host, or a name that stands for two of them, may take as long again."""

_REFUSES_US: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \S+ (does not exist|is not permitted)"
    r"|no such user|auth failed",
    re.IGNORECASE,
)
"""Postgres and PgBouncer refuse a user. By its words: libpq gives no code for what happens while it connects."""
_NO_DATABASE: Final = re.compile(r"database .* does not exist|no such database", re.IGNORECASE)
_OF_SCHEMA: Final = re.compile(r"\bschema\b")
_BEFORE_THE_REASON: Final = re.compile(
    r"^(?:connection (?:failed|is bad): )?(?:connection to server (?:at|on socket) .*? failed: )?(?:FATAL:|ERROR:)?\s*"
)


def connect(conninfo: str, **how: Any) -> psycopg.Connection[Any]:
    """Returns a connection, within `connect_timeout` of the conninfo.

    Raises: Unreachable; ConfigurationError when Postgres refuses the user or the password, or lacks the database.
    """
    try:
        return psycopg.connect(conninfo, **how)
    except psycopg.OperationalError as error:
        raise why_not(error, conninfo) from None


def why_not(error: psycopg.OperationalError, conninfo: str) -> Unreachable | ConfigurationError:
    """Returns what an attempt to connect ended in: our configuration is wrong, or Postgres is away."""
    where, why = _place(conninfo), _reason(error)
    if _REFUSES_US.search(why):
        fix = "check it, or POSTGRES_USER and _PASSWORD"
        return ConfigurationError(
            [f"DATABASE_URL: Postgres refuses the user or the password at {where} ({why}); {fix}"]
        )
    if _NO_DATABASE.search(why):
        return ConfigurationError(
            [f"DATABASE_URL: Postgres has no such database at {where}; make it, or correct the name"]
        )
    return Unreachable(
        "postgres",
        variable="DATABASE_URL",
        what=f"Postgres does not answer at {where} ({why})",
        fix="is it running, and are host and port right?",
    )


def lacks_rights(error: psycopg.errors.InsufficientPrivilege, conninfo: str) -> ConfigurationError:
    """Returns why our role cannot work: a dump that another role restored, or a database that is not its own.

    For whoever waits at a terminal. What runs goes on trying, as with any error that it does not expect.
    """
    parts = _parts(conninfo)
    role, database = parts.get("user") or "", parts.get("dbname") or parts.get("user") or ""
    why = (error.diag.message_primary or "permission denied").replace("; ", ", ")
    fix = (
        f"as a superuser ALTER DATABASE {database} OWNER TO {role}"
        if _OF_SCHEMA.search(why)
        else f"the tables are another role's: REASSIGN OWNED BY their_owner TO {role}, or restore with --role={role}"
    )
    return ConfigurationError([f"DATABASE_URL: the role {role} may not work at {_place(conninfo)} ({why}); {fix}"])


def _parts(conninfo: str) -> dict[str, Any]:
    """What libpq takes, with its defaults."""
    parts: dict[str, Any] = {each.keyword.decode(): each.val.decode() for each in Conninfo.get_defaults() if each.val}
    return parts | conninfo_to_dict(conninfo)


def _place(conninfo: str) -> str:
    """Host, port and database as libpq takes them, without user and password."""
    parts = _parts(conninfo)
    hosts = str(parts.get("host") or parts.get("hostaddr") or "localhost").split(",")
    ports = str(parts.get("port") or "5432").split(",")
    database = parts.get("dbname") or parts.get("user") or ""
    return f"{','.join(map(host_and_port, hosts, cycle(ports)))}/{database}"


def _reason(error: psycopg.OperationalError) -> str:
    """The driver's reason alone, in one line: what comes before it repeats the address."""
    lines = str(error).strip().splitlines()
    return reason_of(error, _BEFORE_THE_REASON.sub("", lines[0]) if lines else "")
