"""Proves that chaos can fail: breaks one rule at a time in a copy of the tree, and shows which counter notices it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from deploy.local.stack import ROOT

COPIED: Final = ("core", "webhook", "worker", "deploy", "prompts", "tests")
RUN_AT_MOST_S: Final = 600
RATE: Final = 0.25
"""Of outside calls that go wrong: more than usual, so that a short run meets everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A text of one file, found there exactly once, and what stands in its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """One rule broken: in the code, or by hand in what a good run left behind."""

    name: str
    edits: Sequence[Edit] = ()
    by_hand: str = ""


_HELD: Final = "WHERE id = %(turn_id)s AND worker_id = %(worker_id)s AND claims = %(fence)s AND finished_at IS NULL"
_STORES: Final = (
    "WHERE t.id = %(turn_id)s AND t.worker_id = %(worker_id)s AND t.claims = %(fence)s AND t.finished_at IS NULL\n"
)
_SCHEMA: Final = "core/sql/migrations/0001_people_turns_deliveries.sql"
_STORED_ONCE: Final = "ON CONFLICT ON CONSTRAINT messages_stored_once DO NOTHING\n"
_ONCE: Final = (
    Edit(path="core/sql/intake.sql", old=f"    {_STORED_ONCE}", new=""),
    Edit(path="core/sql/intake.sql", old=f"\n{_STORED_ONCE}", new="\n"),
)
BREAKAGES: Final = (
    Breakage(name="nothing (must be good)"),
    Breakage(name="no ON CONFLICT", edits=_ONCE),
    Breakage(
        name="no ON CONFLICT, no constraint",
        edits=[
            *_ONCE,
            Edit(path=_SCHEMA, old="    CONSTRAINT messages_stored_once UNIQUE (channel, provider_id),\n", new=""),
        ],
    ),
    Breakage(
        # The fence alone can be taken away: the constraint on (turn, piece) then refuses the second reply.
        name="no fencing of turns",
        edits=[
            Edit(
                path="core/sql/turn.sql",
                old=f"SELECT superseded FROM turns\n{_HELD}\nFOR UPDATE",
                new="SELECT superseded FROM turns WHERE id = %(turn_id)s FOR UPDATE",
            ),
            Edit(
                path="core/sql/turn.sql",
                old=f"    {_STORES}",
                new="    WHERE t.id = %(turn_id)s\n",
            ),
            Edit(
                path=_SCHEMA,
                old="DEFAULT now(),\n    CONSTRAINT deliveries_piece_once UNIQUE (turn_id, piece)\n",
                new="DEFAULT now()\n",
            ),
        ],
    ),
    Breakage(
        name="order left to the tasks",
        edits=[
            Edit(
                path="core/adapters/accept.lua",
                old="local inbox = 'sisters:inbox:' .. person\n",
                new="person = person .. redis.call('INCR', 'n')\nlocal inbox = 'sisters:inbox:' .. person\n",
            )
        ],
    ),
    Breakage(
        # As the article does it: the turn itself calls Twilio, and no row says that it will or did.
        name="send without outbox",
        edits=[
            Edit(
                path="core/turns/turn.py",
                old="        following = self._store_answer(held, row, work, answer, attempt)\n",
                new="""\
        for reply in answer.replies:
            for piece in reply.pieces:
                there = self._outbox._channels[row.channel]
                there.send(Outgoing(delivery_id=0, sender=row.recipient, recipient=row.sender, body=piece))
        following = self._store_answer(held, row, work, replace(answer, replies=()), attempt)
""",
            ),
            Edit(
                path="core/turns/turn.py",
                old="from core.deliveries.outbox import Outbox\n",
                new="from dataclasses import replace\nfrom core.deliveries.outbox import Outbox, Outgoing\n",
            ),
        ],
    ),
    Breakage(
        name="send without a claim",
        edits=[
            Edit(
                path="core/sql/outbox.sql",
                old="SET state = 'sending', attempts = attempts + 1,",
                new="SET attempts = attempts + 1,",
            )
        ],
    ),
    Breakage(
        name="blind resend",
        edits=[
            Edit(
                path="core/deliveries/outbox.py",
                old='self._settling.settle("doubt_delivery", claim, code=error.code or error.reason)',
                new="return self._again(claim, Transient(error.reason, code=error.code))",
            )
        ],
    ),
    Breakage(name="a row deleted by hand", by_hand="delete-row"),
    Breakage(name="a delivery doubled by hand", by_hand="send-again"),
)


@click.command()
@click.option("--only", multiple=True, help="those whose name begins so")
@click.option("--seed", default=1, show_default=True)
def main(*, only: Sequence[str], seed: int) -> None:
    """Runs chaos at small size once for each broken rule; exit 1 when one was not noticed."""
    chosen = [b for b in BREAKAGES if not only or b.name.startswith(tuple(only))]
    bad = False
    click.echo(f"{'broken':<30}  {'as wanted':<9}  {'took':>5}  noticed by")
    for breakage in chosen:
        began = time.monotonic()
        try:
            code, counts = _run(breakage, seed)
        except (click.ClickException, subprocess.TimeoutExpired) as error:
            bad = True
            click.echo(f"{breakage.name:<30}  {'NOT RUN':<9}         {error}")
            continue
        breaks = bool(breakage.edits or breakage.by_hand)
        noticed = list(_noticed(counts))
        as_wanted = not counts["good"] and bool(noticed) and code == 1 if breaks else counts["good"]
        bad = bad or not as_wanted
        took = f"{time.monotonic() - began:.0f} s"
        click.echo(f"{breakage.name:<30}  {'yes' if as_wanted else 'NO':<9}  {took:>5}  {', '.join(noticed) or '-'}")
    sys.exit(1 if bad else 0)


def _run(breakage: Breakage, seed: int) -> tuple[int, Mapping[str, Any]]:
    """Returns the exit code of one run of the broken copy, and its counts."""
    with tempfile.TemporaryDirectory(prefix="sisters-broken-") as directory:
        tree, counts = Path(directory) / "tree", Path(directory) / "counts.json"
        for name in COPIED:
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in breakage.edits:
            _apply(tree, edit)
        command = [sys.executable, "-m", "tests.chaos", "--small", "--rate", str(RATE), "--seed", str(seed)]
        command += ["--counts", str(counts)]
        if breakage.by_hand:
            command += ["--by-hand", breakage.by_hand]
        done = subprocess.run(
            command,
            cwd=tree,
            # Before the installed packages, which are this tree.
            env={**os.environ, "PYTHONPATH": str(tree), "TMPDIR": directory},
            capture_output=True,
            text=True,
            timeout=RUN_AT_MOST_S,
            check=False,
        )
        if not counts.exists():
            raise click.ClickException(f"{breakage.name}: no counts\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.returncode, json.loads(counts.read_text(encoding="utf-8"))


def _apply(tree: Path, edit: Edit) -> None:
    path = tree / edit.path
    text = path.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise click.ClickException(f"{edit.path}: what is to be broken stands there {text.count(edit.old)} times")
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def _noticed(counts: Mapping[str, Any]) -> Sequence[str]:
    """Each counter that is not zero, with the side that counts."""
    sides: dict[str, dict[str, int]] = {side: counts[side] or {} for side in ("world", "audit")}
    found = [f"{side}: {number} {name}" for side, each in sides.items() for name, number in each.items() if number]
    if not counts["settled"]:
        found.append("not settled")
    return [*found, *(text.partition(":")[0] + " failed" for text in counts["failed"])]


if __name__ == "__main__":
    main()
