"""Exit codes of every command: 0 good, 1 the check says no, 2 wrong configuration or usage."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from core.errors import NOT_MIGRATED, ConfigurationError, Permanent, Transient, Unreachable
from core.log import as_read

SAYS_NO: Final = 1
WRONG_USE: Final = 2

_Command = TypeVar("_Command", bound=Callable[..., Any])


def checked(command: _Command) -> _Command:
    """Wrong configuration ends with one problem a line on stderr and exit code 2; an absent service with 1.

    So does a service that refuses us: what it was given (an account, a token) is wrong.
    """

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ConfigurationError as error:
            for problem in error.problems:
                _tell(problem)
            sys.exit(WRONG_USE)
        except Unreachable as error:
            _tell(error.problem)
            sys.exit(SAYS_NO)
        except Transient as error:
            if error.reason == NOT_MIGRATED:
                _tell("DATABASE_URL: the database lacks this release's schema; run sisters migrate")
                sys.exit(WRONG_USE)
            _tell(_broke_off(error))
            sys.exit(SAYS_NO)
        except Permanent as error:
            problem = (
                f"TWILIO_ACCOUNT_SID: Twilio refuses us ({error}); check it, and TWILIO_AUTH_TOKEN or TWILIO_API_KEY"
            )
            _tell(problem)
            sys.exit(WRONG_USE)

    return run  # type: ignore[return-value]  # the wrapper takes what the command takes


def _tell(problem: str) -> None:
    click.echo(as_read(problem, sys.stderr), err=True)


def _broke_off(error: Transient) -> str:
    """One line about a service that failed a command on its way; what it could not even begin with is Unreachable."""
    for reason, service in (("postgres", "Postgres"), ("redis", "Redis")):
        if error.reason.startswith(reason):
            return f"{service} broke off on the way ({error.code or error.reason}); try again"
    place = urlsplit(os.environ.get("TWILIO_BASE_URL", "")).netloc.rpartition("@")[2] or "api.twilio.com"
    return f"Twilio does not answer at {place} ({error}); try again"
