"""The promise, checked from both sides: what the world received, and what our rows say."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

_DELIVERY = re.compile(r"[?&]delivery=(\d+)")
_ENDINGS = """
SELECT m.provider_id AS sid, m.id, m.late, t.id AS turn_id, t.outcome, t.finished_at IS NOT NULL AS finished,
       m.id = max(m.id) OVER (PARTITION BY t.id) AS newest
FROM messages m LEFT JOIN turns t ON t.id = m.turn_id
WHERE m.direction = 'in'
"""
_DELIVERIES = """
SELECT d.id, d.turn_id, d.piece, d.state, d.resent_unseen, max(m.id) AS newest_message
FROM deliveries d JOIN messages m ON m.turn_id = d.turn_id AND m.direction = 'in'
GROUP BY d.id
"""


@dataclass
class Verdict:
    """What was found. Everything but the counts should be empty."""

    lost: list[str] = field(default_factory=list[str])
    unfinished: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])
    out_of_order: list[str] = field(default_factory=list[str])
    endings: Counter[str] = field(default_factory=Counter[str])
    resent_unseen: int = 0

    @property
    def good(self) -> bool:
        """Whether the promise held."""
        return not (self.lost or self.unfinished or self.doubled or self.foreign or self.out_of_order)


def settled(database_url: str) -> bool:
    """Whether nothing is under way any more."""
    query = b"""SELECT NOT EXISTS (SELECT FROM turns WHERE finished_at IS NULL)
        AND NOT EXISTS (SELECT FROM deliveries WHERE state IN ('waiting', 'sending', 'unknown'))
        AND NOT EXISTS (SELECT FROM messages WHERE direction = 'in' AND turn_id IS NULL AND NOT too_late)"""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query).fetchone()
    return row is not None and bool(row[0])


def judge(database_url: str, acknowledged: Mapping[str, Sequence[str]], world: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compares what was acknowledged, what the world received and what our rows say."""
    with psycopg.connect(database_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        endings = {row["sid"]: row for row in cursor.execute(_ENDINGS.encode()).fetchall()}
        deliveries = {row["id"]: row for row in cursor.execute(_DELIVERIES.encode()).fetchall()}
    verdict = Verdict(resent_unseen=sum(row["resent_unseen"] for row in deliveries.values()))
    _judge_endings(verdict, acknowledged, endings)
    outbound = [message for message in world if message["direction"] != "inbound"]
    seen = _by_delivery(verdict, outbound, deliveries)
    _judge_order(verdict, acknowledged, endings, deliveries, seen)
    return verdict


def _judge_endings(
    verdict: Verdict, acknowledged: Mapping[str, Sequence[str]], endings: Mapping[str, Mapping[str, Any]]
) -> None:
    for sids in acknowledged.values():
        for sid in sids:
            row = endings.get(sid)
            if row is None:
                verdict.lost.append(sid)
            elif not row["finished"]:
                verdict.unfinished.append(sid)
            else:
                merged = row["outcome"] == "answered" and not row["newest"]
                verdict.endings["merged" if merged else row["outcome"]] += 1


def _by_delivery(
    verdict: Verdict, outbound: Sequence[Mapping[str, Any]], deliveries: Mapping[int, Mapping[str, Any]]
) -> dict[int, int]:
    """Returns delivery > place in the world's order; notes doubled and foreign ones."""
    seen: dict[int, int] = {}
    for message in outbound:
        found = _DELIVERY.search(message["status_callback"] or "")
        delivery_id = int(found[1]) if found else 0
        if delivery_id not in deliveries:
            verdict.foreign.append(message["sid"])
        elif delivery_id in seen:
            verdict.doubled.append(f"delivery {delivery_id} (resent {deliveries[delivery_id]['resent_unseen']})")
        else:
            seen[delivery_id] = message["number"]
    for delivery_id, row in deliveries.items():
        if row["state"] == "accepted" and delivery_id not in seen:
            verdict.lost.append(f"delivery {delivery_id}: accepted, but the world has not seen it")
    return seen


def _judge_order(
    verdict: Verdict,
    acknowledged: Mapping[str, Sequence[str]],
    endings: Mapping[str, Mapping[str, Any]],
    deliveries: Mapping[int, Mapping[str, Any]],
    seen: Mapping[int, int],
) -> None:
    """For each person: as the acknowledgements went, so went the replies."""
    by_turn: dict[int, list[int]] = {}
    for delivery_id, place in seen.items():
        by_turn.setdefault(deliveries[delivery_id]["turn_id"], []).append(place)
    for sids in acknowledged.values():
        latest = -1
        for sid in sids:
            row = endings.get(sid)
            if row is None or row["late"] or row["turn_id"] not in by_turn:
                continue
            first = min(by_turn[row["turn_id"]])
            if first < latest:
                verdict.out_of_order.append(sid)
            latest = max(latest, first)
