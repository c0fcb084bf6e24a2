"""Which core a process runs on, and how much of it it used: what is measured has one to itself."""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

_available: Final = sorted(os.sched_getaffinity(0))
MEASURED: Final = _available[0]
"""Where the measured process runs."""
OTHERS: Final = _available[-1]
"""Where drivers, stand-ins and servers run; the same on a machine with one core, where no figure is worth much."""


@contextmanager
def pinned(*cores: int) -> Generator[None]:
    """What is started within (by this thread) runs on these cores alone, with all its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def unpinned(pid: int) -> Generator[None]:
    """What that process starts within may run on all cores, with all its children."""
    before = os.sched_getaffinity(pid)
    os.sched_setaffinity(pid, _available)
    try:
        yield
    finally:
        os.sched_setaffinity(pid, before)


def give_way(pid: int, nice: int) -> None:
    """Lets the others go before that session's processes, as the weights of our units and containers do.

    Where the kernel shares time by session first (autogroup), only the session's own nice value counts.
    """
    os.setpriority(os.PRIO_PGRP, pid, nice)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(nice), encoding="ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """User and system time of some processes so far, and the memory that they hold now."""

    cpu_s: float
    rss_bytes: int


def usage(pids: Iterable[int]) -> Usage:
    """Sums over these processes and all their living descendants."""
    cpu_s, rss = 0.0, 0
    for pid in family(pids):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        cpu_s += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        rss += int(fields[21]) * _PAGE_BYTES
    return Usage(cpu_s=cpu_s, rss_bytes=rss)


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all their living descendants."""
    found, todo = list[int](), list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found
