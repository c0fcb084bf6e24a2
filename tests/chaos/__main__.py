"""`make chaos`: real processes, the simulator as the world, everything dies; then the promise is checked."""

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from random import Random

import click

from deploy.local.child import free_port
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import Stack, local_environment
from tests.chaos.plan import Mishap, mishaps, outside_faults
from tests.chaos.traffic import Traffic, total
from tests.chaos.verdict import Verdict, judge, settled

BOUNDS = {"LLM_TIMEOUT_S": "5", "AMBIGUOUS_WAIT_S": "10", "SIMULATOR_LLM_LATENCY_MS": "500"}


class Chaos:
    """One run: the system, what befalls it, and the hands that do it."""

    def __init__(self, stack: Stack, postgres: Postgres, redis: Redis, *, workers: int) -> None:
        self.stack = stack
        self.postgres = postgres
        self.redis = redis
        self.names = ["worker" if number == 1 else f"worker-{number}" for number in range(1, workers + 1)]
        self.done: list[str] = []
        self.failed: list[str] = []

    def befall(self, plan: list[Mishap]) -> None:
        """Does everything that is planned, at its time; what lasts goes on beside the next."""
        began = time.monotonic()
        for mishap in plan:
            time.sleep(max(0.0, began + mishap.at.total_seconds() - time.monotonic()))
            threading.Thread(target=self._do, args=(mishap,), daemon=True).start()
        while len(self.done) + len(self.failed) < len(plan):
            time.sleep(0.1)

    def _do(self, mishap: Mishap) -> None:
        """A process that was started here ends with this thread (its parent, to the kernel): so the thread stays."""
        try:
            self._act(mishap)
            self.done.append(mishap.action)
        except Exception as error:  # noqa: BLE001 - a mishap that could not be done makes the whole run worthless
            self.failed.append(f"{mishap.action}: {type(error).__name__} {error}")
        threading.Event().wait()

    def _act(self, mishap: Mishap) -> None:
        processes = self.stack.processes
        name = self.names[int(mishap.pick * len(self.names))]
        match mishap.action:
            case "kill worker":
                with _once(name):
                    processes[name].kill()
                    self.stack.start_worker(name, concurrency=100)
            case "freeze worker":
                with _once(name):
                    os.kill(processes[name].pid, signal.SIGSTOP)
                    time.sleep(mishap.lasts.total_seconds())
                    os.kill(processes[name].pid, signal.SIGCONT)
            case "kill beat":
                processes["beat"].kill()
                self.stack.start_beat()
            case "restart redis":
                with _once("redis"):
                    self.redis.kill()
                    time.sleep(mishap.lasts.total_seconds())
                    self.redis.start()
            case "restart postgres":
                with _once("postgres"):
                    self.postgres.kill()
                    time.sleep(mishap.lasts.total_seconds())
                    self.postgres.start()


_locks: dict[str, threading.Lock] = {}


def _once(name: str) -> threading.Lock:
    """One thing at a time befalls one process."""
    return _locks.setdefault(name, threading.Lock())


@click.command()
@click.option("--messages", default=600, show_default=True)
@click.option("--people", default=100, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--kills", default=8, show_default=True, help="kill -9 of workers")
@click.option("--freezes", default=2, show_default=True, help="SIGSTOP, then SIGCONT")
@click.option("--restarts", default=1, show_default=True, help="of Redis, and as many of Postgres")
@click.option("--rate", default=0.05, show_default=True, help="of outside calls that go wrong")
@click.option("--workers", default=3, show_default=True)
@click.option("--over", "over_s", default=40.0, show_default=True, help="seconds in which the messages come")
@click.option("--settle", "settle_s", default=60.0, show_default=True, help="seconds after the last fault")
@click.option("--keep", is_flag=True, help="keep the logs")
def main(
    *,
    messages: int,
    people: int,
    seed: int,
    kills: int,
    freezes: int,
    restarts: int,
    rate: float,
    workers: int,
    over_s: float,
    settle_s: float,
    keep: bool,
) -> None:
    """Kills everything at random while people write; exit 1 when the promise was broken."""
    random = Random(seed)
    logs = Path(tempfile.mkdtemp(prefix="sisters-chaos-"))
    plan = mishaps(
        random, during=timedelta(seconds=over_s), kills=kills, freezes=freezes, restarts=restarts, beat_kills=1
    )
    with ExitStack() as parts:
        postgres = parts.enter_context(Postgres(durable=False, log=logs / "postgres.log"))
        redis = parts.enter_context(Redis(log=logs / "redis.log"))
        environ = local_environment(
            {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")} | BOUNDS,
            database_url=postgres.url,
            redis_url=redis.url,
            webhook_port=free_port(),
            simulator_port=free_port(),
        )
        stack = parts.enter_context(Stack(environ, logs=logs))
        stack.start(workers=workers, concurrency=100)
        time.sleep(5)
        stack.phone.set_faults(dict(outside_faults(rate, seed=seed)))
        chaos, traffic = Chaos(stack, postgres, redis, workers=workers), Traffic()
        hands = threading.Thread(target=chaos.befall, args=(list(plan),))
        hands.start()
        traffic.run(stack.phone, people=people, each=messages // people, over_s=over_s, random=random)
        hands.join()
        stack.phone.set_faults({})
        took = _wait(postgres.url, settle_s)
        verdict = judge(postgres.url, traffic.acknowledged, stack.phone.messages())
    _print(seed, chaos, traffic, verdict, took)
    bad = not verdict.good or took is None or chaos.failed
    if not keep and not bad:
        _remove(logs)
    else:
        click.echo(f"logs: {logs}")
    sys.exit(1 if bad else 0)


def _wait(database_url: str, settle_s: float) -> float | None:
    """Returns after how many seconds all was settled; None: it was not."""
    began = time.monotonic()
    while time.monotonic() - began < settle_s:
        if settled(database_url):
            return time.monotonic() - began
        time.sleep(0.5)
    return None


def _print(seed: int, chaos: Chaos, traffic: Traffic, verdict: Verdict, took: float | None) -> None:
    rows = {
        "seed": seed,
        "done to it": ", ".join(f"{chaos.done.count(action)} x {action}" for action in sorted(set(chaos.done))),
        "could not be done": "; ".join(chaos.failed) or "-",
        "acknowledged": total(traffic),
        "never taken by the webhook": len(traffic.refused),
        "endings": ", ".join(f"{count} {name}" for name, count in sorted(verdict.endings.items())),
        "settled after": "not" if took is None else f"{took:.1f} s",
        "resent_unseen": verdict.resent_unseen,
        "lost": len(verdict.lost),
        "unfinished": len(verdict.unfinished),
        "doubled": len(verdict.doubled),
        "foreign": len(verdict.foreign),
        "out of order": len(verdict.out_of_order),
    }
    for name, value in rows.items():
        click.echo(f"{name:>28}  {value}")
    for name in ("lost", "unfinished", "doubled", "foreign", "out_of_order"):
        for entry in getattr(verdict, name)[:5]:
            click.echo(f"{name:>28}: {entry}")


def _remove(logs: Path) -> None:
    for path in logs.iterdir():
        path.unlink()
    logs.rmdir()


if __name__ == "__main__":
    main()
