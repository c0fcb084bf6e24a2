"""The running system as tests see it."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.stack import Stack

SHORTEST_TELLING = 12
"""A line of a message that is shorter may stand in a log by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Everything that runs, and what a test asks of it."""

    stack: Stack
    postgres: Postgres
    redis: Redis
    logs: Path

    def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.postgres.url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), params).fetchall()

    def wait_until(self, done: Callable[[], bool], *, within_s: float, what: str) -> None:
        end = time.monotonic() + within_s
        while not done():
            self.stack.processes.check()
            assert time.monotonic() < end, f"not within {within_s} s: {what}"
            time.sleep(0.1)

    def wait_for_replies(self, person: str, count: int, *, within_s: float = 30) -> list[str]:
        """Returns the texts of that person's replies once there are as many."""
        phone = self.stack.phone
        self.wait_until(lambda: len(phone.replies(person)) >= count, within_s=within_s, what=f"{count} replies")
        return [reply["body"] for reply in phone.replies(person)]

    def told_in_logs(self) -> list[str]:
        """Returns each text and address of any message that stands in a log, with the name of the log."""
        messages = self.stack.phone.messages()
        lines = {line for m in messages for line in m["body"].splitlines() if len(line) >= SHORTEST_TELLING}
        names = {m["profile_name"] for m in messages if m["profile_name"]}
        digits = {re.sub(r"\D", "", m[side]) for m in messages for side in ("from", "to")}
        secrets = lines | names | digits
        return [
            f"{log.name}: {secret}"
            for log in sorted(self.logs.glob("*.log"))
            for text in [log.read_text(encoding="utf-8", errors="replace")]
            for secret in secrets
            if secret in text
        ]
