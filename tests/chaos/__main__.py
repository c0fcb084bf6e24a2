"""`make chaos`: real processes, the simulator as the world, everything dies; then the promise is checked."""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import click

from deploy.local.child import StartFailed, free_port
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import Stack, local_environment
from tests.chaos import by_hand
from tests.chaos.asked import Audit, CommandFailed, audit, catch_up
from tests.chaos.hands import Hands
from tests.chaos.plan import LONG, SHORT, SMALL, Size, mishaps, outside_faults
from tests.chaos.traffic import Traffic, total
from tests.chaos.verdict import Verdict, judge, quiet, told, unknown

BOUNDS = {"LLM_TIMEOUT_S": "5", "AMBIGUOUS_WAIT_S": "10", "SIMULATOR_LLM_LATENCY_MS": "500"}
KEPT_OF_THE_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
SETTLE_S = 60.0
"""After the last fault. In it are the 30 s that must pass before what only Twilio's log knows counts as such."""
PATIENCE_S = 240.0
"""So long is waited all the same: a machine that is too slow breaks the bound, and must not hide whether all ended."""
WARM_UP_S = 5.0
CATCH_UP_EVERY_S = 8.0
WORKERS = 3
SIZES = {"short": SHORT, "long": LONG, "small": SMALL}


@dataclass(kw_only=True)
class Settled:
    """How it came to rest: after how many seconds (None: not at all)."""

    after_s: float | None = None
    catch_ups: int = 0

    @property
    def in_time(self) -> bool:
        """Whether that was within the bound."""
        return self.after_s is not None and self.after_s <= SETTLE_S

    def __str__(self) -> str:
        return "NOT" if self.after_s is None else f"{self.after_s:.1f} s" + ("" if self.in_time else " TOO LATE")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run, judged."""

    seed: int
    size: Size
    hands: Hands
    traffic: Traffic
    settled: Settled
    verdict: Verdict
    audit: Audit | None
    failed: list[str]
    written: int
    stats: Mapping[str, Any]
    took_s: float

    @property
    def good(self) -> bool:
        """Whether the promise was kept."""
        seen = self.verdict.good and self.audit is not None and self.audit.good
        return self.settled.in_time and seen and not self.failed

    @property
    def told(self) -> str:
        """The verdict in words. What could not be done makes a good run worthless, and a bad one no better."""
        if not self.good:
            return "THE PROMISE WAS BROKEN"
        return "nothing proven: not all could be done" if self.hands.failed else "the promise held"


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--long", "size_name", flag_value="long", help="2,000 messages, 20 kills, an outage of 60 s: 4 minutes")
@click.option("--small", "size_name", flag_value="small", help="as the proofs by broken rules do it")
@click.option("--messages", type=click.IntRange(1), help="more or fewer than the size says")
@click.option("--people", type=click.IntRange(1, 400))
@click.option("--kills", type=click.IntRange(0), help="kill -9 of workers")
@click.option("--restarts", type=click.IntRange(0), help="of Redis, and as many of Postgres")
@click.option("--rate", default=0.05, show_default=True, help="of outside calls that go wrong")
@click.option(
    "--by-hand", "spoil", type=click.Choice(sorted(by_hand.ACTS)), help="then spoil the result: it must be noticed"
)
@click.option("--counts", type=click.Path(dir_okay=False, path_type=Path), help="write all counts there as JSON")
@click.option("--keep", is_flag=True, help="keep the logs")
def main(
    *,
    seed: int,
    size_name: str | None,
    rate: float,
    spoil: str | None,
    counts: Path | None,
    keep: bool,
    **changed: int | None,
) -> None:
    """Kills everything at random while people write; exit 1 when the promise was broken."""
    size = replace(SIZES[size_name or "short"], **{name: value for name, value in changed.items() if value is not None})
    logs = Path(tempfile.mkdtemp(prefix="sisters-chaos-"))
    result = run(size, seed=seed, rate=rate, logs=logs, spoil=spoil)
    show(result)
    if counts is not None:
        counts.write_text(json.dumps(_counts(result)), encoding="utf-8")
    good = result.good and not result.hands.failed
    if keep or not good:
        click.echo(f"logs: {logs}")
    else:
        shutil.rmtree(logs)
    sys.exit(0 if good else 1)


def run(size: Size, *, seed: int, rate: float, logs: Path, spoil: str | None = None) -> Result:
    """One run on a system of its own, judged from both sides."""
    began, random, failed = time.monotonic(), Random(seed), list[str]()
    with ExitStack() as parts:
        postgres = parts.enter_context(Postgres(durable=False, log=logs / "postgres.log"))
        redis = parts.enter_context(Redis(log=logs / "redis.log"))
        stack = parts.enter_context(Stack(_environment(postgres, redis), logs=logs))
        stack.start(workers=WORKERS, concurrency=100)
        hands, traffic = Hands(stack, postgres, redis, workers=WORKERS, diary=logs / "mishaps.log"), Traffic()
        hands.wait_for_workers()
        time.sleep(WARM_UP_S)
        stack.phone.set_faults(dict(outside_faults(rate, seed=seed)))
        doing = threading.Thread(target=hands.befall, args=(mishaps(random, size),))
        doing.start()
        traffic.run(stack.phone, people=size.people, messages=size.messages, over_s=size.over_s, random=random)
        doing.join()
        stats = stack.phone.stats()
        stack.phone.set_faults({})
        settled = _settle(stack, postgres.url, failed)
        if spoil is not None:
            by_hand.ACTS[spoil](stack, postgres.url)
        try:
            stack.processes.check()  # nobody but us ends a process
        except StartFailed as error:
            failed.append(str(error))
        world = stack.phone.messages()
        verdict = judge(postgres.url, traffic.acknowledged, world, flushed_at=hands.flushed_at)
        verdict.breaches.told_in_logs += told(logs)
        written = sum(message["direction"] == "inbound" for message in world)
        try:
            audited = audit(stack, written=written)
        except CommandFailed as error:
            audited = None
            failed.append(str(error))
    return Result(
        seed=seed,
        size=size,
        hands=hands,
        traffic=traffic,
        settled=settled,
        verdict=verdict,
        audit=audited,
        failed=list(dict.fromkeys(failed)),
        written=written,
        stats=stats,
        took_s=time.monotonic() - began,
    )


def _environment(postgres: Postgres, redis: Redis) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_OF_THE_ENVIRONMENT if name in os.environ}
    return local_environment(
        kept | BOUNDS,
        database_url=postgres.url,
        redis_url=redis.url,
        webhook_port=free_port(),
        simulator_port=free_port(),
    )


def _settle(stack: Stack, database_url: str, failed: list[str]) -> Settled:
    """Waits until every message that the world knows is stored and nothing is under way.

    What no webhook took is read from Twilio's log: by the workers in their own time, here by the operator's command.
    """
    began, settled, caught_up_at = time.monotonic(), Settled(), 0.0
    sids = [message["sid"] for message in stack.phone.messages() if message["direction"] == "inbound"]
    while time.monotonic() - began < PATIENCE_S:
        left = unknown(database_url, sids)
        if not left and quiet(database_url):
            settled.after_s = time.monotonic() - began
            break
        if left and time.monotonic() - caught_up_at > CATCH_UP_EVERY_S:
            caught_up_at = time.monotonic()
            settled.catch_ups += 1
            try:
                catch_up(stack, since="15m")
            except CommandFailed as error:
                failed.append(str(error))
        time.sleep(0.5)
    return settled


def show(result: Result) -> None:
    """Prints the one table."""
    hands, verdict, audited = result.hands, result.verdict, result.audit
    acknowledged = total(result.traffic)
    done = ", ".join(f"{hands.done.count(action)} x {action}" for action in sorted(set(hands.done)))
    rows: dict[str, object] = {
        "seed": result.seed,
        "done to it": done,
        "outside calls gone wrong": _outside(result.stats),
        "could not be done": "; ".join(hands.failed) or "-",
        "ended otherwise than it should": "; ".join(result.failed) or "-",
        "written": f"{result.written} by {result.size.people} people in {result.took_s:.0f} s (all in all)",
        "acknowledged": f"{acknowledged}; {result.traffic.told_again} webhooks came again later",
        "never taken by the webhook": f"{len(result.traffic.refused)} (Redis was away: Twilio's log tells them)",
        "brought back late": f"{verdict.late} ({result.settled.catch_ups} x sisters catch-up)",
        "settled after": str(result.settled),
        "unreachable": ", ".join(f"{count} x {code}" for code, count in verdict.unreachable.items()) or "-",
    }
    if audited is not None:
        rows["endings (sisters audit)"] = ", ".join(f"{count} {name}" for name, count in audited.endings.items())
        rows["resent_unseen"] = (
            f"{audited.resent_unseen} (allowed: nobody had seen them; a copy that somebody sees stands under doubled)"
        )
    rows["breaches, seen by the world"] = _listed(verdict.breaches.counts())
    rows["breaches, by sisters audit"] = "no answer" if audited is None else _listed(audited.breaches)
    for name, value in rows.items():
        click.echo(f"{name:>30}  {value}")
    for name, entries in asdict(verdict.breaches).items():
        for entry in entries[:5]:
            click.echo(f"{name:>30}: {entry}")
    click.echo(f"{'verdict':>30}  {result.told}")


def _outside(stats: Mapping[str, Any]) -> str:
    """How many of the calls to each endpoint had a fault."""
    calls: dict[str, int] = {}
    faults: dict[str, int] = {}
    for counted, into in ((stats["calls"], calls), (stats["faults"], faults)):
        for key, count in counted.items():
            endpoint = key.partition(" ")[0]
            into[endpoint] = into.get(endpoint, 0) + count
    inbound = ("webhook", "status")  # calls to us: what failed there is our side's doing
    return ", ".join(f"{faults.get(e, 0)}/{count} {e}" for e, count in sorted(calls.items()) if e not in inbound)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _counts(result: Result) -> dict[str, object]:
    return {
        "good": result.good,
        "settled": result.settled.in_time,
        "failed": result.failed,
        "undone": result.hands.failed,
        "world": result.verdict.breaches.counts(),
        "audit": None if result.audit is None else result.audit.breaches,
    }


if __name__ == "__main__":
    main()
