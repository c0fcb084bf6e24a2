"""People who write: each sends the next message only after the one before was acknowledged."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from deploy.local.loopback import Refused
from deploy.local.phone import Phone

WORDS = (
    "which guitar strings do you like",
    "what novel should i read next",
    "how do i grow my channel",
    "hello again",
    "my boss is unfair to me",
    "any good sci-fi lately",
    "tell me more",
)


@dataclass
class Traffic:
    """Who wrote what, in which order it was acknowledged."""

    acknowledged: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Person > SIDs in the order of their acknowledgement."""
    refused: list[str] = field(default_factory=list[str])
    """Messages that no webhook call took, after all of Twilio's repeats: only its own log knows them."""

    def run(self, phone: Phone, *, people: int, each: int, over_s: float, random: Random) -> None:
        """Returns when every message was sent."""
        names = [f"+1555{number:07d}" for number in range(people)]
        plans = {name: sorted(random.random() * over_s for _ in range(each)) for name in names}
        began, lock = time.monotonic(), threading.Lock()

        def one(name: str) -> None:
            for number, at in enumerate(plans[name]):
                time.sleep(max(0.0, began + at - time.monotonic()))
                body = f"{name[-4:]}-{number}: {WORDS[(number + int(name[-2:])) % len(WORDS)]}"
                self._write(phone, name, body, lock)

        with ThreadPoolExecutor(people) as pool:
            list(pool.map(one, names))

    def _write(self, phone: Phone, name: str, body: str, lock: threading.Lock) -> None:
        try:
            sid, acknowledged = write(phone, name, body)
        except (OSError, Refused):
            return  # the simulator itself was too slow to answer: its log tells what became of it
        with lock:
            if acknowledged:
                self.acknowledged.setdefault(name, []).append(sid)
            else:
                self.refused.append(sid)


def write(phone: Phone, name: str, body: str) -> tuple[str, bool]:
    """Returns the SID, and whether the webhook took it."""
    answer = phone.inbound(name, body)
    return answer["sid"], answer["acknowledged"]


def total(traffic: Traffic) -> int:
    """How many messages were acknowledged."""
    return sum(len(sids) for sids in traffic.acknowledged.values())


def everyone(traffic: Traffic) -> Sequence[str]:
    """All people who got an acknowledgement."""
    return sorted(traffic.acknowledged)
