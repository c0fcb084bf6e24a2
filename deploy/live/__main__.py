"""`python -m deploy.live [--yes]`: the bot on this machine, answering a real WhatsApp number through ngrok.

Postgres and Redis are the machine's own embedded ones unless DATABASE_URL and REDIS_URL name others. Everything else
comes from .env: the real account, the real model. What Twilio calls is changed only after a yes (or with --yes).
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

from core.config import SANDBOX_NUMBER, TwilioSettings
from core.errors import ConfigurationError, Permanent
from deploy import terminal
from deploy.live.ngrok import open_tunnel
from deploy.live.sender import Addresses, Sender, addresses
from deploy.live.settings import twilio_of, with_dotenv
from deploy.local.child import StartFailed, free_port, is_free
from deploy.local.postgres import Postgres
from deploy.local.processes import Processes
from deploy.local.redis import Redis
from deploy.local.stack import ROOT

LOGS: Final = ROOT / ".cache" / "live"
_MIGRATE_WITHIN: Final = timedelta(seconds=90)
_SANDBOX: Final = "https://console.twilio.com/us1/develop/sms/try-it-out/whatsapp-learn"


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Returns the exit code: 0 good, 1 something did not work, 2 wrong configuration or usage."""
    if arguments not in ([], ["--yes"]):
        print("usage: python -m deploy.live [--yes]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: in order
    settings = with_dotenv(environ, Path(environ.get("DOTENV", ROOT / ".env")))
    try:
        twilio = twilio_of(settings)
        _run(settings, twilio, agreed=bool(arguments))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except StartFailed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        terminal.say("\nstopped")
    return 0


def _run(settings: dict[str, str], twilio: TwilioSettings, *, agreed: bool) -> None:
    with ExitStack() as parts:
        processes = parts.enter_context(Processes(directory=ROOT, logs=LOGS))
        port = _port(settings)
        with terminal.step("ngrok"):
            public_url = open_tunnel(processes, settings, port=port)
        environ = settings | {"HOST": "127.0.0.1", "PORT": str(port), "PUBLIC_URL": public_url, "PYTHONUNBUFFERED": "1"}
        if not environ.get("DATABASE_URL") and not environ.get("POSTGRES_HOST"):
            with terminal.step("Postgres"):
                environ["DATABASE_URL"] = parts.enter_context(Postgres(durable=True, log=LOGS / "postgres.log")).url
        if not environ.get("REDIS_URL"):
            with terminal.step("Redis"):
                environ["REDIS_URL"] = parts.enter_context(Redis(log=LOGS / "redis.log")).url
        with terminal.step("webhook, worker, beat"):
            _start(processes, environ, port)
        terminal.title(f"{twilio.number.removeprefix('whatsapp:')} is answered here, through {public_url}")
        tell_twilio(twilio, addresses(public_url), agreed=agreed)
        terminal.say(f"  Logs       {LOGS}\n  End        Ctrl-C\n")
        while True:
            for name, code in processes.revive():
                terminal.remark(f"{name} ended with exit code {code} and is started again")
            time.sleep(1)


def _port(settings: Mapping[str, str]) -> int:
    """PORT, or another one where that is taken: only ngrok has to know it."""
    wanted = settings.get("PORT", "8000")
    if not wanted.isdecimal():
        raise StartFailed("PORT: should be a port number")
    return int(wanted) if is_free(int(wanted)) else free_port()


def _start(processes: Processes, environ: Mapping[str, str], port: int) -> None:
    sisters = str(Path(sys.executable).with_name("sisters"))
    processes.run("migrate", [sisters, "migrate"], environ, within=_MIGRATE_WITHIN)
    for name in ("webhook", "worker", "beat"):
        processes.start(name, [sisters, name], environ)
    processes.wait_for("webhook", f"http://127.0.0.1:{port}/readyz")


def tell_twilio(twilio: TwilioSettings, to: Addresses, *, agreed: bool) -> None:
    """Sets the sender's addresses after a yes, else says what to paste where."""
    paste = f"  Message    {to.message}\n  Status     {to.status}\n"
    if twilio.number == SANDBOX_NUMBER:
        terminal.say(
            f"The sandbox takes its addresses by hand only. Paste them into its settings, method POST:\n\n{paste}"
        )
        terminal.say(f"  Where      {_SANDBOX}\n")
        return
    sender = Sender(twilio)
    try:
        now = sender.current()
        if now is None:
            terminal.say(
                f"Twilio lists no such sender in this account. Paste into its settings, method POST:\n\n{paste}"
            )
            return
        terminal.say(f"Twilio calls now:\n\n  Message    {now.message or '-'}\n  Status     {now.status or '-'}\n")
        if now == to:
            return
        terminal.say(f"It should call:\n\n{paste}")
        if agreed or _says_yes():
            sender.set(to)
            terminal.say("Set. The former addresses stand above, to put them back.\n")
    except Permanent as error:
        terminal.say(
            f"Twilio did not take it ({error.code}). Paste into the sender's settings, method POST:\n\n{paste}"
        )


def _says_yes() -> bool:
    if not sys.stdin.isatty():
        terminal.say("Nobody is here to say yes (or give --yes): nothing was changed.\n")
        return False
    return input("Set them? [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
