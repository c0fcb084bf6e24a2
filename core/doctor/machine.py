"""The machine we are on: its clock beside others', and room on its disk."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Final

from core.doctor.finding import Findings

AREA: Final = "machine"
_CLOCKS_MAY_DIFFER_BY: Final = timedelta(seconds=2)
"""The order of one person's messages is fixed by Redis, not by clocks; times that people read come from several."""
_CLOCK_IS_WRONG: Final = timedelta(seconds=30)
"""Beyond this a doubtful send is looked for at the wrong time in Twilio's log (it allows 60 s)."""
_ROOM: Final = 1_000_000_000
_LITTLE_ROOM: Final = 100_000_000


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


def check() -> Findings:
    """Returns how much room there is for temporary files: gunicorn and the metrics of several processes write some."""
    findings = Findings(AREA)
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    text = f"{free / 1_000_000_000:.1f} GB free in {place}"
    if free < _LITTLE_ROOM:
        findings.broken("disk", text, "make room")
    elif free < _ROOM:
        findings.risky("disk", text, "make room")
    else:
        findings.good("disk", text)
    return findings
