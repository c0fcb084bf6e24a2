"""Guard: drivers and stand-ins had time left, or they would be what was measured."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.bench.cores import usage
from tests.bench.figures import Figure

SHARE_AT_MOST: Final = 0.8
"""Of its core. Postgres and Redis, which run on the same one, are not watched: every system here waits for them."""
SHORTEST_S: Final = 0.5
"""What is judged at once. The kernel counts CPU time in hundredths of a second: one of them, which fell into two
milliseconds, would be five cores."""


class NotMeasured(Exception):
    """What was measured is worth nothing; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What each has used of its core until then."""

    at: float
    cpu_s: Mapping[str, float]


class Guard:
    """Watches the stand-in and whoever drives, each by itself, while something is measured."""

    def __init__(self, standin_pid: int) -> None:
        self._standin_pid: Final = standin_pid
        self._shares: Final[dict[str, list[float]]] = {}
        self._short: Final[dict[str, tuple[float, float]]] = {}

    def look(self) -> Look:
        """Now: at the stand-in, and at this process, in which most drivers are threads."""
        cpu_s = {"stand-in": usage([self._standin_pid]).cpu_s, "driver": time.process_time()}
        return Look(at=time.monotonic(), cpu_s=cpu_s)

    def judge(self, since: Look, *, drives: bool = True) -> None:
        """Ends what began with that look; without `drives` a process of its own drove, and tells its share itself.

        What was too short is judged together with what comes next.

        Raises: NotMeasured.
        """
        now = self.look()
        for who, cpu_s in now.cpu_s.items():
            if not drives and who == "driver":
                continue
            used_s, lasted_s = self._short.pop(who, (0.0, 0.0))
            used_s, lasted_s = used_s + cpu_s - since.cpu_s[who], lasted_s + now.at - since.at
            if lasted_s < SHORTEST_S:
                self._short[who] = used_s, lasted_s
            else:
                self.tell(who, used_s / lasted_s)

    def tell(self, who: str, share: float) -> None:
        """Takes down what that one used of its core.

        Raises: NotMeasured.
        """
        self._shares.setdefault(who, []).append(share)
        if share > SHARE_AT_MOST:
            raise NotMeasured(f"the {who} used {share:.0%} of its core, and {SHARE_AT_MOST:.0%} is the most")

    @contextmanager
    def watching(self, *, drives: bool = True) -> Generator[None]:
        """Both of the above around what is measured."""
        since = self.look()
        yield
        self.judge(since, drives=drives)

    def rows(self, part: str) -> list[Figure]:
        """The most of its core that each used while it was watched."""
        return [
            Figure(
                name=f"{part}: of its core the {who} used at most",
                unit="%",
                rounds=[100 * max(shares)],
                note=f"fails beyond {100 * SHARE_AT_MOST:g} %; Postgres and Redis share that core, unwatched",
            )
            for who, shares in self._shares.items()
        ]
