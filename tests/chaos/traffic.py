"""People who write: mostly one message after the other, sometimes two at once; sometimes Twilio tells one again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
PREFIX = "+15550000"
"""Of all people's numbers."""
AT_ONCE = 0.05
"""How often the next message is written without waiting for the acknowledgement of the one before."""
COMMANDS = 0.03
"""How many messages are a command, which has a turn of its own."""
ON_ITS_HEELS = 0.3
"""How often a message follows within a fifth of a second."""
TOLD_AGAIN = 0.05
"""How often Twilio delivers the webhook of an earlier message once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One acknowledged message: `tag` begins its text (unless that is a command), the simulated model quotes it.

    Its webhook was called after `began`, and had answered before `acknowledged`.
    """

    sid: str
    tag: str
    began: datetime
    acknowledged: datetime


@dataclass
class Traffic:
    """Who wrote what, and when it was acknowledged."""

    acknowledged: dict[str, list[Written]] = field(default_factory=dict[str, list[Written]])
    """By person, in the order of their acknowledgement."""
    refused: list[str] = field(default_factory=list[str])
    """Messages that no webhook call took, after all of Twilio's repeats: only its own log knows them."""
    told_again: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, phone: Phone, *, people: int, messages: int, over_s: float, random: Random) -> None:
        """Returns when every message was sent. Needs a thread a person, and a second one for what is said at once."""
        plans = [
            _Person(
                name=f"{PREFIX}{number:03d}",
                times=_times(random, messages // people, over_s),
                random=Random(random.random()),
            )
            for number in range(people)
        ]
        began = time.monotonic()
        with ThreadPoolExecutor(people) as hands, ThreadPoolExecutor(people) as second_hands:
            for life in [hands.submit(self._live, phone, person, began, second_hands) for person in plans]:
                life.result()

    def _live(self, phone: Phone, person: "_Person", began: float, second_hands: ThreadPoolExecutor) -> None:
        for number, at in enumerate(person.times):
            time.sleep(max(0.0, began + at - time.monotonic()))
            if person.random.random() < TOLD_AGAIN:
                self._tell_again(phone, person)
            tag = f"{person.name[-4:]}-{number}"
            body = "help" if person.random.random() < COMMANDS else f"{tag}: {person.random.choice(WORDS)}"
            if person.random.random() < AT_ONCE:
                second_hands.submit(self._write, phone, person.name, tag, body)
            else:
                self._write(phone, person.name, tag, body)

    def _write(self, phone: Phone, name: str, tag: str, body: str) -> None:
        began = datetime.now(UTC)
        try:
            answer = phone.inbound(name, body)
        except (OSError, Refused):
            return  # the simulator itself was too slow to answer: its log tells what became of it
        written = Written(sid=answer["sid"], tag=tag, began=began, acknowledged=datetime.now(UTC))
        with self._lock:
            if answer["acknowledged"]:
                self.acknowledged.setdefault(name, []).append(written)
            else:
                self.refused.append(written.sid)

    def _tell_again(self, phone: Phone, person: "_Person") -> None:
        """The very same webhook, for whatever reason, after later ones."""
        with self._lock:
            known = list(self.acknowledged.get(person.name, ()))
        if not known:
            return
        with suppress(OSError, Refused):
            phone.inbound(person.name, "", message_sid=person.random.choice(known).sid)
            self.told_again += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Person:
    name: str
    times: list[float]
    random: Random


def _times(random: Random, count: int, over_s: float) -> list[float]:
    """When one person writes: anywhere in that time, and now and then right after the message before."""
    times = sorted(random.random() * over_s for _ in range(count))
    for place in range(1, count):
        if random.random() < ON_ITS_HEELS:
            times[place] = times[place - 1] + random.random() * 0.2
    return sorted(times)


def total(traffic: Traffic) -> int:
    """How many messages were acknowledged."""
    return sum(len(written) for written in traffic.acknowledged.values())
