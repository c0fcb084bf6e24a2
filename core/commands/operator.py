"""The operator's commands: is the promise kept, what happened to a message, what could not be read, who is erased."""

import json
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NoReturn

import click

from core import log
from core.commands.exits import SAYS_NO, checked
from core.commands.usage import Number, Person, Span, TimelineId

if TYPE_CHECKING:  # each command loads what it needs when it runs
    from core.operations.audit import Recount
    from core.operations.comparison import Comparison
    from core.operations.dead_letters import DeadLetters
    from core.operations.timeline import Event
    from core.store import Store

_SINCE: Final = timedelta(hours=2)
_NO_TEXTS: Final = "show what people wrote and where they write from"
_LETTER: Final = Number(1, words="dead letter's id: that is a number, the first column of 'sisters dead list'")


def register(main: click.Group) -> None:
    """Adds the commands to `sisters`."""
    for command in (audit, catch_up, timeline, dead, forget):
        main.add_command(command)


@click.command()
@click.option("--stuck-after", default="120s", show_default=True, type=Span(), help="open for longer is stuck")
@click.option("--against-provider", is_flag=True, help="compare with Twilio's own message log, both ways")
@click.option("--since", type=Span(some=True), help="how far back to compare, such as 1d  [default: 2h]")
@checked
def audit(stuck_after: timedelta, since: timedelta | None, *, against_provider: bool) -> None:
    """Recount how every message ended, as JSON.

    Exit 1 when something is stuck, overtaken, lost or doubled. TIME is such as 90s, 15m, 2h or 1d.
    """
    from core.operations.audit import recount
    from core.wiring.operator import comparer

    if since is not None and not against_provider:
        raise click.UsageError("--since goes with --against-provider")
    if not against_provider:
        with _store() as store:
            result = recount(store, stuck_after=stuck_after)
        click.echo(json.dumps(_recount_json(result), indent=2))
        sys.exit(0 if result.good else SAYS_NO)
    with _operating(), comparer(os.environ) as (store, compared):
        comparison = compared.compare(datetime.now(UTC) - (_SINCE if since is None else since), stuck_after=stuck_after)
        result = recount(store, stuck_after=stuck_after)
    click.echo(json.dumps(_recount_json(result, comparison), indent=2))
    sys.exit(0 if result.good and comparison.good else SAYS_NO)


@click.command("catch-up")
@click.option(
    "--since", type=Span(some=True), help="how far back to read, such as 2h; without: from the mark of the last reading"
)
@checked
def catch_up(since: timedelta | None) -> None:
    """Find in Twilio's log what never reached us.

    Has it answered and prints counts as JSON; workers do so by themselves. TIME is such as 90s, 15m, 2h or 1d.
    """
    from core.wiring.worker import catch_up as reading

    with _operating(), reading(os.environ) as found:
        caught = found.run(since)
        click.echo(json.dumps(caught.as_json()))
        sys.exit(SAYS_NO if caught.failed else 0)


@click.command()
@click.argument("name", metavar="ID", type=TimelineId())
@click.option("--json", "as_json", is_flag=True, help="a JSON list of {at, event, ...}")
@click.option("--texts", is_flag=True, help="show what was written and answered")
@checked
def timeline(name: str, *, as_json: bool, texts: bool) -> None:
    """Say what happened to a message, a turn or a delivery.

    ID is m12 or 12 (a message), t3 (a turn), d9 (a delivery), or any SID of Twilio.
    """
    from core.model import TWILIO
    from core.operations.timeline import timeline as read

    with _store() as store:
        events = read(store, name, channels=(TWILIO,), texts=texts)
    if events is None:
        click.echo(f"nothing is known by {name}: no message, turn or delivery bears it, or it was erased", err=True)
        sys.exit(SAYS_NO)
    if as_json:
        click.echo(json.dumps([event.as_json() for event in events], ensure_ascii=False, indent=2))
        return
    for line in _table(events):
        click.echo(line)


@click.group()
def dead() -> None:
    """Dead letters: what came out of Redis and could not be read."""


@dead.command("list")
@checked
def list_dead() -> None:
    """List them, oldest first.

    A line each, with tabs between: id, source, time, bytes, reason.
    """
    none = True
    with _dead_letters() as letters:
        for letter in letters.all():
            none = False
            at = letter.created_at.astimezone(UTC).isoformat(timespec="seconds")
            click.echo(f"{letter.id}\t{letter.source}\t{at}\t{letter.size_bytes}\t{letter.reason}")
    if none:
        click.echo("no dead letters", err=True)  # the list itself stays a list


@dead.command()
@click.argument("letter_id", metavar="ID", type=_LETTER)
@click.option("--texts", is_flag=True, help=_NO_TEXTS)
@checked
def show(letter_id: int, *, texts: bool) -> None:
    """Show one as JSON, without texts and addresses.

    ID is a number, the first column of 'sisters dead list'.
    """
    from core.operations.dead_letters import veiled

    with _dead_letters() as letters:
        letter = letters.read(letter_id)
    if letter is None:
        _says_no(letter_id)
    payload = letter.payload.decode("utf-8", "backslashreplace") if texts else veiled(letter.payload)
    at = letter.created_at.astimezone(UTC).isoformat(timespec="seconds")
    shown = {"id": letter.id, "source": letter.source, "reason": letter.reason, "at": at, "payload": payload}
    click.echo(json.dumps(shown, ensure_ascii=False, indent=2))


@dead.command()
@click.argument("letter_id", metavar="ID", type=_LETTER)
@checked
def replay(letter_id: int) -> None:
    """Put one back, for the workers to read again.

    ID is a number, the first column of 'sisters dead list'.
    """
    with _dead_letters(puts_back=True) as letters:
        fate = letters.replay(letter_id)
    match fate:
        case "done":
            click.echo("put back")
        case "unknown":
            _says_no(letter_id)
        case "no_place":
            click.echo("kept: from whose inbox it came is not known, and this release cannot read it", err=True)
            sys.exit(SAYS_NO)


@dead.command()
@click.argument("letter_id", metavar="ID", type=_LETTER)
@checked
def drop(letter_id: int) -> None:
    """Remove one for good.

    ID is a number, the first column of 'sisters dead list'.
    """
    with _dead_letters() as letters:
        fate = letters.drop(letter_id)
    if fate == "unknown":
        _says_no(letter_id)
    click.echo("dropped")


@click.command()
@click.argument("person", type=Person())
@checked
def forget(person: str) -> None:
    """Erase a person: messages, turns, ids, inbox.

    PERSON is an address such as whatsapp:+49..., or our number for them.
    """
    from core.wiring.operator import eraser

    with _operating(), eraser(os.environ) as erasing:
        known = erasing.forget(person)
    if not known:
        click.echo("nobody is known by that name", err=True)
        sys.exit(SAYS_NO)
    click.echo("erased")


def _recount_json(result: "Recount", comparison: "Comparison | None" = None) -> dict[str, object]:
    """The answer of `sisters audit`, in the order in which it is documented; times in UTC."""
    stuck = [*result.stuck, *(() if comparison is None else comparison.waiting)]
    document: dict[str, object] = {
        **result.endings,
        "late": result.late,
        "resent_unseen": result.resent_unseen,
        "stuck": [
            {
                "id": it.id,
                "sid": it.sid,
                "phase": it.phase,
                "since": it.since.astimezone(UTC).isoformat(timespec="milliseconds"),
            }
            for it in stuck
        ],
        "out_of_order": list(result.out_of_order),
    }
    if comparison is not None:
        for name in ("lost", "doubled", "foreign", "missing"):
            document[name] = getattr(comparison, name)
    return document


def _table(events: "Sequence[Event]") -> Iterator[str]:
    """One line an event: time, seconds since the first, event, facts. `~` marks a time that is worked out."""
    if not events:
        return
    width = max(len(event.event) for event in events)
    for event in events:
        at = event.at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        after = (event.at - events[0].at).total_seconds()
        facts = "  ".join(f"{name}={_fact(value)}" for name, value in event.facts.items() if value not in (False, ""))
        yield f"{at}  {after:+9.3f}  {'~' if event.about else ' '}{event.event:<{width}}  {facts}".rstrip()


def _fact(value: object) -> str:
    return (
        value
        if isinstance(value, str) and value.isascii() and " " not in value
        else json.dumps(value, ensure_ascii=False)
    )


@contextmanager
def _operating() -> Generator[None]:
    """Logs go to stderr, away from the answer."""
    log.setup("operator", "warning", stream=sys.stderr)
    yield


@contextmanager
def _store() -> "Generator[Store]":
    from core.wiring.operator import store_of

    with _operating(), store_of(os.environ) as store:
        yield store


@contextmanager
def _dead_letters(*, puts_back: bool = False) -> "Generator[DeadLetters]":
    from core.wiring.operator import dead_letters

    with _operating(), dead_letters(os.environ, puts_back=puts_back) as letters:
        yield letters


def _says_no(letter_id: int) -> NoReturn:
    click.echo(f"no dead letter {letter_id}: never there, or put back or dropped already", err=True)
    sys.exit(SAYS_NO)
