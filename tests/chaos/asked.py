"""What the operator's own commands say after it all: `sisters catch-up` and both kinds of `sisters audit`."""

import json
from dataclasses import dataclass, field
from typing import Any

from deploy.local.stack import Stack

NOTHING_OPEN_AFTER = "1s"
"""All has settled by then, so that whatever is still open is stuck."""
_ENDINGS = ("answered", "merged", "refused", "failed", "too_late", "open")
_LISTS = ("stuck", "out_of_order", "lost", "doubled", "foreign", "missing")


class CommandFailed(Exception):
    """A command of ours ended otherwise than with its answer."""


@dataclass(kw_only=True)
class Audit:
    """The answers of both audits; `breaches` counts each list that should be empty, under the command's own names."""

    endings: dict[str, int]
    late: int
    resent_unseen: int
    breaches: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def good(self) -> bool:
        """Whether both say that the promise was kept."""
        return not any(self.breaches.values())


def catch_up(stack: Stack, *, since: str) -> dict[str, int]:
    """Returns what was found. Raises: CommandFailed."""
    code, told = stack.operate("catch-up", "--since", since)
    if code != 0:
        raise CommandFailed(f"sisters catch-up: exit {code}: {told[-300:]}")
    return json.loads(told)


def audit(stack: Stack, *, written: int) -> Audit:
    """Asks both audits. `written`: how many messages people wrote.

    Raises: CommandFailed, also when an exit code belies the answer.
    """
    plain = _ask(stack)
    compared = _ask(stack, "--against-provider", "--since", "1h")
    endings = {name: int(compared[name]) for name in _ENDINGS}
    found = Audit(endings=endings, late=compared["late"], resent_unseen=compared["resent_unseen"])
    found.breaches = {name: len(compared[name]) for name in _LISTS}
    found.breaches["open"] = endings["open"]
    found.breaches["uncounted"] = abs(sum(endings.values()) - written)
    found.breaches["disagreeing"] = sum(plain[name] != compared[name] for name in (*_ENDINGS, "late", "resent_unseen"))
    return found


def _ask(stack: Stack, *more: str) -> dict[str, Any]:
    """Returns one audit's answer."""
    code, told = stack.operate("audit", "--stuck-after", NOTHING_OPEN_AFTER, *more)
    try:
        answer: dict[str, Any] = json.loads(told)
    except ValueError:
        raise CommandFailed(f"sisters audit: exit {code}: {told[-300:]}") from None
    if code != int(any(answer.get(name) for name in _LISTS)):
        raise CommandFailed(f"sisters audit: exit {code} for an answer that says otherwise")
    return answer
