"""Processes of ours on the ground: gunicorn with one of the apps, and more workers than one, on cores of choice."""

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from deploy.local.child import Child, free_port
from deploy.local.loopback import reachable
from deploy.local.stack import ROOT
from tests.bench.cores import MEASURED, OTHERS, give_way, pinned
from tests.bench.ground import SISTERS, Ground

OURS: Final = "webhook.app:from_environment()"
_CONFIG: Final = str(ROOT / "deploy" / "gunicorn.conf.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A gunicorn that serves one of the apps."""

    child: Child
    port: int


@contextmanager
def webhook(place: Ground, app: str = OURS, *, cores: Sequence[int] = (MEASURED,), **more: str) -> Generator[Webhook]:
    """gunicorn with our own configuration, on a core of its own unless told otherwise."""
    port = free_port()
    environ = {**place.environ, "PORT": str(port), **more}
    name = app.partition(":")[2].strip("()")
    command = [sys.executable, "-m", "gunicorn", "--config", _CONFIG, app]
    with pinned(*cores):
        child = Child(command, log=place.logs / f"webhook-{name}.log", environ=environ, directory=ROOT)
    try:
        child.wait_until(lambda: reachable(f"http://127.0.0.1:{port}/healthz"), within=place.patience, name=app)
        yield Webhook(child=child, port=port)
    finally:
        child.stop()


@contextmanager
def workers(place: Ground, count: int, places: int) -> Generator[Sequence[Child]]:
    """So many more `sisters worker` on all cores, behind webhook and driver where these want the core too."""
    command = [SISTERS, "worker", "--concurrency", str(places)]
    alive = "SELECT FROM workers WHERE beat_at > now() - interval '5 s'"
    before = place.rows(alive)
    with ExitStack() as parts:
        children: list[Child] = []
        with pinned(MEASURED, OTHERS):  # this process itself is kept to one of them
            for number in range(before, before + count):
                log = place.logs / f"worker-{number}.log"
                children.append(Child(command, log=log, environ=place.environ, directory=ROOT))
                parts.callback(children[-1].kill)
        children[-1].wait_until(lambda: place.rows(alive) >= before + count, within=place.patience, name="the workers")
        for child in children:
            give_way(child.pid, 10)
        yield children
