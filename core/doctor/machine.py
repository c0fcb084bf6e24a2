"""The machine we are on: its clock beside others', and room on its disk."""

import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from core.doctor.finding import Findings

AREA: Final = "machine"
_CLOCKS_MAY_DIFFER_BY: Final = timedelta(seconds=2)
"""The order of one person's messages is fixed by Redis, not by clocks; times that people read come from several."""
_CLOCK_IS_WRONG: Final = timedelta(seconds=30)
"""Beyond this a doubtful send is looked for at the wrong time in Twilio's log (it allows 60 s)."""
_ROOM: Final = 1_000_000_000
_LITTLE_ROOM: Final = 100_000_000
_LITTLE_MEMORY: Final = 10_000_000
"""Of a file system in memory, which is small on purpose."""
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def weigh_clock(findings: Findings, subject: str, theirs: datetime, whose: str) -> None:
    """Compares a moment that another clock told just now with our own."""
    apart = abs(datetime.now(UTC) - theirs)
    seconds = f"{apart.total_seconds():.1f} s"
    if apart <= _CLOCKS_MAY_DIFFER_BY:
        findings.good(subject, f"agrees with {whose}'s")
    elif apart <= _CLOCK_IS_WRONG:
        findings.risky(
            subject, f"ours and {whose}'s differ by {seconds}", "keep both by NTP (systemd-timesyncd, chrony)"
        )
    else:
        findings.broken(subject, f"ours and {whose}'s differ by {seconds}", "set the clock; keep it by NTP")


def check(*, places: Sequence[Path] | None = None, mounts: Path = Path("/proc/self/mounts")) -> Findings:
    """Returns how much room there is where we run, on the system's disk, and for temporary files.

    gunicorn and the metrics of several processes write some of these. In a container or under systemd they are mostly
    kept in memory: that is no disk, and a disk beside it may be full.
    """
    findings, seen = Findings(AREA), set[int]()
    for place in places or (Path.cwd(), Path("/"), Path(tempfile.gettempdir())):
        if (device := place.stat().st_dev) not in seen:
            seen.add(device)
            _weigh_room(findings, place, in_memory=_kind(place, mounts) in _IN_MEMORY)
    return findings


def _weigh_room(findings: Findings, place: Path, *, in_memory: bool) -> None:
    free = shutil.disk_usage(place).free
    subject, where = ("memory", f"in {place}, which is in memory") if in_memory else ("disk", f"in {place}")
    text = f"{free / 1_000_000_000:.1f} GB free {where}" if free >= _ROOM else f"{free / 1_000_000:.0f} MB free {where}"
    if free < (_LITTLE_MEMORY if in_memory else _LITTLE_ROOM):
        findings.broken(subject, text, "make room")
    elif free < _ROOM and not in_memory:
        findings.risky(subject, text, "make room")
    else:
        findings.good(subject, text)


def _kind(place: Path, mounts: Path) -> str:
    """Returns the kind of file system that a place is on; "" where no such list of mounts is kept."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounted = {point: kind for _, point, kind, *_ in map(str.split, lines)}  # of two at one point the later lies on top
    resolved = place.resolve()
    return next((mounted[at] for each in (resolved, *resolved.parents) if (at := str(each)) in mounted), "")
