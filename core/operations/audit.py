"""The proof of the promise: recounts how each inbound message ended, from what was stored, sent and reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from core.delivery import FAILURES
from core.keeping.upkeep import SILENT_AFTER
from core.store import Store
from core.turns.rows import NOTICE_AGAIN_AFTER

STUCK_AFTER: Final = timedelta(seconds=120)
LIST_AT_MOST: Final = 1000
"""Entries of one list in the answer; the counts are always complete."""
DOOR_TAKES: Final = timedelta(seconds=1)
"""Messages less apart were at the door at once: only then may the one that began later be stored first."""
_A_TURN_TAKES: Final = timedelta(minutes=10)
"""Between looking whether a notice covers a failure and storing that: more than TURN_DEADLINE_S is likely to be."""

Ending = Literal["answered", "merged", "refused", "failed", "too_late", "open"]
ENDINGS: Final[tuple[Ending, ...]] = ("answered", "merged", "refused", "failed", "too_late", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A message that is open for too long. `id` is None for one that waits in Redis; `since` is when we had it.

    Phases: inbox (in Redis), stored (no turn has it), claimed (a worker thinks), postponed (nobody holds the turn);
    waiting, sending, unknown (a piece of its reply); unproven (a finished turn that no delivery bears out).
    """

    id: int | None
    sid: str
    phase: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """Every inbound message by its one ending, and what is wrong; `out_of_order` holds our ids of overtaken ones."""

    endings: Mapping[Ending, int]
    late: int
    resent_unseen: int
    stuck: Sequence[Stuck]
    out_of_order: Sequence[int]

    @property
    def good(self) -> bool:
        """Whether nothing is stuck and nobody was overtaken."""
        return not self.stuck and not self.out_of_order


@dataclass(frozen=True, slots=True, kw_only=True)
class _EndingRow:
    ending: Ending
    messages: int
    late: int
    stuck: list[dict[str, Any]]


def recount(store: Store, *, stuck_after: timedelta = STUCK_AFTER) -> Recount:
    """Returns the endings as of one moment. Reads every row: minutes with many millions of them.

    A message is answered only when its turn says so, every piece of the reply has the provider's id and none was
    reported failed. It is stuck when it is open for longer than `stuck_after`, no row plans another attempt, and no
    living worker is making one. Raises: Transient.
    """
    with store.transaction() as transaction:
        transaction.run("one_snapshot")
        transaction.run("take_time")
        rows = transaction.all(
            _EndingRow,
            "recount_endings",
            failures=sorted(FAILURES),
            notice_covers=NOTICE_AGAIN_AFTER + _A_TURN_TAKES,
            stuck_after=stuck_after,
            alive=SILENT_AFTER,
            list_at_most=LIST_AT_MOST,
        )
        resent_unseen: int = transaction.value("count_resent_unseen")
        overtaken: list[int] = transaction.values("list_out_of_order", door_takes=DOOR_TAKES, list_at_most=LIST_AT_MOST)
    counted = {row.ending: row.messages for row in rows}
    return Recount(
        endings={ending: counted.get(ending, 0) for ending in ENDINGS},
        late=sum(row.late for row in rows),
        resent_unseen=resent_unseen,
        stuck=[
            Stuck(id=it["id"], sid=it["sid"], phase=it["phase"], since=datetime.fromisoformat(it["since"]))
            for row in rows
            for it in row.stuck
        ],
        out_of_order=overtaken,
    )
