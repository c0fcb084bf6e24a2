"""The calls on the wire, both ways: the newest of them whole, all of them counted."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

CALL_BYTES: Final = 16_000
"""How much of a body the wire log keeps: a prompt with its history fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call on the wire: `direction` is "in" for a call to us, "out" for a webhook of ours."""

    at: datetime
    direction: Literal["in", "out"]
    endpoint: str
    method: str
    path: str
    status: int
    """0 when the connection was cut or nobody answered."""
    took_ms: float
    request: bytes = b""
    answer: bytes = b""
    request_bytes: int = 0
    answer_bytes: int = 0
    """Their true sizes."""
    request_type: str = ""
    answer_type: str = ""
    fault: str = ""
    about: str = ""
    """The message that it is about."""
    attempt: int = 0
    signature: str = ""
    signature_ok: bool = True
    """Of a webhook: whether its signature fits; of a call to us: whether the credentials were right."""


@dataclass(slots=True, kw_only=True)
class Calls:
    """The newest calls, in number and in bytes, and counts of all since the last clearing."""

    kept: int
    bytes_kept: int = 32 * 1024 * 1024
    watcher: Callable[[int, Call], None] = lambda _number, _call: None
    """Is told of each call."""
    recent: deque[tuple[int, Call]] = field(init=False, default_factory=deque[tuple[int, Call]])
    """With their numbers, which are never given twice."""
    counts: Counter[str] = field(init=False, default_factory=Counter[str])
    """By "endpoint status"."""
    faults: Counter[str] = field(init=False, default_factory=Counter[str])
    """By "endpoint fault"."""
    _number: int = field(init=False, default=0)
    _bytes: int = field(init=False, default=0)

    def add(self, call: Call) -> None:
        """Notes a call."""
        self._number += 1
        self.recent.append((self._number, call))
        self._bytes += _size(call)
        while len(self.recent) > self.kept or (self._bytes > self.bytes_kept and len(self.recent) > 1):
            self._bytes -= _size(self.recent.popleft()[1])
        self.counts[f"{call.endpoint} {call.status}"] += 1
        if call.fault:
            self.faults[f"{call.endpoint} {call.fault}"] += 1
        self.watcher(self._number, call)

    def clear(self) -> None:
        """Forgets them all."""
        self.recent.clear()
        self._bytes = 0
        self.counts.clear()
        self.faults.clear()


def _size(call: Call) -> int:
    return len(call.request) + len(call.answer)
