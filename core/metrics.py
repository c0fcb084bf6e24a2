"""What a worker counts, and what it knows of Redis, the broker and Postgres from its last look at them.

No label holds a person, an address or an id; every label has few values. What is counted in a transaction that is then
rolled back is counted again when it is repeated.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

STORED: Final = Counter("sisters_messages_stored", "Messages copied from an inbox into Postgres")
DEAD_LETTERS: Final = Counter("sisters_dead_letters_buried", "Entries of Redis that could not be read", ["source"])

TURNS: Final = Counter(
    "sisters_turns",
    "Runs of a turn, by how they ended: answered, refused, failed; postponed, superseded, lost, crashed",
    ["outcome"],
)
TURN_SECONDS: Final = Histogram(
    "sisters_turn_seconds",
    "From when an answer was owed until the reply was stored",
    ["outcome"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 15, 30, 60, 120, 600, 3600),
)
TURN_RETRIES: Final = Counter("sisters_turn_retries", "Turns put off until another attempt", ["reason"])
HANDED_BACK: Final = Counter("sisters_turns_handed_back", "Turns given back by this worker when it stopped")
TAKEN_OVER: Final = Counter("sisters_taken_over", "Taken from workers that fell silent", ["what"])
IN_FLIGHT: Final = Gauge("sisters_turns_in_flight", "Turns that run in this worker")
PLACES: Final = Gauge("sisters_turns_at_once", "Turns that this worker runs at most")

SENDS: Final = Counter(
    "sisters_sends",
    "Calls that send a piece, by how they ended: accepted, again, failed, doubtful, rests, expired",
    ["outcome", "code"],
)
SEND_SECONDS: Final = Histogram(
    "sisters_send_seconds",
    "One call that sends a piece",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DOUBTS: Final = Counter("sisters_doubts_settled", "Doubtful sends, by what was found: found, resent, given_up", ["end"])
RESENT_UNSEEN: Final = Counter("sisters_resent_unseen", "Doubtful sends that were nowhere to be seen, sent once more")
SENT_ANEW: Final = Counter("sisters_sent_anew", "Pieces reported failed that go once more", ["code"])
SENT_TWICE: Final = Counter("sisters_sent_twice", "Pieces that went anew though the first went out after all")
SENDER_PAUSES: Final = Counter("sisters_sender_pauses", "Times that our number was told to rest", ["code"])
REPORTS_APPLIED: Final = Counter("sisters_reports_applied", "Status reports that changed a delivery", ["status"])
REPORTED_FAILURES: Final = Counter("sisters_reported_failures", "Pieces that were reported failed", ["code"])

CAUGHT_UP: Final = Counter("sisters_catch_up_messages", "Messages that only the provider's log told us of", ["fate"])
# Told as 0 before the first of them: what is born at 1 has not risen, for whoever asks how fast it rises.
for _outcome in ("answered", "refused", "failed", "postponed", "superseded", "lost", "crashed"):
    TURNS.labels(_outcome)
for _fate in ("late", "too_late", "failed"):
    CAUGHT_UP.labels(_fate)

CATCH_UPS: Final = Counter("sisters_catch_ups", "Readings of the provider's log: done, cut_off, failed", ["end"])
for _end in ("done", "cut_off", "failed"):
    CATCH_UPS.labels(_end)
DUTY_FAILING: Final = Gauge("sisters_duty_failing", "1 while a duty of this worker cannot be done", ["duty"])

CODES_AT_MOST: Final = 100
_CODE: Final = re.compile(r"\d{3,6}", re.ASCII)


class Codes:
    """A vendor's error codes as labels: as many as a vendor is likely to use, and no more."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def label(self, code: str) -> str:
        """The code; "none" without one, "other" for what looks like no code or is one too many."""
        if not code:
            return "none"
        with self._lock:
            if code not in self._known:
                if not _CODE.fullmatch(code) or len(self._known) >= CODES_AT_MOST:
                    return "other"
                self._known.add(code)
        return code


code_label: Final = Codes().label


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One gauge as it was seen: a value, or one for each value of its label."""

    name: str
    help: str
    value: float | Mapping[str, float]
    label: str = ""


class Levels(Collector):
    """What the last look at each service showed. A service that was not seen for a while is not told of at all."""

    def __init__(self, *, good_for: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._good_for = good_for
        self._clock = clock
        self._seen: dict[str, tuple[float, Sequence[Level]]] = {}

    def saw(self, service: str, levels: Sequence[Level]) -> None:
        """Keeps what was seen just now."""
        self._seen[service] = (self._clock(), levels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For a scrape; asks nobody."""
        now = self._clock()
        for at, levels in tuple(self._seen.values()):
            if now - at > self._good_for.total_seconds():
                continue
            for level in levels:
                values = level.value if isinstance(level.value, Mapping) else {"": level.value}
                family = GaugeMetricFamily(level.name, level.help, labels=[level.label] if level.label else [])
                for label, value in values.items():
                    family.add_metric([label] if level.label else [], value)
                yield family
