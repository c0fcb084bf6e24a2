"""Our own processes under one roof: started by name with a log file each, watched, and ended together."""

import signal
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.child import Child, StartFailed
from deploy.local.loopback import reachable

GRACE: Final = timedelta(seconds=60)
"""A worker may take LLM_TIMEOUT_S and 10 s to finish what it holds."""
_READY_WITHIN: Final = timedelta(seconds=60)


class Processes:
    """Named processes that run in one directory; all end with the `with` block, the last started ones last."""

    def __init__(self, *, directory: Path, logs: Path) -> None:
        self._directory: Final = directory
        self._logs: Final = logs
        self._children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop_all()

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def names(self) -> Sequence[str]:
        """Everything that was started and not stopped, in that order."""
        return list(self._children)

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Starts a process; under a name that was used before, its log goes on."""
        if name in self._children and self._children[name].running:
            raise StartFailed(f"{name} runs already")
        child = Child(command, log=self._logs / f"{name}.log", environ=environ, directory=self._directory)
        self._children[name] = child
        return child

    def wait_for(self, name: str, url: str, *, within: timedelta = _READY_WITHIN) -> None:
        """Returns once that URL answers 200.

        Raises: StartFailed.
        """
        self._children[name].wait_until(lambda: reachable(url), within=within, name=name)

    def run(self, name: str, command: Sequence[str], environ: Mapping[str, str], *, within: timedelta) -> None:
        """Runs a command to its end.

        Raises: StartFailed when it does not end with 0 in time.
        """
        child = self.start(name, command, environ)
        child.wait_until(lambda: not child.running, within=within, name=name)
        if child.exit_code != 0:
            raise StartFailed(f"{name} ended with exit code {child.exit_code}; {child.log} says:\n{child.tail()}")
        del self._children[name]

    def check(self) -> None:
        """Raises: StartFailed when a process has ended that nobody stopped."""
        for name, child in self._children.items():
            if not child.running:
                raise StartFailed(f"{name} ended with exit code {child.exit_code}; see {child.log}:\n{child.tail()}")

    def stop(self, name: str, *, by: signal.Signals = signal.SIGTERM, grace: timedelta = GRACE) -> int:
        """Ends one process and returns its exit code."""
        return self._children.pop(name).stop(by=by, grace=grace)

    def stop_all(self, grace: timedelta = GRACE) -> None:
        """Asks all to end at once, waits until they did, and kills what is left; a Ctrl-C meanwhile kills at once."""
        end = time.monotonic() + grace.total_seconds()
        try:
            for child in self._children.values():
                child.ask_to_end()
            for child in self._children.values():
                child.finish(grace=timedelta(seconds=end - time.monotonic()))
        finally:
            for child in self._children.values():
                child.kill()
            self._children.clear()
