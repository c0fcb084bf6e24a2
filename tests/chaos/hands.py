"""The hands that do what the plan says: they kill, freeze, restart, flush and cut."""

import os
import re
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import redis

from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import Stack
from tests.chaos.plan import Mishap

BEGINS_WITHIN = timedelta(seconds=180)
WORKS_FIRST = timedelta(seconds=3)
"""A worker may work so long before it is killed or frozen: where starting takes long, kills would else leave nobody."""
BEFALLS_WITHIN = timedelta(seconds=240)


class Hands:
    """What is done to one system, and what was done."""

    def __init__(self, stack: Stack, postgres: Postgres, redis_server: Redis, *, workers: int, diary: Path) -> None:
        """`diary` is a file that tells what was done when, beside the logs."""
        self._diary = diary
        self.stack = stack
        self.postgres = postgres
        self.redis = redis_server
        self.names = ["worker" if number == 1 else f"worker-{number}" for number in range(1, workers + 1)]
        self.done: list[str] = []
        self.failed: list[str] = []
        self.flushed_at: list[datetime] = []
        self._last = ""
        """The worker that it befell last: the others come first."""
        self._writing = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def befall(self, plan: Sequence[Mishap]) -> None:
        """Does everything that is planned, at its time; what lasts goes on beside the next. Returns after the last."""
        began = time.monotonic()
        for mishap in plan:
            time.sleep(max(0.0, began + mishap.at.total_seconds() - time.monotonic()))
            threading.Thread(target=self._do, args=(mishap,), daemon=True).start()
        while len(self.done) + len(self.failed) < len(plan):
            time.sleep(0.1)

    def wait_for_workers(self) -> None:
        """Returns once all of them work."""
        for name in self.names:
            child = self.stack.processes[name]
            child.wait_until(partial(self._has_begun, name), within=BEGINS_WITHIN, name=name)

    def start_worker(self, name: str) -> None:
        """Starts one worker."""
        self.stack.start_worker(name, concurrency=100)

    def _do(self, mishap: Mishap) -> None:
        """A process that was started here ends with this thread (its parent, to the kernel): so the thread stays."""
        try:
            self._act(mishap)
            self.done.append(mishap.action)
        except Exception as error:  # noqa: BLE001 - a mishap that could not be done makes the whole run worthless
            self.failed.append(f"{mishap.action}: {type(error).__name__} {error}")
        threading.Event().wait()

    def _act(self, mishap: Mishap) -> None:
        lasts_s = mishap.lasts.total_seconds()
        match mishap.action:
            case "kill worker":
                with self._working(mishap.pick) as name:
                    self._note(f"kill {name}")
                    self.stack.processes[name].kill()
                    self.start_worker(name)
            case "freeze worker":
                with self._once("freeze"), self._working(mishap.pick) as name:  # one at a time: others take over
                    self._freeze(name, lasts_s)
            case "kill beat":
                with self._once("beat"):
                    self._note(f"beat away for {lasts_s:.1f} s")
                    self.stack.processes["beat"].kill()
                    time.sleep(lasts_s)
                    self.stack.start_beat()
            case "restart redis" | "redis away":
                with self._once("redis"):
                    self._note(f"redis away for {lasts_s:.1f} s")
                    self.redis.kill()
                    time.sleep(lasts_s)
                    self.redis.start()
            case "flush redis":
                with self._once("redis"):
                    self._tell_redis("FLUSHALL")
                    self.flushed_at.append(datetime.now(UTC))
            case "cut redis connections":
                with self._once("redis"):
                    self._tell_redis("CLIENT KILL TYPE normal SKIPME yes")
            case "restart postgres" | "postgres away":
                with self._once("postgres"):
                    self._note(f"postgres away for {lasts_s:.1f} s")
                    self.postgres.kill()
                    time.sleep(lasts_s)
                    self.postgres.start()

    def _freeze(self, name: str, lasts_s: float) -> None:
        pid = self.stack.processes[name].pid
        self._note(f"freeze {name}, process {pid}, for {lasts_s:.1f} s")
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(lasts_s)
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def _working(self, pick: float) -> Generator[str]:
        """A worker that works, to oneself: to kill one that still starts would prove little."""
        first = int(pick * len(self.names))
        names = sorted([*self.names[first:], *self.names[:first]], key=lambda name: name == self._last)
        end = time.monotonic() + BEFALLS_WITHIN.total_seconds()
        while time.monotonic() < end:
            for name in names:
                lock = self._once(name)
                if lock.acquire(blocking=False):
                    try:
                        if self._has_begun(name, ago=WORKS_FIRST):
                            self._last = name
                            yield name
                            return
                    finally:
                        lock.release()
            time.sleep(0.2)
        raise TimeoutError("no worker works")

    def _has_begun(self, name: str, *, ago: timedelta = timedelta(0)) -> bool:
        child = self.stack.processes[name]
        begun = re.compile(rf'"event": "worker_started".*"timestamp": "([^"]+)".*"pid": {child.pid}\b')
        found = begun.search(child.log.read_text(encoding="utf-8", errors="replace"))
        return found is not None and datetime.now(UTC) - datetime.fromisoformat(found[1]) >= ago

    def _note(self, what: str) -> None:
        with self._writing, self._diary.open("a", encoding="utf-8") as diary:
            diary.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {what}\n")

    def _tell_redis(self, command: str) -> None:
        self._note(command)
        client: Any = redis.Redis.from_url(self.redis.url)  # pyright: ignore[reportUnknownMemberType]
        with client:
            client.execute_command(command)

    def _once(self, name: str) -> threading.Lock:
        """One thing at a time befalls one process."""
        return self._locks.setdefault(name, threading.Lock())
