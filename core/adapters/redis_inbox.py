"""Both sides of Redis: the door that fixes the order of messages, and the inboxes that workers empty.

`sisters:alias:<hash of an id>` names a person key for 30 days, `sisters:inbox:<person>` is a list of entries,
`sisters:waiting` sorts persons by since when nothing was taken out of their inbox (Redis's clock, ms),
`sisters:reports` is a list, `sisters:reports:reader` who empties it now. A person key is the hash of the first id that
a person was seen with: it settles the order at the door and nothing else; who a person is, Postgres decides. A wake-up
is pushed only onto an empty inbox: whoever empties one goes on until it is empty, and the sweep sees every inbox that
waits. The wake-up carries the person key as Lua resolved it (the message is cut where the key belongs), so that `read`
follows no alias.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection

from core.adapters.redis_calls import Calls, Script
from core.adapters.wakeups import QUEUE, REPORTS, WAKE, BrokerWakeups, Envelope
from core.addresses import Sentinels, place_of, sentinels_of
from core.errors import ConfigurationError, Transient, Unreachable, reason_of
from core.model import InboundMessage, StatusReport, dump_inbound, dump_report, person_key
from core.ports import Backlog, Forgotten, Inbox, Room

ALIAS_LIFE: Final = timedelta(days=30)
DOOR_THREADS: Final = 16
"""Threads of one webhook process; the pools are as large, so that nobody waits for a connection."""

READS_FOR: Final = timedelta(seconds=3)
"""How long one has the status reports for itself after a batch was read. A batch takes some 50 ms; where it takes
longer than this somebody else begins with the same, which does no harm."""

_DOOR_BOUND: Final = timedelta(seconds=0.3)
_WORKER_BOUND: Final = timedelta(seconds=5)
_KNOCK_BOUND: Final = timedelta(seconds=3)
_HANGS_AFTER: Final = 3
_PROBE_EVERY: Final = timedelta(seconds=0.5)

_ALIAS_LIFE_S: Final = int(ALIAS_LIFE.total_seconds())
_ACCEPT, _REPORT = Script("accept"), Script("report")
_REMOVE, _WAITING = Script("remove"), Script("waiting")
_READ_REPORTS, _REMOVE_REPORTS = Script("read_reports"), Script("remove_reports")
_FORGET, _PUT_BACK, _BACKLOG = Script("forget"), Script("put_back"), Script("backlog")

_BEFORE_THE_REASON: Final = re.compile(r"^Error -?\d+ (?:while )?connecting to \S+?\. ")
_AFTER_THE_REASON: Final = re.compile(r"\.$| : .*$", re.DOTALL)
"""redis-py names the address once more, and behind sentinels each of them with all that it knows of it."""

_NO_DATABASE: Final = re.compile(r"DB index|SELECT is not allowed")
"""Redis' answers to the number of a database that it lacks; in a cluster there is none but 0."""

_WRITES: Final = {"aof": "aof_last_write_status", "rdb": "rdb_last_bgsave_status"}

_Result = TypeVar("_Result")


def door(redis_url: str, broker_url: str, *, threads: int = DOOR_THREADS) -> "RedisDoor":
    """The webhook's side. Opens nothing yet, so it may be built before a fork.

    Raises: ConfigurationError.
    """
    client = _client(redis_url, bound=_DOOR_BOUND, connections=threads + 2)  # two more for /readyz
    wakeups = None if broker_url in ("", redis_url) else BrokerWakeups(broker_url, limit=threads)
    return RedisDoor(client, wakeups)


def inboxes(redis_url: str) -> "RedisInboxes":
    """The worker's side. Opens nothing yet.

    Raises: ConfigurationError.
    """
    return RedisInboxes(_client(redis_url, bound=_WORKER_BOUND, connections=None))


def knock(redis_url: str) -> None:
    """Returns when Redis answers, which takes 3 s at most: for a command that somebody waits for.

    Raises: Unreachable; ConfigurationError when it refuses the user or the password, or has no such database.
    """
    client, where = _client(redis_url, bound=_KNOCK_BOUND, connections=None), place_of(redis_url)
    try:
        client.ping()  # pyright: ignore[reportUnknownMemberType]
    except (AuthenticationError, NoPermissionError) as error:
        why = _reason(error)
        problem = f"REDIS_URL: Redis refuses the user or the password at {where} ({why}); check both in REDIS_URL"
        raise ConfigurationError([problem]) from None
    except RedisError as error:
        if isinstance(error, ResponseError) and _NO_DATABASE.search(str(error)):
            fix = "take a lower number at the end of REDIS_URL, 0 is always there (or raise `databases` in redis.conf)"
            raise ConfigurationError(
                [f"REDIS_URL: Redis has no such database at {where} ({_reason(error)}); {fix}"]
            ) from None
        raise Unreachable(
            "redis",
            variable="REDIS_URL",
            what=f"Redis does not answer at {where} ({_reason(error)})",
            fix="is it running, and are host and port right?",
        ) from None
    finally:
        client.close()


def _reason(error: RedisError) -> str:
    return reason_of(error, _AFTER_THE_REASON.sub("", _BEFORE_THE_REASON.sub("", str(error).strip())))


class RedisDoor:
    """Meets `core.ports.Door`. With `wakeups` None the broker is the same Redis and Lua pushes the wake-up itself."""

    def __init__(self, client: redis.Redis, wakeups: BrokerWakeups | None) -> None:
        self._client = client
        self._calls = Calls(client.connection_pool)
        self._wakeups = wakeups
        self._wake = Envelope(WAKE, person=True)
        self._wake_reports = Envelope(REPORTS, person=False)
        self._queue = "" if wakeups else QUEUE
        self._hanging = _Hanging()

    def accept(self, message: InboundMessage) -> None:
        """Appends the message to its person's inbox and wakes a worker: one round trip.

        Raises: Transient.
        """
        persons = [person_key(identity) for identity in message.person_ids]
        person, was_empty = self._bounded(
            _ACCEPT,
            dump_inbound(message),
            _ALIAS_LIFE_S,
            persons[0],
            self._queue,
            *self._wake.around_person(),
            keys=tuple(f"sisters:alias:{person}" for person in persons),
        )
        if self._wakeups and was_empty:
            self._wakeups.wake(WAKE, person.decode())

    def report(self, report: StatusReport) -> None:
        """Appends a status report and wakes a worker: one round trip.

        Raises: Transient.
        """
        was_empty = self._bounded(_REPORT, dump_report(report), self._queue, self._wake_reports.around_person()[0])
        if self._wakeups and was_empty:
            self._wakeups.wake(REPORTS)

    def ready(self) -> bool:
        """Whether Redis answers a PING within the bound."""
        try:
            return bool(self._client.ping())  # pyright: ignore[reportUnknownMemberType]
        except RedisError:
            return False

    def close(self) -> None:
        """Closes the connections that were opened."""
        self._calls.close()
        self._client.close()
        if self._wakeups:
            self._wakeups.close()

    def _bounded(self, script: Script, *args: str | bytes | int, keys: tuple[str, ...] = ()) -> Any:
        if self._hanging.now():
            raise Transient("redis_hangs", after=_PROBE_EVERY)
        try:
            result = self._calls.run(script, keys=keys, args=args)
        except RedisTimeoutError:
            self._hanging.timed_out()
            raise Transient("redis_timeout") from None
        except RedisError as error:
            raise Transient("redis", code=type(error).__name__) from None
        self._hanging.answered()
        return result


class _Hanging:
    """Remembers that Redis hangs, so that one request tries again while all others fail at once.

    Otherwise requests would queue for a thread while each thread waits out its timeout, and 503 would come late.
    Not locked: a race lets at most a few more requests try.
    """

    def __init__(self) -> None:
        self._timeouts = 0
        self._probe_at = 0.0

    def now(self) -> bool:
        if self._timeouts < _HANGS_AFTER:
            return False
        moment = time.monotonic()
        if moment < self._probe_at:
            return True
        self._probe_at = moment + _PROBE_EVERY.total_seconds()
        return False

    def timed_out(self) -> None:
        self._timeouts += 1
        self._probe_at = time.monotonic() + _PROBE_EVERY.total_seconds()

    def answered(self) -> None:
        self._timeouts = 0


class RedisInboxes:
    """Meets `core.ports.Inboxes`. Every method raises Transient when Redis does not answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._calls = Calls(client.connection_pool)

    def read(self, person: str, *, limit: int) -> Inbox:
        """Returns the oldest entries of that person key's inbox; removes nothing. Unknown: an empty inbox."""
        entries: list[Any] = _transient(lambda: self._calls.command("LRANGE", f"sisters:inbox:{person}", 0, limit - 1))
        return Inbox(person=person, entries=tuple(entries))

    def remove(self, inbox: Inbox) -> int:
        """Removes exactly these entries and returns how many still wait, whose waiting begins anew."""
        return int(_transient(lambda: self._calls.run(_REMOVE, args=(inbox.person, *inbox.entries))))

    def waiting(self, *, older_than: timedelta, limit: int) -> Sequence[str]:
        """Returns the person keys whose inbox has waited longer, longest first, by Redis's clock."""
        ms = int(older_than / timedelta(milliseconds=1))
        found: list[bytes] = _transient(lambda: self._calls.run(_WAITING, args=(ms, limit)))
        return [person.decode() for person in found]

    def backlog(self) -> Backlog:
        """Returns how much waits, by Redis's clock."""
        waiting, oldest_ms, reports = _transient(lambda: self._calls.run(_BACKLOG))
        return Backlog(inboxes=int(waiting), oldest=timedelta(milliseconds=int(oldest_ms)), reports=int(reports))

    def read_reports(self, *, reader: str, limit: int) -> tuple[bytes, ...]:
        """Returns the oldest status reports, none while another reader has them; removes nothing.

        A reader who neither reads on nor removes the last one has them for `READS_FOR`.
        """
        ms = int(READS_FOR / timedelta(milliseconds=1))
        entries: list[Any] = _transient(lambda: self._calls.run(_READ_REPORTS, args=(reader, limit, ms)))
        return tuple(entries)

    def remove_reports(self, entries: Sequence[bytes], *, reader: str) -> int:
        """Removes those of these reports that are still there, and returns how many wait."""
        return int(_transient(lambda: self._calls.run(_REMOVE_REPORTS, args=(reader, *entries))))

    def put_back(self, person: str, entry: bytes) -> None:
        """Appends an entry to the inbox of that person key. Wakes nobody: the sweep sees every inbox that waits."""
        _transient(lambda: self._calls.run(_PUT_BACK, args=(person, entry)))

    def put_back_report(self, entry: bytes) -> None:
        """Appends an entry to the list of status reports, which every worker reads each second."""
        _transient(lambda: self._calls.command("RPUSH", "sisters:reports", entry))

    def forget(self, ids: Sequence[str]) -> Forgotten:
        """Erases the inboxes and aliases of a person named by these ids (addresses); returns what they were."""
        keys = [person_key(identity) for identity in ids]
        aliases = tuple(f"sisters:alias:{key}" for key in keys)
        persons, entries = _transient(lambda: self._calls.run(_FORGET, keys=aliases, args=tuple(keys)))
        return Forgotten(persons=sorted({person.decode() for person in persons}), entries=entries)

    def server(self) -> tuple[Mapping[str, Any], datetime]:
        """Returns what the server says of itself (INFO: managed ones close CONFIG, not this), and its time."""
        client: Any = self._client  # its own types leave both partly unknown
        facts: Mapping[str, Any] = _transient(client.info)
        seconds, microseconds = _transient(client.time)
        return facts, datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))

    def room(self) -> Room | None:
        """Returns how full the server is and whether it can write to its disk; None: it does not let us ask."""
        client: Any = self._client
        try:
            facts: Mapping[str, Any] = client.info("memory") | client.info("persistence")  # both at once: Redis 7
        except ResponseError:  # an account without this right, or a server without the command
            return None
        except RedisError as error:
            raise Transient("redis", code=type(error).__name__) from None
        return Room(
            used_bytes=int(facts.get("used_memory", 0)),
            most_bytes=int(facts.get("maxmemory", 0)),
            unwritten=[what for what, name in _WRITES.items() if str(facts.get(name, "ok")) != "ok"],
        )

    def close(self) -> None:
        """Closes the connections that were opened."""
        self._calls.close()
        self._client.close()


def _transient(call: Callable[[], _Result]) -> _Result:
    try:
        return call()
    except RedisError as error:
        raise Transient("redis", code=type(error).__name__) from None


def _client(url: str, *, bound: timedelta, connections: int | None) -> redis.Redis:
    how: dict[str, Any] = {
        "max_connections": connections,
        "socket_timeout": bound.total_seconds(),
        "socket_connect_timeout": bound.total_seconds(),
        "health_check_interval": 15,
        # A connection that Redis closed is worth one more try; a timeout is not: the bound is on the whole call.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        "protocol": 2,  # no HELLO and no notifications: fewer round trips before the first command
        "driver_info": None,
    }
    try:
        if sentinels := sentinels_of(url):
            return redis.Redis(connection_pool=_master_pool(sentinels, how, bound=bound))
        pool = ConnectionPool.from_url(url, **how)  # pyright: ignore[reportUnknownMemberType]
    except ValueError:  # its message may repeat a part of the password
        raise ConfigurationError(
            ["REDIS_URL: not a URL that redis-py can read; percent-encode special characters in the password"]
        ) from None
    pool.connection_class = _BOUNDED.get(pool.connection_class, pool.connection_class)
    return redis.Redis(connection_pool=pool)


def _master_pool(sentinels: Sentinels, how: dict[str, Any], *, bound: timedelta) -> SentinelConnectionPool:
    """Connections to whichever Redis the sentinels call the master; one that was demoted is left at its first refusal.

    A sentinel that does not answer costs a new connection a third of the bound: whoever answered is asked first next.
    """
    manager = Sentinel([])
    manager.sentinels = [
        _client(f"redis://{f'[{host}]' if ':' in host else host}:{port}", bound=bound / 3, connections=None)
        for host, port in sentinels.hosts
    ]
    if sentinels.sentinel_password:
        for asked in manager.sentinels:
            asked.connection_pool.connection_kwargs["password"] = sentinels.sentinel_password
    account = {"username": sentinels.username or None, "password": sentinels.password or None}
    return SentinelConnectionPool(
        sentinels.master, manager, connection_class=_BoundedMaster, db=sentinels.database, **account, **how
    )


class _BoundedName(Connection):
    """A name server that does not answer would hold a request for many seconds: here it has the connect timeout."""

    def _connect(self) -> socket.socket:
        lookup: Future[None] = Future()

        def look_up() -> None:
            try:
                socket.getaddrinfo(self.host, self.port)
            except OSError as error:
                lookup.set_exception(error)
            else:
                lookup.set_result(None)

        # A thread each (connections are kept, so there are few): a pool's threads would be missing after a fork.
        threading.Thread(target=look_up, name="redis-name", daemon=True).start()
        lookup.result(timeout=self.socket_connect_timeout)
        return super()._connect()


class _BoundedNameTls(_BoundedName, SSLConnection):  # pyright: ignore[reportIncompatibleMethodOverride]
    """The same under TLS."""


class _BoundedMaster(_BoundedName, SentinelManagedConnection):
    """The same for the master of sentinels, who may tell a name.

    redis-py 8.1 keeps such a connection after a timeout, as it keeps no other: a master that froze would be asked for
    ever, and its late answer taken for that to the next command.
    """

    def read_response(self, *args: Any, **how: Any) -> Any:
        read: Callable[..., Any] = super().read_response
        return read(*args, **{"disconnect_on_error": True, **how})


_BOUNDED: Final[dict[type, type]] = {Connection: _BoundedName, SSLConnection: _BoundedNameTls}
