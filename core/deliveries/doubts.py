"""Finds out what became of a doubtful send: it is in the provider's log, or it is sent once more, or given up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from core import metrics
from core.config import TurnSettings
from core.deliveries.settling import Attempt, Settling
from core.delivery import folded
from core.errors import OutsideError
from core.ports import Channel
from core.store import Store

LOOK_AFTER: Final = (timedelta(seconds=5), timedelta(seconds=10))
"""Waits between the first look-ups of a doubtful send: at once, after 5 and after 15 s."""
LOOK_AT: Final = 20
"""How many of the person's newest messages are searched for a doubtful one."""
CLOCKS_DIFFER_BY: Final = timedelta(seconds=60)
RESEND_AT_MOST: Final = 1

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt(Attempt):
    """An attempt of which nobody knows whether the provider took it."""

    lookups: int
    resent_unseen: int
    claimed_at: datetime
    doubted_for: timedelta


class Doubts:
    """Looks up doubtful sends; `push` sends what a settled one has set free."""

    def __init__(
        self,
        *,
        store: Store,
        channels: Mapping[str, Channel],
        settings: TurnSettings,
        settling: Settling,
        push: Callable[[int], None],
    ) -> None:
        self._store = store
        self._channels = channels
        self._settings = settings
        self._settling = settling
        self._push = push

    def claim(self, limit: int) -> Sequence[Doubt]:
        """Takes those whose time has come; others leave them alone for as long as a look-up may take.

        Raises: Transient.
        """
        with self._store.transaction() as transaction:
            return transaction.all(Doubt, "claim_unknown", limit=limit)

    def look_up(self, doubt: Doubt) -> None:
        """Searches the provider's log: found, seen to be missing, or looked for again later. Raises: Transient."""
        try:
            provider_id = self._find(doubt)
        except OutsideError as error:
            _log.warning("look_up_failed", delivery=doubt.delivery_id, reason=error.reason, code=error.code)
            self._again(doubt)
            return
        except Exception:  # noqa: BLE001 - a fault of our own has the same bound: else it would be looked up for ever
            _log.exception("look_up_crashed", delivery=doubt.delivery_id)
            self._again(doubt)
            return
        if provider_id is not None:
            metrics.DOUBTS.labels("found").inc()
            _log.info("doubt_found", delivery=doubt.delivery_id, sid=provider_id)
            self._settling.accept(doubt, provider_id)
        elif doubt.doubted_for < self._settings.ambiguous_wait:
            self._settling.settle("look_again", doubt, wait=self._next_look(doubt))
            return
        elif doubt.resent_unseen < RESEND_AT_MOST:
            metrics.DOUBTS.labels("resent").inc()
            metrics.RESENT_UNSEEN.inc()
            _log.warning("resent_unseen", delivery=doubt.delivery_id)
            self._settling.settle("resend_unseen", doubt)
        else:
            self._give_up(doubt)
        self._push(doubt.conversation_id)

    def _again(self, doubt: Doubt) -> None:
        if doubt.doubted_for > self._settings.retry_max_age:
            self._give_up(doubt)
            self._push(doubt.conversation_id)
        else:
            self._settling.settle("look_again", doubt, wait=LOOK_AFTER[0])

    def _next_look(self, doubt: Doubt) -> timedelta:
        rest = self._settings.ambiguous_wait - doubt.doubted_for
        planned = LOOK_AFTER[doubt.lookups - 1] if doubt.lookups <= len(LOOK_AFTER) else rest
        return max(min(planned, rest), timedelta(milliseconds=200))

    def _give_up(self, doubt: Doubt) -> None:
        metrics.DOUBTS.labels("given_up").inc()
        self._settling.fail(doubt, "unseen")

    def _find(self, doubt: Doubt) -> str | None:
        """The provider's id of a message to the same person with the same text that no delivery of ours has yet."""
        earliest = doubt.claimed_at - CLOCKS_DIFFER_BY
        listed = [
            message
            for message in self._channels[doubt.channel].recent_to(doubt.recipient, limit=LOOK_AT)
            if not message.inbound
            and folded(message.body) == folded(doubt.body)
            and (message.created_at is None or message.created_at >= earliest)
        ]
        if not listed:
            return None
        with self._store.transaction() as transaction:
            known = transaction.values(
                "known_provider_ids", channel=doubt.channel, provider_ids=[message.provider_id for message in listed]
            )
        return next((message.provider_id for message in listed if message.provider_id not in known), None)
