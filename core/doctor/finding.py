"""What a check found: how bad it is, of what, and how to mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from core.errors import OutsideError


class Severity(IntEnum):
    """From fine to worse; the worst one of all decides the exit code."""

    GOOD = 0
    RISKY = 1
    """It runs, and may cost money, messages or sleep."""
    BROKEN = 2
    """A service does not answer or cannot be used as it is."""
    WRONG = 3
    """The configuration itself: no process would start, or it would speak to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `what` and `fix` hold no secret and no address of a person."""

    area: str
    subject: str
    severity: Severity
    what: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """Returns one flat object."""
        return {
            "area": self.area,
            "subject": self.subject,
            "severity": self.severity.name.lower(),
            "what": self.what,
            "fix": self.fix,
        }


class Findings:
    """Collects what one area's checks find."""

    def __init__(self, area: str) -> None:
        self.area = area
        self.found: list[Finding] = []

    def good(self, subject: str, what: str) -> None:
        """As it should be."""
        self._add(subject, Severity.GOOD, what, "")

    def risky(self, subject: str, what: str, fix: str) -> None:
        """It runs, and may cost something."""
        self._add(subject, Severity.RISKY, what, fix)

    def broken(self, subject: str, what: str, fix: str) -> None:
        """It cannot be used as it is."""
        self._add(subject, Severity.BROKEN, what, fix)

    def wrong(self, subject: str, what: str, fix: str) -> None:
        """The configuration is wrong."""
        self._add(subject, Severity.WRONG, what, fix)

    def _add(self, subject: str, severity: Severity, what: str, fix: str) -> None:
        self.found.append(Finding(area=self.area, subject=subject, severity=severity, what=what, fix=fix))


def worst(findings: Iterable[Finding]) -> Severity:
    """Returns the highest severity; GOOD where nothing was looked at."""
    return max((finding.severity for finding in findings), default=Severity.GOOD)


def told(error: OutsideError) -> str:
    """An outside error as words: the reason, and the vendor's code where there is one."""
    return f"{error.reason} ({error.code})" if error.code else error.reason
