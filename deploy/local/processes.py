"""Our own processes under one roof: started by name with a log file each, watched, and ended together."""

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.child import Child, StartFailed
from deploy.local.loopback import reachable

GRACE: Final = timedelta(seconds=60)
"""A worker may take LLM_TIMEOUT_S and 10 s to finish what it holds."""
_READY_WITHIN: Final = timedelta(seconds=60)
LIVES_AT_LEAST: Final = timedelta(seconds=10)
"""What ends sooner than this after its start would end again."""


@dataclass(frozen=True, slots=True)
class _Started:
    child: Child
    command: Sequence[str]
    environ: Mapping[str, str]
    at: float


class Processes:
    """Named processes that run in one directory; all end with the `with` block, the last started ones last."""

    def __init__(self, *, directory: Path, logs: Path) -> None:
        self._directory: Final = directory
        self.logs: Final = logs
        self._started: dict[str, _Started] = {}

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop_all()

    def __getitem__(self, name: str) -> Child:
        return self._started[name].child

    def names(self) -> Sequence[str]:
        """Everything that was started and not stopped, in that order."""
        return list(self._started)

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Starts a process; under a name that was used before, its log goes on."""
        if name in self._started and self[name].running:
            raise StartFailed(f"{name} runs already")
        child = Child(command, log=self.logs / f"{name}.log", environ=environ, directory=self._directory)
        self._started[name] = _Started(child, command, environ, time.monotonic())
        return child

    def wait_for(self, name: str, url: str, *, within: timedelta = _READY_WITHIN) -> None:
        """Returns once that URL answers 200.

        Raises: StartFailed.
        """
        self[name].wait_until(lambda: reachable(url), within=within, name=name)

    def run(self, name: str, command: Sequence[str], environ: Mapping[str, str], *, within: timedelta) -> None:
        """Runs a command to its end.

        Raises: StartFailed when it does not end with 0 in time.
        """
        child = self.start(name, command, environ)
        child.wait_until(lambda: not child.running, within=within, name=name)
        if child.exit_code != 0:
            raise StartFailed(f"{name} ended with exit code {child.exit_code}; {child.log} says:\n{child.tail()}")
        del self._started[name]

    def check(self) -> None:
        """Raises: StartFailed when a process has ended that nobody stopped."""
        for name, _ in self._ended():
            raise self._failure(name)

    def revive(self, *, lived: timedelta = LIVES_AT_LEAST) -> Sequence[tuple[str, int]]:
        """Starts again what has ended and was not stopped; returns the names with their exit codes.

        Raises: StartFailed for what had not even lived so long.
        """
        revived = list(self._ended())
        for name, _ in revived:
            ended = self._started[name]
            if time.monotonic() - ended.at < lived.total_seconds():
                raise self._failure(name)
            self.start(name, ended.command, ended.environ)
        return revived

    def _ended(self) -> Iterator[tuple[str, int]]:
        for name, started in self._started.items():
            if (code := started.child.exit_code) is not None:
                yield name, code

    def _failure(self, name: str) -> StartFailed:
        child = self[name]
        return StartFailed(f"{name} ended with exit code {child.exit_code}; see {child.log}:\n{child.tail()}")

    def stop(self, name: str, *, by: signal.Signals = signal.SIGTERM, grace: timedelta = GRACE) -> int:
        """Ends one process and returns its exit code."""
        return self._started.pop(name).child.stop(by=by, grace=grace)

    def stop_all(self, grace: timedelta = GRACE) -> None:
        """Asks all to end at once, waits until they did, and kills what is left; a Ctrl-C meanwhile kills at once."""
        end = time.monotonic() + grace.total_seconds()
        children = [started.child for started in self._started.values()]
        try:
            for child in children:
                child.ask_to_end()
            for child in children:
                child.finish(grace=timedelta(seconds=end - time.monotonic()))
        finally:
            for child in children:
                child.kill()
            self._started.clear()
