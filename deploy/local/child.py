"""Child processes that never outlive us: how each is started, waited for and ended, by pid and process group only."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

_LAUNCH: Final = str(Path(__file__).with_name("launch.py"))
_PORTS: Final = range(20000, 30000)
"""Below the ports that Linux and macOS give to outgoing connections: such a one could hold the port of a server that is
just restarting, and a client on loopback can even connect to itself there."""
_REMEMBERED_PORTS: Final = 1000
_given: Final = deque[int](maxlen=_REMEMBERED_PORTS)
"""Their servers may be yet to start."""
_LOG_LINES_SHOWN: Final = 12


class StartFailed(Exception):
    """A process did not come up. The message says what to do or ends with the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A Unix account to run a process as."""

    uid: int
    gid: int


class Child:
    """One process in a session of its own, so that Ctrl-C in the terminal reaches only us and we end it in order.

    It gets SIGTERM when the thread that started it ends (Linux): start long-lived ones in the main thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
        account: Account | None = None,
    ) -> None:
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        launch = [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(uid), str(gid), *command]
        self.log: Final = log
        with log.open("ab") as output:
            self._process: Final = subprocess.Popen(  # noqa: S603 - commands are ours
                launch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def ask_to_end(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Returns at once."""
        self.send(by)

    def send(self, what: signal.Signals) -> None:
        """Sends the signal, unless it has ended."""
        if self.running:
            self._process.send_signal(what)

    def finish(self, *, grace: timedelta) -> int:
        """Waits for its end, kills what is left of its group after `grace`, and returns its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, grace.total_seconds()))
        return self.kill()

    def stop(self, *, by: signal.Signals = signal.SIGTERM, grace: timedelta = timedelta(seconds=10)) -> int:
        """Asks it to end and waits for that, as above."""
        self.ask_to_end(by)
        return self.finish(grace=grace)

    def kill(self) -> int:
        """SIGKILL to its whole group; returns the exit code."""
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses where only zombies are left
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def wait_until(self, ready: Callable[[], bool], *, within: timedelta, name: str) -> None:
        """Returns once `ready()`, asked 20 times a second, says yes.

        Raises: StartFailed when the process ends first or the time is over.
        """
        end = time.monotonic() + within.total_seconds()
        while not ready():
            if not self.running:
                raise StartFailed(f"{name} ended with exit code {self.exit_code}; {self.log} ends with:\n{self.tail()}")
            if time.monotonic() > end:
                raise StartFailed(
                    f"{name} is not ready after {within.total_seconds():.0f} s; {self.log} ends with:\n{self.tail()}"
                )
            time.sleep(0.05)

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES_SHOWN:])


def is_free(port: int) -> bool:
    """Whether nobody listens on that port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a past connection in TIME_WAIT is nobody
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now, nor soon: the last thousand are not given again."""
    for port in random.sample(_PORTS, k=2 * _REMEMBERED_PORTS):
        if port not in _given and is_free(port):
            _given.append(port)
            return port
    raise StartFailed(f"no free port between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")
