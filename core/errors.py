"""The kinds of error an outside call can end in; each says what to do next."""

from datetime import timedelta


class ConfigurationError(Exception):
    """The environment or the cast is wrong: nothing starts. `problems` holds one sentence each, name first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class OutsideError(Exception):
    """An outside call did not work. `reason` is a short machine word or code: never a text, never an address."""

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(f"{reason} {code}".strip())
        self.reason = reason
        self.code = code
        """The vendor's own error code where it gave one ("21610", "insufficient_quota")."""


class Transient(OutsideError):
    """Again: the call certainly did nothing. `after` is how long the vendor asks us to wait, where it said so."""

    def __init__(self, reason: str, *, code: str = "", after: timedelta | None = None) -> None:
        super().__init__(reason, code=code)
        self.after = after


class Permanent(OutsideError):
    """Never again: the same call would fail in the same way."""


class Ambiguous(OutsideError):
    """Find out: the call may or may not have been carried out."""
