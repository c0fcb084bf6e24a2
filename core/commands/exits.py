"""Exit codes of every command: 0 good, 1 the check says no, 2 wrong configuration or usage."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from core.errors import NOT_MIGRATED, ConfigurationError, Permanent, Transient, Unreachable

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
                click.echo(problem, err=True)
            sys.exit(WRONG_USE)
        except Unreachable as error:
            click.echo(error.problem, err=True)
            sys.exit(SAYS_NO)
        except Transient as error:
            if error.reason == NOT_MIGRATED:
                click.echo("DATABASE_URL: the database lacks this release's schema; run sisters migrate", err=True)
                sys.exit(WRONG_USE)
            click.echo(f"not reachable: {error}", err=True)
            sys.exit(SAYS_NO)
        except Permanent as error:
            click.echo(f"refused: {error}; check account and credentials", err=True)
            sys.exit(WRONG_USE)

    return run  # type: ignore[return-value]  # the wrapper takes what the command takes
