"""The promise, checked from the world's side: what people wrote and received, and what our rows say about it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.chaos.traffic import PREFIX, WORDS, Written

_DELIVERY = re.compile(r"[?&]delivery=(\d+)")
_QUOTED = re.compile(r"“(\d{4}-\d+):")
TELLING = re.compile("|".join(map(re.escape, (PREFIX.removeprefix("+"), "You wrote", *WORDS))))
_INBOUND = b"""
SELECT m.id, m.provider_id AS sid, m.late, m.too_late, m.received_at, m.turn_id, t.outcome, t.reason,
       t.finished_at IS NOT NULL AS finished
FROM messages m LEFT JOIN turns t ON t.id = m.turn_id
WHERE m.direction = 'in'
ORDER BY m.id
"""
_DELIVERIES = b"SELECT id, conversation_id, turn_id, state, resent_unseen, error_code FROM deliveries ORDER BY id"
_QUIET = b"""
SELECT NOT EXISTS (SELECT FROM turns WHERE finished_at IS NULL)
   AND NOT EXISTS (SELECT FROM deliveries WHERE state IN ('waiting', 'sending', 'unknown'))
   AND NOT EXISTS (SELECT FROM messages WHERE direction = 'in' AND turn_id IS NULL AND NOT too_late)
"""
_UNKNOWN = b"""
SELECT count(*) FROM unnest(%s::text[]) AS given (sid)
WHERE NOT EXISTS (SELECT FROM messages m WHERE m.direction = 'in' AND m.provider_id = given.sid)
"""


@dataclass(kw_only=True)
class Breaches:
    """What must not be: each list should be empty. Entries are for a person to look up."""

    lost: list[str] = field(default_factory=list[str])
    """The world knows that a person wrote it, we have no row."""
    unfinished: list[str] = field(default_factory=list[str])
    unanswered: list[str] = field(default_factory=list[str])
    """Counts as answered, but the world has seen no piece of its reply; or recorded as too late within an hour."""
    stored_twice: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    """One delivery seen twice, or one message taken up by two replies. What README does not promise stands here too."""
    foreign: list[str] = field(default_factory=list[str])
    """Sent from our number for no delivery of ours."""
    missing: list[str] = field(default_factory=list[str])
    """Accepted, our rows say; the world has not seen it."""
    out_of_order: list[str] = field(default_factory=list[str])
    out_of_sequence: list[str] = field(default_factory=list[str])
    """Deliveries to one person that the world saw after one that stands behind them."""
    told_in_logs: list[str] = field(default_factory=list[str])
    """Places in our logs that hold a text or an address."""

    def counts(self) -> dict[str, int]:
        """How many of each, by name."""
        return {each.name: len(getattr(self, each.name)) for each in fields(self)}


@dataclass(kw_only=True)
class Verdict:
    """What was found."""

    breaches: Breaches = field(default_factory=Breaches)
    unreachable: Counter[str] = field(default_factory=Counter[str])
    """Deliveries that failed, by code."""
    late: int = 0

    @property
    def good(self) -> bool:
        """Whether the promise held."""
        return not any(self.breaches.counts().values())


def unknown(database_url: str, sids: Sequence[str]) -> int:
    """How many of these messages we have no row for."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_UNKNOWN, [list(sids)]).fetchone()
    return 0 if row is None else int(row[0])


def quiet(database_url: str) -> bool:
    """Whether nothing that we have a row for is under way any more."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_QUIET).fetchone()
    return row is not None and bool(row[0])


def told(logs: Path) -> list[str]:
    """Returns where in the logs of all processes something stands that people wrote, or where they write from."""
    return [
        f"{log.name}: line {number}"
        for log in sorted(logs.glob("*.log"))
        for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if TELLING.search(line)
    ]


def judge(
    database_url: str,
    acknowledged: Mapping[str, Sequence[Written]],
    world: Sequence[Mapping[str, Any]],
    *,
    flushed_at: Sequence[datetime],
) -> Verdict:
    """Compares what people wrote and received with what our rows say.

    `flushed_at`: what Redis forgot then may have come through the door a second time.
    """
    with psycopg.connect(database_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        inbound = cursor.execute(_INBOUND).fetchall()
        deliveries = {row["id"]: row for row in cursor.execute(_DELIVERIES).fetchall()}
    return Judgement(inbound, deliveries, world).pass_on(acknowledged, flushed_at)


class Judgement:
    """Our rows as dictionaries (deliveries by id) beside what the world knows."""

    def __init__(
        self,
        inbound: Sequence[Mapping[str, Any]],
        deliveries: Mapping[int, Mapping[str, Any]],
        world: Sequence[Mapping[str, Any]],
    ) -> None:
        self.verdict = Verdict(late=sum(row["late"] for row in inbound))
        self._breaches = self.verdict.breaches
        self._rows = {row["sid"]: row for row in inbound}
        self._inbound = inbound
        self._deliveries = deliveries
        self._written = [message["sid"] for message in world if message["direction"] == "inbound"]
        self._sent = [message for message in world if message["direction"] != "inbound"]
        self._place_of_turn: dict[int, int] = {}
        self._place_of_tag: dict[str, int] = {}

    def pass_on(self, acknowledged: Mapping[str, Sequence[Written]], flushed_at: Sequence[datetime] = ()) -> Verdict:
        """Returns the verdict."""
        self._judge_sent()
        self._judge_endings()
        self._judge_order(acknowledged, flushed_at)
        return self.verdict

    def _judge_sent(self) -> None:
        """Each reply at most once, each from a delivery of ours, each delivery where the world can see it."""
        copies: dict[int, list[Mapping[str, Any]]] = {}
        for message in self._sent:
            found = _DELIVERY.search(message["status_callback"] or "")
            delivery_id = int(found[1]) if found else 0
            if delivery_id not in self._deliveries:
                self._breaches.foreign.append(message["sid"])
                continue
            copies.setdefault(delivery_id, []).append(message)
            self._place_of_turn.setdefault(self._deliveries[delivery_id]["turn_id"], message["number"])
        for delivery_id, messages in copies.items():
            resent = self._deliveries[delivery_id]["resent_unseen"]
            self._breaches.doubled += [
                f"delivery {delivery_id}: {messages[0]['created_at']}, {copy['created_at']}, resent_unseen {resent}"
                for copy in messages[1:]
            ]
        self._judge_quotations([messages[0] for messages in copies.values()])
        self._judge_sequence({delivery_id: messages[0]["number"] for delivery_id, messages in copies.items()})
        for delivery_id, row in self._deliveries.items():
            if row["state"] == "accepted" and delivery_id not in copies:
                self._breaches.missing.append(f"delivery {delivery_id}")
            if row["state"] == "failed":
                self.verdict.unreachable[row["error_code"]] += 1

    def _judge_quotations(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """The simulated model quotes what it answers: by that alone the world can tell that it was answered twice."""
        for message in sorted(replies, key=lambda message: message["number"]):
            for tag in set(_QUOTED.findall(message["body"])):
                if tag in self._place_of_tag:
                    self._breaches.doubled.append(f"message {tag} is taken up again by {message['sid']}")
                self._place_of_tag.setdefault(tag, message["number"])

    def _judge_sequence(self, places: Mapping[int, int]) -> None:
        """Deliveries to one person go out as they stand, pieces of one reply and replies alike."""
        last: dict[int, int] = {}
        for delivery_id in sorted(places):
            conversation_id = self._deliveries[delivery_id]["conversation_id"]
            if places[delivery_id] < last.get(conversation_id, 0):
                self._breaches.out_of_sequence.append(f"delivery {delivery_id}")
            last[conversation_id] = max(places[delivery_id], last.get(conversation_id, 0))

    def _judge_endings(self) -> None:
        """Each message that the world knows, acknowledged or not, is stored once, finished, and answered visibly."""
        stored = Counter(row["sid"] for row in self._inbound)
        self._breaches.stored_twice += [sid for sid, times in stored.items() if times > 1]
        failed = {row["turn_id"] for row in self._deliveries.values() if row["state"] in ("failed", "cancelled")}
        for sid in self._written:
            row = self._rows.get(sid)
            if row is None:
                self._breaches.lost.append(sid)
            elif row["too_late"]:
                self._breaches.unanswered.append(f"{sid}: too late")
            elif not row["finished"]:
                self._breaches.unfinished.append(sid)
            elif row["turn_id"] not in self._place_of_turn and row["turn_id"] not in failed:
                self._breaches.unanswered.append(f"{sid}: {row['outcome']} {row['reason']}")

    def _judge_order(self, acknowledged: Mapping[str, Sequence[Written]], flushed_at: Sequence[datetime]) -> None:
        """When a webhook began after another had its 200, it is not answered first, nor taken up first in one reply."""
        for written in acknowledged.values():
            placed = list(self._placed(written, flushed_at))
            for place, earlier in placed:
                if any(p < place and later.began > earlier.acknowledged for p, later in placed):
                    self._breaches.out_of_order.append(f"{earlier.tag} {earlier.sid}")

    def _placed(
        self, written: Sequence[Written], flushed_at: Sequence[datetime]
    ) -> Iterator[tuple[tuple[int, int], Written]]:
        """Each message with its place: its reply's in the world, then its own among our rows, as the model saw it.

        Left out is whose order nobody promised.
        """
        for message in written:
            row = self._rows.get(message.sid)
            if row is None or row["late"]:
                continue
            if any(message.began < flush < row["received_at"] for flush in flushed_at):
                continue  # Redis forgot it; Twilio happened to tell it again
            place = self._place_of_tag.get(message.tag) or self._place_of_turn.get(row["turn_id"])
            if place is not None:
                yield (place, row["id"]), message
