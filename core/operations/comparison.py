"""Our rows against the provider's own message log, both ways: what never came in, and what went out that should not."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from core.delivery import FAILURES, folded
from core.errors import Permanent
from core.model import Unreadable, load_inbound
from core.operations.audit import STUCK_AFTER, Stuck
from core.ports import Inboxes, MessageLog, ProviderMessage
from core.store import Store

PAGE: Final = 1000
"""Messages compared at a time."""
ON_ITS_WAY: Final = timedelta(seconds=15)
"""What Twilio logged may reach us so much later. Source: Twilio docs as of 2026-11, longest timeout of a webhook."""
CLOCKS_DIFFER_BY: Final = timedelta(minutes=1)
SENT_WITHIN: Final = timedelta(days=1)
"""Between the making of a delivery and its last attempt: bounds the search for where an unknown message came from."""
INBOXES_AT_MOST: Final = 100_000
_ENTRIES_AT_MOST: Final = 10_000
_NO_SUCH_MESSAGE: Final = frozenset({"20404", "404"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The provider's ids of what does not fit.

    `lost`: came in there, no row here, not erased, not waiting in Redis. `doubled`: one more message for a delivery
    that has another. `foreign`: sent from our number for no delivery of ours. `missing`: a delivery claims acceptance
    and the provider does not know it. `waiting`: still in Redis after longer than a message may be open.
    """

    lost: Sequence[str]
    doubled: Sequence[str]
    foreign: Sequence[str]
    missing: Sequence[str]
    waiting: Sequence[Stuck]

    @property
    def good(self) -> bool:
        """Whether both sides agree."""
        return not (self.lost or self.doubled or self.foreign or self.missing or self.waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    delivery_id: int
    provider_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Former:
    provider_id: str
    sent_anew: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    delivery_id: int
    provider_id: str | None
    body: str
    named: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    first: int | None
    last: int | None


@dataclass(slots=True, kw_only=True)
class _Found:
    """What a walk through the log has found so far."""

    unknown_inbound: dict[str, datetime | None] = field(default_factory=dict[str, "datetime | None"])
    doubled: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])
    settling: set[int] = field(default_factory=set[int])
    """Deliveries without an id yet, each of which explains one message in the log."""


class Comparer:
    """Compares one number of ours on one channel. Memory: a page of the log, a byte a delivery, and what is wrong."""

    def __init__(
        self,
        *,
        store: Store,
        log: MessageLog,
        inboxes: Inboxes,
        channel: str,
        number: str,
        page: int = PAGE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._log = log
        self._inboxes = inboxes
        self._channel = channel
        self._number = number
        self._page = page
        self._sleep = sleep

    def compare(self, since: datetime, *, stuck_after: timedelta = STUCK_AFTER) -> Comparison:
        """Returns what does not fit from `since` until now. What is only on its way is waited for, 15 s at most.

        Raises: Transient, Permanent (the provider refuses us).
        """
        now = datetime.now(UTC)
        span = self._span(since, now)
        # One byte a delivery of that time, set once the log shows it.
        shown = bytearray(0 if span is None else span[1] - span[0] + 1)
        found = _Found()
        for page in _pages(self._log.log(since, now + CLOCKS_DIFFER_BY), self._page):
            for delivery_id in self._judge(page, found):
                if span is not None and span[0] <= delivery_id <= span[1]:
                    shown[delivery_id - span[0]] = 1
        lost, waiting = self._lost(found.unknown_inbound, stuck_after)
        missing = [] if span is None else list(self._missing(since, now, span, shown))
        return Comparison(lost=lost, doubled=found.doubled, foreign=found.foreign, missing=missing, waiting=waiting)

    def _judge(self, page: Sequence[ProviderMessage], found: _Found) -> list[int]:
        """Notes what is unknown on one page; returns the deliveries that it shows. Other numbers are not ours."""
        came = {m.provider_id: m.created_at for m in page if m.inbound and m.recipient == self._number}
        went = {m.provider_id: m for m in page if not m.inbound and m.sender == self._number}
        with self._store.transaction() as transaction:
            unknown: list[str] = transaction.values("unknown_inbound", channel=self._channel, provider_ids=list(came))
            ours = transaction.all(_Known, "deliveries_by_provider_id", channel=self._channel, provider_ids=list(went))
            others = list(went.keys() - {known.provider_id for known in ours})
            former = transaction.all(_Former, "deliveries_by_former_id", channel=self._channel, provider_ids=others)
            erased: list[str] = transaction.values("erased_provider_ids", channel=self._channel, provider_ids=others)
        found.unknown_inbound |= {provider_id: came[provider_id] for provider_id in unknown}
        # Sent anew because it was reported failed: one too many only if it went out all the same.
        found.doubled += [f.provider_id for f in former if f.sent_anew and went[f.provider_id].status not in FAILURES]
        for provider_id in sorted(set(others) - set(erased) - {f.provider_id for f in former}):
            self._judge_outbound(went[provider_id], found)
        return [known.delivery_id for known in ours]

    def _judge_outbound(self, message: ProviderMessage, found: _Found) -> None:
        """Finds out which delivery a message that no delivery knows may have come from."""
        at = message.created_at or datetime.now(UTC)
        with self._store.transaction() as transaction:
            origins = transaction.all(
                _Origin,
                "possible_origins",
                channel=self._channel,
                provider_id=message.provider_id,
                recipient=message.recipient,
                earliest=at - SENT_WITHIN,
                latest=at + CLOCKS_DIFFER_BY,
            )
        body = folded(message.body)
        origins = [origin for origin in origins if origin.named or folded(origin.body) == body]
        if any(origin.provider_id == message.provider_id for origin in origins):
            return  # accepted and stored while we looked
        for origin in origins:
            if origin.provider_id is None and origin.delivery_id not in found.settling:
                found.settling.add(origin.delivery_id)
                return
        if not origins:
            found.foreign.append(message.provider_id)
        elif message.status not in FAILURES:  # what failed was not seen by anybody and may be sent again
            found.doubled.append(message.provider_id)

    def _lost(self, unknown: dict[str, datetime | None], stuck_after: timedelta) -> tuple[list[str], list[Stuck]]:
        """Those that stay unknown: neither in Redis nor stored by now. The young ones get time to arrive."""
        left, waiting = self._still_unknown(unknown)
        patience = ON_ITS_WAY
        while patience > timedelta(0) and any(_young(unknown[provider_id]) for provider_id in left):
            self._sleep(1)
            patience -= timedelta(seconds=1)
            left, waiting = self._still_unknown(unknown)
        now = datetime.now(UTC)
        return sorted(left), [stuck for stuck in waiting if now - stuck.since > stuck_after]

    def _still_unknown(self, unknown: dict[str, datetime | None]) -> tuple[list[str], list[Stuck]]:
        """Redis first: an entry leaves it only once it is stored, so none can be missed in between."""
        if not unknown:
            return [], []
        waiting = {stuck.sid: stuck for stuck in self._in_redis() if stuck.sid in unknown}
        rest = [provider_id for provider_id in unknown if provider_id not in waiting]
        with self._store.transaction() as transaction:
            left = transaction.values("unknown_inbound", channel=self._channel, provider_ids=rest)
        return left, list(waiting.values())

    def _in_redis(self) -> Iterator[Stuck]:
        for person in self._inboxes.waiting(older_than=timedelta(0), limit=INBOXES_AT_MOST):
            for entry in self._inboxes.read(person, limit=_ENTRIES_AT_MOST).entries:
                try:
                    message = load_inbound(entry)
                except Unreadable:
                    continue
                if message.channel == self._channel:
                    yield Stuck(id=None, sid=message.provider_id, phase="inbox", since=message.received_at)

    def _span(self, since: datetime, until: datetime) -> tuple[int, int] | None:
        """The lowest and the highest id of the deliveries accepted in that time."""
        with self._store.transaction() as transaction:
            span = transaction.one(_Span, "accepted_span", since=since, until=until)
        return None if span is None or span.first is None or span.last is None else (span.first, span.last)

    def _missing(self, since: datetime, until: datetime, span: tuple[int, int], shown: bytearray) -> Iterator[str]:
        """Asks by id for each that the log did not show: that goes by the date of sending, which may be yet to come."""
        after = span[0] - 1
        while True:
            with self._store.transaction() as transaction:
                page = transaction.all(
                    _Known,
                    "accepted_between",
                    channel=self._channel,
                    sender=self._number,
                    since=since,
                    until=until,
                    after=after,
                    last=span[1],
                    limit=self._page,
                )
            for known in page:
                if not shown[known.delivery_id - span[0]] and not self._exists(known.provider_id):
                    yield known.provider_id
            if len(page) < self._page:
                return
            after = page[-1].delivery_id

    def _exists(self, provider_id: str) -> bool:
        try:
            self._log.fetch(provider_id)
        except Permanent as error:
            if error.code in _NO_SUCH_MESSAGE:
                return False
            raise
        return True


def _young(created_at: datetime | None) -> bool:
    return created_at is not None and datetime.now(UTC) - created_at < ON_ITS_WAY


def _pages(messages: Iterable[ProviderMessage], size: int) -> Iterator[Sequence[ProviderMessage]]:
    rest = iter(messages)
    while page := list(islice(rest, size)):
        yield page
