"""How the command line is read: the kinds of argument, and wrong use told in one line that says what is accepted."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Any, Final

import click
from click.exceptions import NoArgsIsHelpError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST: Final = timedelta(days=3650)
_SPAN: Final = re.compile(r"(-?)(\d{1,8}(?:\.\d{1,3})?)([smhd]?)")
_NAMED: Final = re.compile(r"[mtd]?\d{1,19}|[A-Z]{2}[0-9a-fA-F]{32}")


class WrongUse(click.UsageError):
    """A usage error as every other problem is told: a line on stderr, exit code 2."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints it with the command whose help tells more."""
        path = "sisters" if self.ctx is None else self.ctx.command_path
        problem = " ".join(self.message.split()).rstrip(".")
        click.echo(f"{path}: {problem} (try '{path} --help')", file=file, err=True)


class Commands(click.Group):
    """The outermost group: wrong use of any command below it ends in one line."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click's."""
        with _in_one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Generator[None]:
    try:
        yield
    except (NoArgsIsHelpError, WrongUse):
        raise  # a group without a command shows its help: that is what was meant
    except click.UsageError as error:
        raise WrongUse(error.format_message(), error.ctx) from None


class Span(click.ParamType[timedelta]):
    """A length of time as people write it: 90s, 15m, 2h, 1d; a bare number is seconds."""

    name = "time"

    def __init__(self, *, some: bool = False) -> None:
        """`some`: nothing at all is none."""
        self._some = some

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """As click's."""
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no length of time; write 90s, 15m, 2h or 1d", param, ctx)
        span = float(found[2]) * _UNITS[found[3] or "s"]
        if found[1] or (self._some and not span):
            self.fail(f"{value!r}: should be {'more than 0' if self._some else '0 or more'}", param, ctx)
        if span > _LONGEST.total_seconds():
            self.fail(f"{value!r} is more than ten years", param, ctx)
        return timedelta(seconds=span)


class Number(click.IntRange):
    """A whole number between two others."""

    name = "number"

    def __init__(self, least: int, most: int | None = None, *, words: str = "") -> None:
        """`words` say which number is meant, after "'x' is no "."""
        super().__init__(least, most)
        self._words = words or f"whole number from {least} to {most}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no {self._words}", param, ctx)


class TimelineId(click.ParamType[str]):
    """What a timeline can be asked for: an id of ours, or a SID of Twilio."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click's."""
        named = str(value).strip()
        if not _NAMED.fullmatch(named):
            self.fail(
                f"{value!r} is no id; write m12 or 12 (a message), t3 (a turn), d9 (a delivery), "
                "or a SID of Twilio (SM and 32 hex digits)",
                param,
                ctx,
            )
        return named


class Person(click.ParamType[str]):
    """Whom an operator means. Ids are opaque: whatever is no blank may be one."""

    name = "person"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click's."""
        if not str(value).strip():
            self.fail("nobody is named; write an address such as whatsapp:+49..., or our number for them", param, ctx)
        return str(value).strip()
