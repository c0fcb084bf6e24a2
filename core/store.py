"""Postgres: a pool of connections, the named queries of core/sql/, and the migrations. No SQL stands in Python."""

import re
import select
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import RowFactory, class_row, scalar_row, tuple_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from core.config import DatabaseSettings
from core.connection import CONNECT_TIMEOUT, connect, lacks_rights
from core.errors import NOT_MIGRATED, Transient

SQL: Final = Path(__file__).parent / "sql"
STATEMENT_TIMEOUT: Final = timedelta(seconds=10)
POOL_TIMEOUT: Final = timedelta(seconds=10)
"""How long a thread waits for a free connection before the call counts as Transient."""

_LOST: Final = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.IdleInTransactionSessionTimeout)
"""Postgres is not the one that writes any more (after a failover), or gave up a connection of ours: an outage, though
psycopg has them among the server's inner errors. The connection is well and worth nothing."""

_Row = TypeVar("_Row")
_Result = TypeVar("_Result")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Conflict(Exception):
    """A constraint says that somebody else was first. `constraint` is its name in the schema."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


def load_queries(directory: Path = SQL) -> Mapping[str, bytes]:
    """Returns the statements of all .sql files by name. Bytes: psycopg takes them where it rejects built strings.

    Raises: ValueError when two statements bear the same name.
    """
    queries: dict[str, bytes] = {}
    for path in sorted(directory.glob("*.sql")):
        parts = _NAME.split(path.read_text(encoding="utf-8"))[1:]
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            if name in queries:
                raise ValueError(f"{path.name}: the name {name} is taken")
            lines = (line for line in body.splitlines() if not line.startswith("--"))
            queries[name] = "\n".join(lines).strip().rstrip(";").encode()
    return queries


class Transaction:
    """One open transaction. Statements are named by their `-- name:` in core/sql/."""

    def __init__(self, connection: psycopg.Connection[Any], queries: Mapping[str, bytes]) -> None:
        self._connection = connection
        self._queries = queries

    def run(self, name: str, /, **params: object) -> int:
        """Runs a statement; returns how many rows it touched."""
        return self._connection.execute(self._queries[name], params).rowcount

    def value(self, name: str, /, **params: object) -> Any:
        """Returns the first column of the first row, or None."""
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(self._queries[name], params).fetchone()

    def values(self, name: str, /, **params: object) -> list[Any]:
        """Returns the first column of every row."""
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(self._queries[name], params).fetchall()

    def one(self, row: type[_Row], name: str, /, **params: object) -> _Row | None:
        """Returns the first row as that class, whose fields bear the columns' names, or None."""
        with self._connection.cursor(row_factory=class_row(row)) as cursor:
            return cursor.execute(self._queries[name], params).fetchone()

    def all(self, row: type[_Row], name: str, /, **params: object) -> list[_Row]:
        """Returns every row as that class."""
        with self._connection.cursor(row_factory=class_row(row)) as cursor:
            return cursor.execute(self._queries[name], params).fetchall()


class Later(Generic[_Result]):
    """What a statement of a `Batch` brings, once the batch is over."""

    def __init__(self, cursor: psycopg.Cursor[Any], read: Callable[[psycopg.Cursor[Any]], _Result]) -> None:
        self._cursor = cursor
        self._read = read

    def get(self) -> _Result:
        """Returns it."""
        return self._read(self._cursor)


class Batch:
    """Statements that do not need each other's answers: sent together, and answered together."""

    def __init__(self, connection: psycopg.Connection[Any], queries: Mapping[str, bytes]) -> None:
        self._connection = connection
        self._queries = queries

    def run(self, name: str, /, **params: object) -> Later[int]:
        """Runs a statement; brings how many rows it touched."""
        return Later(self._execute(tuple_row, name, params), lambda cursor: cursor.rowcount)

    def one(self, row: type[_Row], name: str, /, **params: object) -> Later[_Row | None]:
        """Brings the first row as that class, or None."""
        return Later(self._execute(class_row(row), name, params), lambda cursor: cursor.fetchone())

    def all(self, row: type[_Row], name: str, /, **params: object) -> Later[list[_Row]]:
        """Brings every row as that class."""
        return Later(self._execute(class_row(row), name, params), lambda cursor: cursor.fetchall())

    def _execute(self, rows: RowFactory[Any], name: str, params: Mapping[str, object]) -> psycopg.Cursor[Any]:
        return self._connection.cursor(row_factory=rows).execute(self._queries[name], params)


class Store:
    """The pool of one process. Made after the fork; opens in the background, so an absent Postgres stops nothing."""

    def __init__(self, settings: DatabaseSettings, *, connections: int, read_only: bool = False) -> None:
        """`read_only`: Postgres refuses every write, whatever the role may do."""
        self._queries = load_queries()
        self._pool = ConnectionPool(
            _conninfo(settings),
            min_size=1,
            max_size=connections,
            timeout=POOL_TIMEOUT.total_seconds(),
            # A connection that only reads says so with each BEGIN, so there is one.
            kwargs={"prepare_threshold": None if settings.pooler else 5, "autocommit": not read_only},
            check=_check,
            configure=_only_read if read_only else None,
            reconnect_timeout=5.0,
            open=True,
            name="store",
        )

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """Commits on exit, rolls back on any exception.

        Raises: Transient when Postgres is away, too slow, only reads, or lacks this release's tables; Conflict when a
        unique constraint speaks; psycopg.Error where the values are to blame.
        A Transient at the commit leaves open whether it took place: every caller is safe to repeat.
        """
        with self._connection() as connection, connection.transaction():
            yield Transaction(connection, self._queries)

    @contextmanager
    def alone(self) -> Generator[Transaction]:
        """For one statement, which is a transaction by itself: one round trip where `transaction` takes three.

        Raises: as `transaction`.
        """
        with self._connection() as connection:
            yield Transaction(connection, self._queries)

    @contextmanager
    def together(self) -> Generator[Batch]:
        """For several statements in one transaction and one round trip. Their answers are there after the block.

        Each sees what was committed when its turn came, as in `transaction`. Postgres ends the transaction at the
        pipeline's end: there is no BEGIN and no COMMIT. Raises: as `transaction`.
        """
        with self._connection() as connection, connection.pipeline():
            yield Batch(connection, self._queries)

    @contextmanager
    def _connection(self) -> Generator[psycopg.Connection[Any]]:
        try:
            with self._taken() as connection:
                try:
                    yield connection
                except _LOST as error:
                    if connection.read_only:
                        raise  # by our own wish: whoever wrote is to blame
                    connection.close()  # or it would be kept for up to an hour, whoever writes by then
                    raise Transient("postgres", code=error.sqlstate or "") from None
        except psycopg.errors.UniqueViolation as error:
            raise Conflict(error.diag.constraint_name or "") from None
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise Transient(NOT_MIGRATED, code=error.sqlstate or "") from None
        except (PoolTimeout, PoolClosed) as error:
            raise Transient("postgres_pool", code=type(error).__name__) from None
        except psycopg.errors.ProgramLimitExceeded:
            raise  # psycopg has it among the outages, but it is one statement's values that are too much, every time
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # The server's message may repeat values: only its code goes on.
            raise Transient("postgres", code=error.sqlstate or type(error).__name__) from None

    def _taken(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return self._pool.connection()

    def close(self) -> None:
        """Closes all connections."""
        self._pool.close(timeout=2)


class CommandStore(Store):
    """The store of a command that is over in a moment: one connection, made at once, in one thread.

    An absent Postgres is told within CONNECT_TIMEOUT and with its reason, where a pool would try for POOL_TIMEOUT.
    Beside what a store's methods raise, its own raise ConfigurationError when our role lacks the right to a table.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        """Raises: Unreachable, ConfigurationError."""
        self._queries = load_queries()
        self._conninfo = _conninfo(settings)
        self._connection_kept = self._connect()

    @contextmanager
    def _taken(self) -> Generator[psycopg.Connection[Any]]:
        if self._connection_kept.closed:
            self._connection_kept = self._connect()
        try:
            yield self._connection_kept
        except psycopg.errors.InsufficientPrivilege as error:
            raise lacks_rights(error, self._conninfo) from None

    def _connect(self) -> psycopg.Connection[Any]:
        return connect(self._conninfo, prepare_threshold=None, autocommit=True)

    def close(self) -> None:
        """Closes it."""
        self._connection_kept.close()


def migrations() -> Sequence[Path]:
    """The numbered migrations of this release, in order; the name of one is its `stem`."""
    return sorted((SQL / "migrations").glob("*.sql"))


def _only_read(connection: psycopg.Connection[Any]) -> None:
    """Every transaction begins as READ ONLY: said with each, so that it holds behind PgBouncer as well."""
    connection.read_only = True


def _check(connection: psycopg.Connection[Any]) -> None:
    """Raises: psycopg.OperationalError where the server has closed the connection.

    A connection that is well has nothing to say while it is idle, so a look at its socket spares the question at each
    use (psycopg_pool's own check costs a round trip, a seventh of a turn's). Only where there is something to read is
    the server asked: it may be a notice. A host that vanished without a word is found by the statement, as by a check.
    """
    watched = select.poll()
    watched.register(connection.fileno(), select.POLLIN)
    if watched.poll(0):
        ConnectionPool.check_connection(connection)


def migrate(settings: DatabaseSettings) -> Sequence[str]:
    """Applies the migrations that the database lacks, in order and in one transaction; returns their names.

    Two that start at once do no harm: a lock that ends with the transaction lets one wait for the other.
    Raises: Transient when Postgres is away or only reads; ConfigurationError when it refuses the user or the password,
    lacks the database, or gives the role no right to it.
    """
    queries = load_queries()
    applied: list[str] = []
    conninfo = make_conninfo(
        settings.conninfo, connect_timeout=int(CONNECT_TIMEOUT.total_seconds()), application_name="sisters-migrate"
    )
    try:
        with connect(conninfo, prepare_threshold=None) as connection:
            transaction = Transaction(connection, queries)
            transaction.run("take_time_to_migrate")
            transaction.run("lock_migrations")
            transaction.run("keep_list_of_migrations")
            known = transaction.values("known_migrations")
            for path in migrations():
                if path.stem not in known:
                    connection.execute(path.read_bytes())
                    transaction.run("note_migration", name=path.stem)
                    applied.append(path.stem)
            if settings.pooler:
                transaction.run("keep_timeouts_with_role")
    except psycopg.errors.InsufficientPrivilege as error:
        raise lacks_rights(error, settings.conninfo) from None
    except (psycopg.OperationalError, *_LOST) as error:
        raise Transient("postgres", code=error.sqlstate or type(error).__name__) from None
    return applied


def _conninfo(settings: DatabaseSettings) -> str:
    """Adds our timeouts; PgBouncer refuses startup options, so behind it the role carries them (see `migrate`)."""
    timeouts: dict[str, Any] = {
        "connect_timeout": int(CONNECT_TIMEOUT.total_seconds()),
        "application_name": "sisters",
        # A host that vanishes says nothing: without these its connections would be held for a quarter of an hour.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    if not settings.pooler:
        limit = int(STATEMENT_TIMEOUT.total_seconds() * 1000)
        options = f"-c statement_timeout={limit} -c lock_timeout={limit} -c idle_in_transaction_session_timeout={limit}"
        timeouts["options"] = options
    return make_conninfo(settings.conninfo, **timeouts)
