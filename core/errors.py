"""The kinds of error an outside call can end in; each says what to do next."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Self

NOT_MIGRATED: Final = "not_migrated"
"""The reason of a Transient that ends with `sisters migrate`: the database is not of this release."""
EMPTY: Final = "empty"
"""The reason of a Transient: a model answered, and nothing of it shows. Whoever writes can bring that about."""


class ConfigurationError(Exception):
    """The environment or the cast is wrong: nothing starts. `problems` holds one sentence each, name first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What calls used up, whatever came of them."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal = Decimal(0)

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            cost_usd=self.cost_usd + other.cost_usd,
        )


NOTHING: Final = Spent()


class OutsideError(Exception):
    """An outside call did not work. `reason` is a short machine word or code: never a text, never an address."""

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(f"{reason} {code}".strip())
        self.reason = reason
        self.code = code
        """The vendor's own error code where it gave one ("21610", "insufficient_quota")."""
        self.spent = NOTHING
        """An answer that is worth nothing was paid for all the same."""

    def having_spent(self, spent: Spent) -> Self:
        """Returns itself, with what was used up before it came to this."""
        self.spent = spent
        return self


class Transient(OutsideError):
    """Again: the call certainly did nothing. `after` is how long the vendor asks us to wait, where it said so."""

    def __init__(self, reason: str, *, code: str = "", after: timedelta | None = None) -> None:
        super().__init__(reason, code=code)
        self.after = after


class Unreachable(Transient):
    """Again, and told to whoever sits at a terminal: which variable names it, where and why not, what to look at.

    Only `reason` is for a log.
    """

    def __init__(self, reason: str, *, variable: str, what: str, fix: str) -> None:
        super().__init__(reason)
        self.variable = variable
        self.what = what
        self.fix = fix

    @property
    def problem(self) -> str:
        """One line, as problems of the configuration are told: name first, without any password."""
        return f"{self.variable}: {self.what}; {self.fix}"


class Permanent(OutsideError):
    """Never again: the same call would fail in the same way."""


class Ambiguous(OutsideError):
    """Find out: the call may or may not have been carried out."""


def reason_of(error: Exception, said: str) -> str:
    """Returns what a driver said as the middle of a sentence ("connection refused"); its kind where it said nothing."""
    reason = said or type(error).__name__
    return reason[:1].lower() + reason[1:] if reason[1:2].islower() else reason
