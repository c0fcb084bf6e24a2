"""Erasing a person: every row and every waiting entry; hashes of the provider's ids stay, so that none comes back."""

from collections.abc import Sequence

import structlog

from core.model import InboundMessage, Unreadable, load_inbound
from core.ports import Inboxes
from core.store import Store, Transaction

_log = structlog.stdlib.get_logger(__name__)


class Eraser:
    """Erases people who asked for it in the chat, and those whom an operator names."""

    def __init__(self, *, store: Store, inboxes: Inboxes) -> None:
        self._store = store
        self._inboxes = inboxes

    def erase_settled(self) -> int:
        """Erases those who sent DELETE twice and whose farewell is settled; returns how many.

        Their ids name nobody since the second DELETE, so what they write meanwhile belongs to a new person.
        Raises: Transient when Postgres is away.
        """
        with self._store.transaction() as transaction:
            people = transaction.values("people_to_erase")
            for person_id in people:
                _erase(transaction, person_id)
        if people:
            _log.info("people_erased", count=len(people))
        return len(people)

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
    for statement in ("remember_erased", "erase_reports", "erase_person"):
        transaction.run(statement, person_id=person_id)
