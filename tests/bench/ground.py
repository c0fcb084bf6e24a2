"""Where systems are measured: servers and stand-in on one core, the measured process on the other."""

import itertools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, LiteralString, Self
from uuid import uuid4

import psycopg

from core.adapters.redis_inbox import RedisDoor, door
from core.config import DEFAULT_MODEL
from core.model import TWILIO, InboundMessage, StatusReport
from deploy.local.child import Child, free_port
from deploy.local.loopback import reachable
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import ROOT, SIMULATED_TWILIO
from tests.bench.bare import SCHEMA
from tests.bench.cores import MEASURED, OTHERS, pinned, usage
from tests.bench.guard import Guard, NotMeasured
from tests.bench.standin import ANSWER
from tests.bench.talk import inbound_text, person

KEPT_OF_THE_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TMPDIR")
SISTERS: Final = str(Path(sys.executable).with_name("sisters"))
_READY_WITHIN: Final = timedelta(seconds=180)
_HISTORY: Final = Path(__file__).with_name("history.sql")


class StandIn:
    """The running stand-in as a benchmark speaks to it; for one thread."""

    def __init__(self, child: Child, port: int) -> None:
        self.child: Final = child
        self.url: Final = f"http://127.0.0.1:{port}"
        self._line = HTTPConnection("127.0.0.1", port, timeout=30)

    def delay(self, **ms: float) -> None:
        """Sets how long answers take: chat, send, typing, moderation."""
        self._ask("PUT", "/delays", json.dumps(ms))

    def counts(self) -> dict[str, int]:
        """Requests and connections so far, by kind."""
        counts: dict[str, int] = self._ask("GET", "/counts")["counts"]
        return counts

    def sends(self, after: int, *, wait: bool = True) -> list[tuple[str, float, str]]:
        """What was sent beyond the first `after`; with `wait` it waits up to a second for it."""
        sends: list[tuple[str, float, str]] = self._ask("GET", f"/sends?after={after}&wait={wait:d}")["sends"]
        return sends

    def another(self) -> "StandIn":
        """A second line to it, for another thread."""
        return StandIn(self.child, int(self.url.rpartition(":")[2]))

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        self._line.request(method, path, body)
        return json.loads(self._line.getresponse().read())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a measured process did within a window."""

    seconds: float
    messages: int
    cpu_s: float
    counts: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def per_core(self) -> float:
        """Messages per second of CPU time."""
        return self.messages / self.cpu_s

    @property
    def cpu_ms(self) -> float:
        """User and system time per message."""
        return 1000 * self.cpu_s / self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Fresh servers, a stand-in, and the environment that leads to them."""

    environ: Mapping[str, str]
    postgres: Postgres
    redis: Redis
    standin: StandIn
    guard: Guard
    logs: Path

    @contextmanager
    def running(
        self, name: str, command: list[str], environ: Mapping[str, str], *, core: int = MEASURED
    ) -> Generator[Child]:
        """A process; the measured one is alone on its core."""
        with pinned(core):
            child = Child(command, log=self.logs / f"{name}.log", environ={**self.environ, **environ}, directory=ROOT)
        try:
            yield child
        finally:
            child.stop(grace=timedelta(seconds=20))

    @contextmanager
    def worker(self, concurrency: int, **more: str) -> Generator[Child]:
        """`sisters worker`, up and alone."""
        command = [SISTERS, "worker", "--concurrency", str(concurrency)]
        with self.running("worker", command, more) as child:
            child.wait_until(lambda: self.rows("SELECT FROM workers") == 1, within=_READY_WITHIN, name="worker")
            yield child

    def rows(self, query: LiteralString) -> int:
        """How many rows that query finds."""
        with psycopg.connect(self.postgres.url) as connection:
            return connection.execute(query).rowcount

    def wait_for_sends(self, child: Child, count: int) -> None:
        """Returns once the measured process has sent so many more."""
        end = self.standin.counts().get("send", 0) + count
        child.wait_until(
            lambda: self.standin.counts().get("send", 0) >= end, within=_READY_WITHIN, name="the measured process"
        )

    def webhook(self, **more: str) -> AbstractContextManager[Child]:
        """gunicorn, beside the stand-in; it need not be up yet."""
        return self.running("webhook", [SISTERS, "webhook"], more, core=OTHERS)

    @property
    def patience(self) -> timedelta:
        """How long a process may take to come up."""
        return _READY_WITHIN

    def bare(self) -> AbstractContextManager[Child]:
        """The bare loop."""
        return self.running("bare", [sys.executable, "-m", "tests.bench.bare"], {})

    def remember(self, people: int, character: str) -> None:
        """Gives each of them twenty earlier messages, with us and with the bare loop."""
        values = {
            "people": people,
            "number": self.environ["TWILIO_WHATSAPP_NUMBER"],
            "character": character,
            "asked": inbound_text(0),
            "answered": ANSWER,
        }
        with psycopg.connect(self.postgres.url) as connection, psycopg.ClientCursor(connection) as cursor:
            cursor.execute(SCHEMA.encode())
            cursor.execute(_HISTORY.read_bytes(), values)

    def sample(self, child: Child, seconds: float) -> Sample:
        """Watches for so long."""
        with self.guard.watching():
            before = self._look(child)
            time.sleep(seconds)
            after = self._look(child)
        grown = {kind: count - before.counts.get(kind, 0) for kind, count in after.counts.items()}
        if not grown.get("send"):
            raise NotMeasured(f"nothing was sent; {child.log} ends with:\n{child.tail()}")
        return Sample(
            seconds=after.at - before.at,
            messages=grown["send"],
            cpu_s=after.cpu_s - before.cpu_s,
            counts=grown,
        )

    def _look(self, child: Child) -> "_Look":
        return _Look(at=time.monotonic(), cpu_s=usage([child.pid]).cpu_s, counts=self.standin.counts())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    at: float
    cpu_s: float
    counts: Mapping[str, int]


@contextmanager
def ground(logs: Path, **more: str) -> Generator[Ground]:
    """Starts the servers, migrated, and the stand-in; `more` is for the environment of what is measured."""
    with ExitStack() as parts, pinned(OTHERS):
        postgres = parts.enter_context(Postgres(durable=True, log=logs / "postgres.log"))
        redis = parts.enter_context(Redis(log=logs / "redis.log"))
        port = free_port()
        child = Child(
            [sys.executable, "-m", "tests.bench.standin", str(port)], log=logs / "standin.log", directory=ROOT
        )
        parts.callback(child.kill)
        child.wait_until(lambda: reachable(f"http://127.0.0.1:{port}/counts"), within=_READY_WITHIN, name="stand-in")
        environ = {
            **{name: value for name, value in os.environ.items() if name in KEPT_OF_THE_ENVIRONMENT},
            **SIMULATED_TWILIO,
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "PUBLIC_URL": "http://127.0.0.1:9",
            "TWILIO_BASE_URL": f"http://127.0.0.1:{port}",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": "none",
            "OPENAI_MODEL": DEFAULT_MODEL,
            "PYTHONUNBUFFERED": "1",
            **more,
        }
        migrated = Child([SISTERS, "migrate"], log=logs / "migrate.log", environ=environ, directory=ROOT)
        migrated.wait_until(lambda: not migrated.running, within=_READY_WITHIN, name="migrate")
        yield Ground(
            environ=environ,
            postgres=postgres,
            redis=redis,
            standin=StandIn(child, port),
            guard=Guard(child.pid),
            logs=logs,
        )


class Talkers(threading.Thread):
    """People who each write again as soon as their answer is there. Their messages go where the webhook puts them.

    With `reports` each answer is reported sent and delivered, as Twilio would.
    """

    def __init__(self, ground: Ground, people: int, *, over_s: float = 2.0, reports: bool = False) -> None:
        """The first messages are spread over `over_s` seconds; nobody (0) writes by themselves."""
        super().__init__(name="talkers", daemon=True)
        self._door: Final[RedisDoor] = door(ground.environ["REDIS_URL"], "", threads=2)
        self._standin: Final = ground.standin.another()
        self._number: Final = ground.environ["TWILIO_WHATSAPP_NUMBER"]
        self._people: Final = people
        self._over_s: Final = over_s
        self._reports: Final = reports
        self._written: Final = Counter[str]()
        self._run: Final = uuid4().hex[:12]
        self._over: Final = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()
        self._door.close()

    def run(self) -> None:
        """The first messages are spread over some time; after that everybody goes at their own pace."""
        seen, written, began = self._standin.counts().get("send", 0), 0, time.monotonic()
        while not self._over.is_set():
            due = int(min(1.0, (time.monotonic() - began) / self._over_s) * self._people)
            for number in range(written, due):
                self.write(person(number))
            written = due
            sends = self._standin.sends(seen, wait=written == self._people)
            seen += len(sends)
            for recipient, _, sid in sends:
                if self._reports:
                    self._report(sid)
                self.write(recipient)

    def write(self, sender: str) -> None:
        """That person's next message."""
        self._written[sender] += 1
        count = self._written[sender]
        message = InboundMessage(
            channel=TWILIO,
            provider_id=f"SM{self._run}{sender[-7:]}{count:013x}",
            sender=sender,
            recipient=self._number,
            received_at=datetime.now(UTC),
            text=inbound_text(count),
        )
        self._door.accept(message)

    def _report(self, sid: str) -> None:
        for status in ("sent", "delivered"):
            self._door.report(
                StatusReport(channel=TWILIO, provider_id=sid, status=status, received_at=datetime.now(UTC))
            )


class Steady(Talkers):
    """Load beside what is measured: people who write one after the other at a fixed rate, answered or not."""

    def __init__(self, ground: Ground, first: int, last: int, per_second: float) -> None:
        super().__init__(ground, 0)
        self._people_of_load: Final = range(first, last)
        self._every_s: Final = 1 / per_second

    def run(self) -> None:
        """What cannot be written in time is written at once: the rate holds."""
        began = time.monotonic()
        for count in itertools.count():
            if self._over.wait(max(0.0, began + count * self._every_s - time.monotonic())):
                return
            self.write(person(self._people_of_load[count % len(self._people_of_load)]))
