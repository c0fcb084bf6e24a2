"""The `sisters` command: checks the configuration, then becomes or runs the process that was asked for."""

import importlib
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from core import __version__, log
from core.commands import operator
from core.commands.cast import cast
from core.commands.doctor import doctor
from core.commands.exits import SAYS_NO
from core.commands.exits import checked as _checked
from core.commands.usage import Commands, Number, Span
from core.config import MOST_TURNS_AT_ONCE, DatabaseSettings, Environment
from core.errors import Transient, Unreachable

_MORE: Final = (
    "Everything is set by environment variables: README.md lists them, 'sisters doctor' says what is missing. "
    "Exit codes: 0 good, 1 the check says no, 2 wrong configuration or usage."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_MORE)
@click.version_option(__version__)
def main() -> None:
    """Several AI characters on one WhatsApp number."""


@main.command()
@click.option("--wait", default="60s", show_default=True, type=Span(), help="how long to wait for Postgres to answer")
@_checked
def migrate(wait: timedelta) -> None:
    """Bring the database to this release's schema.

    Safe to run twice, also at once. TIME is such as 90s or 2m.
    """
    from core.store import migrate as apply_migrations  # psycopg is not needed by the other commands' start

    environment = Environment(os.environ)
    settings = environment.read(DatabaseSettings)
    environment.check()
    wait_s = wait.total_seconds()
    end, told = time.monotonic() + wait_s, False
    while True:
        try:
            applied = apply_migrations(settings)
            break
        except Transient as error:
            if time.monotonic() > end:
                raise
            if not told:
                what = error.what if isinstance(error, Unreachable) else f"Postgres broke off ({error})"
                click.echo(f"{what}; waiting up to {wait_s:g} s", err=True)
                told = True
            time.sleep(0.5)
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to apply")


@main.command()
@_checked
def webhook() -> None:
    """Receive webhooks (gunicorn)."""
    # Each command loads what it needs: the receiver stays small.
    from core.wiring.webhook import webhook_parts

    webhook_parts(os.environ)
    config = Path(__file__).resolve().parent.parent / "deploy" / "gunicorn.conf.py"
    _become_gunicorn("--config", str(config), "webhook.app:from_environment()")


@main.command()
@click.option("--concurrency", default=100, show_default=True, type=Number(1, MOST_TURNS_AT_ONCE), help="turns at once")
@_checked
def worker(concurrency: int) -> None:
    """Answer messages (Celery, a thread pool)."""
    signal.signal(signal.SIGTERM, _nothing_begun)
    log.setup("worker")  # first: what nobody expected is told by its kind, never with somebody's words
    from core.wiring.worker import read_worker

    read = read_worker(os.environ)
    sys.exit(_celery("worker.app").run(read, concurrency=concurrency))


@main.command()
@_checked
def beat() -> None:
    """Keep the timer (Celery beat); two do no harm."""
    signal.signal(signal.SIGTERM, _nothing_begun)
    log.setup("beat")
    _celery("worker.timer").run()


@main.command()
@_checked
def inspect() -> None:
    """Show timelines, routing and cast as JSON.

    A process that only reads (gunicorn), for whoever has INSPECT_TOKEN.
    """
    from core.wiring.inspector import check_inspector

    check_inspector(os.environ)
    config = Path(__file__).resolve().parent.parent / "deploy" / "gunicorn_inspect.conf.py"
    _become_gunicorn("--config", str(config), "webhook.inspector:from_environment()")


@main.command()
@click.option("--person", default="", help="who writes: a name that the simulator knows, or a number")
def chat(person: str) -> None:
    """Talk to the simulated bot in this terminal.

    Also through a pipe. Needs a simulator (SIMULATOR_URL): make demo starts one.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / "deploy" / "simulator").is_dir():
        raise click.UsageError("the simulator is not here; run this in the project's folder")
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "deploy.simulator.chat", *filter(None, [person])]
    os.execve(sys.executable, command, os.environ | {"PYTHONPATH": path})  # noqa: S606 - ours


@main.command()
@click.argument("words", metavar="[TEXT]", nargs=-1)
@click.option("--batch", is_flag=True, help="read JSON lines from stdin, write one JSON line for each")
@_checked
def route(words: tuple[str, ...], *, batch: bool) -> None:
    """Say who would answer TEXT, and why.

    TEXT is one argument: put it in quotes. Needs PROMPTS_DIR only.
    """
    from core.routing.batch import explain, route_line
    from core.wiring.router import ready_router

    if batch == bool(words):
        raise click.UsageError("give either TEXT or --batch")
    if len(words) > 1:
        raise click.UsageError("TEXT is one argument: put it in quotes")
    log.setup("route", stream=sys.stderr)
    with ready_router(os.environ) as router:
        if words:
            click.echo(explain(router.route(words[0], current=None)))
            return
        good = True
        # Bytes both ways, whatever the terminal's encoding: a line that is no UTF-8 is unreadable, and not the end.
        for line in sys.stdin.buffer:
            answer, readable = route_line(router, line.decode("utf-8", "surrogateescape"))
            good = good and readable
            click.echo(answer.encode())
    sys.exit(0 if good else SAYS_NO)


operator.register(main)
main.add_command(cast)
main.add_command(doctor)


def _nothing_begun(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM before Celery has its own handler in place: what began by then is taken over as from a dead worker."""
    os._exit(0)


def _become_gunicorn(*arguments: str) -> NoReturn:
    """Replaces this process, so that signals and exit codes are gunicorn's own."""
    log.setup("gunicorn")  # says early what cannot be imported
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])  # noqa: S606 - ours


def _celery(name: str) -> Any:
    """The module that runs Celery, in this process. By its name: what is at work stands on core, not core on it."""
    return importlib.import_module(name)


if __name__ == "__main__":
    main()
