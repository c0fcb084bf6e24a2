"""`python -m deploy.local.demo [--once]`: everything on this machine, one conversation with all characters, then yours.

Twilio is always simulated. With OPENAI_API_KEY (or LLM_PROVIDERS) set, a real model answers.
"""

import os
import secrets
import shlex
import signal
import sys
import time
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from deploy import terminal
from deploy.local.child import StartFailed, free_port, is_free
from deploy.local.loopback import Refused
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import ROOT, Stack, has_real_model, local_environment

CONVERSATION: Final = Path(__file__).with_name("conversation.toml")
LOGS: Final = ROOT / ".cache" / "demo"
REPLY_WITHIN: Final = timedelta(seconds=90)
"""A real model may take LLM_TIMEOUT_S, and a second time when the turn was taken over."""
CONCURRENCY: Final = 20
_POLL_S: Final = 0.1
_LAST_PORT: Final = 65535
_TURN: Final = """
SELECT t.outcome, t.character, t.decision,
       NOT EXISTS (SELECT FROM deliveries d WHERE d.turn_id = t.id AND d.state <> 'accepted') AS delivered
FROM messages m JOIN turns t ON t.id = m.turn_id
WHERE m.provider_id = %s AND t.finished_at IS NOT NULL
"""


class DemoFailed(Exception):
    """The conversation did not go as it has to; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the person says, and the id of the character who has to answer."""

    say: str
    expect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the worker stored about its answer."""

    outcome: str
    character: str | None
    decision: dict[str, Any] | None
    delivered: bool


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Returns the exit code: 0 good, 1 something did not work, 2 wrong usage."""
    if arguments not in ([], ["--once"]):
        print("usage: python -m deploy.local.demo [--once]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: in order
    try:
        _run(environ, once=bool(arguments))
    except (StartFailed, DemoFailed, Refused) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        terminal.say("\nstopped")
        return 1 if arguments else 0
    return 0


def _run(environ: Mapping[str, str], *, once: bool) -> None:
    model = "a real model" if has_real_model(environ) else "simulated"
    terminal.title(f"Sisters on WhatsApp, on this machine. WhatsApp: simulated. Answers: {model}.")
    simulator_port, webhook_port, inspect_port = _ports(environ)
    with ExitStack() as open_parts:
        logs = _empty(LOGS / str(simulator_port))
        database_url, redis_url = _servers(environ, logs, open_parts)
        settings = local_environment(
            environ,
            database_url=database_url,
            redis_url=redis_url,
            webhook_port=webhook_port,
            simulator_port=simulator_port,
            inspect_port=inspect_port,
            inspect_token=secrets.token_hex(24),
        )
        stack = open_parts.enter_context(Stack(settings, logs=logs))
        commands = _keep_environment({k: v for k, v in settings.items() if environ.get(k) != v}, logs)
        _start(stack)
        if not once:  # it would be gone before anybody has opened it
            terminal.title(f"Open in a browser: {stack.phone.url}/")
        person, lines = read_conversation(CONVERSATION)
        seen = _converse(stack, database_url, person, lines)
        if once:
            terminal.say(f"\nAll {len(lines)} messages were answered by whom they were meant for ({model}).")
            return
        _explain(stack, person, commands)
        _follow(stack, seen)


def _empty(logs: Path) -> Path:
    """The folder of this demo's logs, named by the port that no second demo can have meanwhile."""
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()
    return logs


def _keep_environment(settings: Mapping[str, str], logs: Path) -> Path:
    """A file to be read by a shell, so that the operator's commands find this demo's database and all the rest."""
    kept = logs / "env"
    kept.unlink(missing_ok=True)
    kept.touch(mode=0o600)
    exports = (f"export {name}={shlex.quote(value)}\n" for name, value in sorted(settings.items()))
    kept.write_text("".join(exports), encoding="utf-8")
    return kept


def _servers(environ: Mapping[str, str], logs: Path, open_parts: ExitStack) -> tuple[str, str]:
    """Postgres and Redis: those that the environment names, else our own. Returns their URLs."""
    database_url, redis_url = environ.get("DATABASE_URL", ""), environ.get("REDIS_URL", "")
    if not database_url:
        with terminal.step("Postgres"):
            database_url = open_parts.enter_context(Postgres(durable=True, log=logs / "postgres.log")).url
    if not redis_url:
        with terminal.step("Redis"):
            redis_url = open_parts.enter_context(Redis(log=logs / "redis.log")).url
    return database_url, redis_url


def _ports(environ: Mapping[str, str]) -> tuple[int, int, int]:
    """Where simulator, webhook and inspector listen: the first has to be where people look for it, the others need not.

    Raises: StartFailed.
    """
    simulator, webhook = _number(environ, "SIMULATOR_PORT", 8099), _number(environ, "PORT", 8000)
    inspect = _number(environ, "INSPECT_PORT", 8001)
    if not is_free(simulator):
        raise StartFailed(f"SIMULATOR_PORT: something listens on port {simulator} already; stop it or set another port")
    webhook = webhook if webhook != simulator and is_free(webhook) else free_port()
    return simulator, webhook, inspect if inspect not in (simulator, webhook) and is_free(inspect) else free_port()


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _LAST_PORT):
        raise StartFailed(f"{name}: should be a port number, 1 to {_LAST_PORT}")
    return int(text)


def _start(stack: Stack) -> None:
    with terminal.step("database schema"):
        stack.migrate()
    with terminal.step("simulator, webhook, worker, beat, inspect"):
        stack.start_simulator()
        stack.start_webhook()
        stack.start_worker(concurrency=CONCURRENCY)
        stack.start_beat()
        stack.start_inspect()
        stack.wait_until_ready()


def read_conversation(path: Path) -> tuple[str, list[Line]]:
    """Returns the person's number and what they say."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return content["person"], [Line(**line) for line in content["lines"]]


def _converse(stack: Stack, database_url: str, person: str, lines: list[Line]) -> int:
    """Plays the conversation; returns the number of the last message that was shown.

    Raises: DemoFailed at the first line that is not answered by whom it has to be.
    """
    seen = max((m["number"] for m in stack.phone.messages()), default=0)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for line in lines:
            terminal.said_by_person(line.say)
            sid = stack.phone.write(person, line.say)
            turn = _wait_for_answer(stack, connection, sid)
            for message in stack.phone.messages(person, after=seen):
                seen = message["number"]
                if message["direction"] != "inbound":
                    terminal.said_by_bot(message["body"])
            _judge(line, turn)
    return seen


def _wait_for_answer(stack: Stack, connection: psycopg.Connection[Any], sid: str) -> Turn:
    end = time.monotonic() + REPLY_WITHIN.total_seconds()
    while time.monotonic() < end:
        stack.processes.check()
        with connection.cursor(row_factory=class_row(Turn)) as cursor:
            turn = cursor.execute(_TURN, (sid,)).fetchone()
        if turn is not None and turn.delivered:
            return turn
        time.sleep(_POLL_S)
    raise DemoFailed(
        f"no answer within {REPLY_WITHIN.total_seconds():.0f} s; see {stack.processes.logs / 'worker.log'}"
    )


def _judge(line: Line, turn: Turn) -> None:
    """Says why she answered. Raises: DemoFailed when it was not she who had to."""
    decision = turn.decision or {}
    terminal.remark(f"{turn.character} by {decision.get('tier', '?')}: {decision.get('why', '?')}")
    if turn.outcome != "answered" or turn.character != line.expect:
        raise DemoFailed(f"{line.say!r} ended {turn.outcome} by {turn.character}; expected an answer by {line.expect}")


def _explain(stack: Stack, person: str, commands: Path) -> None:
    url = stack.phone.url
    terminal.title("Your turn. All of this is simulated; nothing reaches a real phone.")
    terminal.say(f"""  Browser    {url}/
  Terminal   {_chat(stack)}
  By hand    curl -s {url}/simulator/inbound -H 'Content-Type: application/json' \\
                  -d '{{"from": "{person}", "body": "Who knows about music?"}}'
  and read   curl -s '{url}/simulator/messages?person={person.removeprefix("+")}'  (or just watch here)
  Webhook    {stack.webhook_url}/healthz
  Commands   . {commands}; .venv/bin/sisters audit     (or: timeline m1, doctor, ...)
  Logs       {stack.processes.logs}
  End        Ctrl-C
""")


def _chat(stack: Stack) -> str:
    port = stack.environ["SIMULATOR_PORT"]
    return f"{'' if port == '8099' else f'SIMULATOR_URL={stack.phone.url} '}.venv/bin/sisters chat"


def _follow(stack: Stack, seen: int) -> None:
    """Shows what is said after that message, until Ctrl-C. Whoever ends a process on purpose sees it taken up again."""
    while True:
        for name, code in stack.processes.revive():
            terminal.remark(f"{name} ended with exit code {code} and is started again")
        for message in stack.phone.messages(after=seen):
            seen = message["number"]
            show = terminal.said_by_person if message["direction"] == "inbound" else terminal.said_by_bot
            show(message["body"])
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
