"""`sisters doctor`: what is missing, wrong or risky, in plain words, with the fix."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

import click

from core import log
from core.commands.exits import SAYS_NO, WRONG_USE

if TYPE_CHECKING:  # loaded when the command runs: it needs every client
    from core.doctor.finding import Finding

_MARKS: Final = {
    "GOOD": ("ok", "green"),
    "RISKY": ("risky", "yellow"),
    "BROKEN": ("broken", "red"),
    "WRONG": ("wrong", "red"),
}
_EXITS: Final = {"GOOD": 0, "RISKY": 0, "BROKEN": SAYS_NO, "WRONG": WRONG_USE}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="a JSON list of {area, subject, severity, what, fix}")
@click.option("--offline", is_flag=True, help="ask neither Twilio nor any model, nor at PUBLIC_URL")
@click.option("--problems", is_flag=True, help="leave out what is fine")
def doctor(*, as_json: bool, offline: bool, problems: bool) -> None:
    """Say what is missing, wrong or risky, and how to mend it.

    Reads the environment as the processes would; asks Postgres, Redis, Twilio, each model and our webhook at
    PUBLIC_URL one small question; changes nothing. Exit 0: nothing worse than risky; 1: something does not answer
    or cannot be used; 2: the configuration is wrong.
    """
    from core.doctor.checkup import check
    from core.doctor.finding import Severity, worst

    log.setup("doctor", "error", stream=sys.stderr)
    found = check(os.environ, offline=offline)
    shown = [finding for finding in found if not problems or finding.severity > Severity.GOOD]
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in shown], ensure_ascii=False, indent=2))
    else:
        for line in _lines(shown):
            click.echo(line)
        click.echo(_summary(found))
    sys.exit(_EXITS[worst(found).name])


def _lines(findings: "Sequence[Finding]") -> "Iterator[str]":
    for area, group in groupby(findings, key=lambda finding: finding.area):
        rows = list(group)
        width = max(len(finding.subject) for finding in rows)
        yield click.style(area, bold=True)
        for finding in rows:
            mark, colour = _MARKS[finding.severity.name]
            yield f"  {click.style(f'{mark:<6}', fg=colour)}  {finding.subject:<{width}}  {finding.what}"
            if finding.fix:
                yield f"  {'':<6}  {'':<{width}}  > {finding.fix}"
        yield ""


def _summary(findings: "Sequence[Finding]") -> str:
    """The last line, which is read also where all the others are not: it says when the world is not the real one."""
    from core.doctor.environment import SIMULATED

    counts = {name: sum(finding.severity.name == name for finding in findings) for name in _MARKS}
    told = [f"{counts[name]} {_MARKS[name][0]}" for name in ("WRONG", "BROKEN", "RISKY") if counts[name]]
    simulated = [f"; {finding.subject}: {finding.what}" for finding in findings if finding.subject == SIMULATED]
    return "".join([", ".join(told) or "all is well", *simulated])
