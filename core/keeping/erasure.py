"""Erasing a person: every row and every waiting entry; hashes of the provider's ids stay, so that none comes back."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from core.errors import Transient
from core.model import InboundMessage, Unreadable, load_inbound
from core.ports import Inboxes
from core.store import Store, Transaction

AGAIN_AFTER: Final = timedelta(minutes=10)
"""For one who could not be erased: meanwhile there is nothing to be told each second."""
_ABOUT_ONE: Final = ("57014", "55P03", "40P01")
"""Too slow, locked for too long, a deadlock: that says nothing of Postgres. Source: PostgreSQL docs, appendix A."""

_log = structlog.stdlib.get_logger(__name__)


class Eraser:
    """Erases people who asked for it in the chat, and those whom an operator names."""

    def __init__(self, *, store: Store, inboxes: Inboxes) -> None:
        self._store = store
        self._inboxes = inboxes
        self._failed: dict[int, float] = {}
        """Until when we leave those alone who could not be erased, by our own clock."""

    def erase_settled(self) -> int:
        """Erases those who sent DELETE twice and whose farewell is settled; returns how many.

        Their ids name nobody since the second DELETE, so what they write meanwhile belongs to a new person. One who
        cannot be erased stops no other, and waits to be tried again. Raises: Transient when Postgres is away.
        """
        self._failed = {person_id: until for person_id, until in self._failed.items() if until > time.monotonic()}
        with self._store.alone() as statement:
            people = statement.values("people_to_erase", but=list(self._failed))
        erased = sum(self._erased(person_id) for person_id in people)
        if erased:
            _log.info("people_erased", count=erased)
        return erased

    def _erased(self, person_id: int) -> bool:
        """Whether that person is erased, by us and now."""
        try:
            with self._store.transaction() as transaction:
                if transaction.value("lock_to_erase", person_id=person_id) is None:
                    return False
                _erase(transaction, person_id)
        except Transient as error:
            if error.code not in _ABOUT_ONE:
                raise
            _log.error("person_not_erased", person=person_id, code=error.code)
        except Exception:  # noqa: BLE001 - whatever is wrong with one history
            _log.exception("person_not_erased", person=person_id)
        else:
            return True
        self._failed[person_id] = time.monotonic() + AGAIN_AFTER.total_seconds()
        return False

    def forget(self, name: str) -> bool:
        """Erases a person named by an address or by our own number for them; returns whether there was one.

        With them go the dead letters of their inboxes, also where nothing else of them could ever be stored.
        Raises: Transient when Postgres or Redis is away: the rows stand then, and it is to be repeated.
        """
        with self._store.transaction() as transaction:
            ids: set[str] = {name, f"whatsapp:{name}"}
            people = transaction.values("people_called", name=name)
            for person_id in people:
                ids.update(transaction.values("ids_of_person", person_id=person_id))
                _erase(transaction, person_id)
            forgotten = self._inboxes.forget(sorted(ids))
            letters = transaction.run("erase_dead_letters", persons=forgotten.persons)
            never_stored = _readable(forgotten.entries)
            transaction.run(
                "remember_never_stored",
                channels=[message.channel for message in never_stored],
                provider_ids=[message.provider_id for message in never_stored],
            )
        return bool(people or letters or forgotten.entries)


def _readable(entries: Sequence[bytes]) -> list[InboundMessage]:
    messages: list[InboundMessage] = []
    for entry in entries:
        try:
            messages.append(load_inbound(entry))
        except Unreadable:
            continue
    return messages


def _erase(transaction: Transaction, person_id: int) -> None:
    transaction.run("take_time_to_erase")
    for statement in ("remember_erased", "erase_reports", "erase_person"):
        transaction.run(statement, person_id=person_id)
