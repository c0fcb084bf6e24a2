"""Dead letters: what could not be read, for a person to look at, to put back into its list, or to drop."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, cast

from core.model import Unreadable, dump_inbound, load_inbound
from core.ports import Inboxes
from core.store import Store

PAGE: Final = 500
_LARGEST_ID: Final = 2**63 - 1

Fate = Literal["done", "unknown", "no_place"]
"""What became of an order: carried out; no such letter (any more); nobody knows which list it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A dead letter without its payload. `source` is the list it came from: inbox or reports."""

    id: int
    source: str
    reason: str
    created_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter. `person` is the key of the inbox it came from, where that is known."""

    id: int
    source: str
    person: str | None
    reason: str
    created_at: datetime
    payload: bytes


class DeadLetters:
    """Any number of operators may work at once: each letter is put back or dropped by one of them."""

    def __init__(self, *, store: Store, inboxes: Inboxes, person_key: Callable[[str], str]) -> None:
        self._store = store
        self._inboxes = inboxes
        self._person_key = person_key

    def all(self) -> Iterator[Listed]:
        """Yields every letter, oldest first, read page by page. Raises: Transient."""
        after = 0
        while True:
            with self._store.transaction() as transaction:
                page = transaction.all(Listed, "list_dead_letters", after=after, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].id

    def read(self, letter_id: int) -> DeadLetter | None:
        """Raises: Transient."""
        if not 0 < letter_id <= _LARGEST_ID:
            return None
        with self._store.transaction() as transaction:
            return transaction.one(DeadLetter, "read_dead_letter", id=letter_id)

    def replay(self, letter_id: int) -> Fate:
        """Puts the payload back into its list in Redis and removes the row, or changes nothing.

        A failure between the two leaves the row: put back twice, it is still stored and told once. What this release
        can read is marked late: it lost its place in the order. Raises: Transient.
        """
        if not 0 < letter_id <= _LARGEST_ID:
            return "unknown"
        with self._store.transaction() as transaction:
            letter = transaction.one(DeadLetter, "hold_dead_letter", id=letter_id)
            if letter is None:
                return "unknown"
            if not self._put_back(letter):
                return "no_place"
            transaction.run("drop_dead_letter", id=letter_id)
        return "done"

    def drop(self, letter_id: int) -> Fate:
        """Removes the row. Raises: Transient."""
        if not 0 < letter_id <= _LARGEST_ID:
            return "unknown"
        with self._store.transaction() as transaction:
            return "done" if transaction.run("drop_dead_letter", id=letter_id) else "unknown"

    def _put_back(self, letter: DeadLetter) -> bool:
        """Returns False when nobody knows where it belongs."""
        if letter.source == "reports":
            self._inboxes.put_back_report(letter.payload)
            return True
        if letter.source != "inbox":
            return False
        person, payload = letter.person, letter.payload
        try:
            message = load_inbound(payload)
        except Unreadable:
            pass  # put back as it is: the workers may be of a newer release than this command
        else:
            payload = dump_inbound(replace(message, late=True))
            person = person or self._person_key(message.person_ids[0])
        if person is None:
            return False
        self._inboxes.put_back(person, payload)
        return True


_PLAIN: Final[Mapping[str, re.Pattern[str]]] = {
    "channel": re.compile(r"[a-z]{1,20}"),
    "provider_id": re.compile(r"[A-Z]{2}[0-9a-fA-F]{32}"),
    "received_at": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d[:.\d]{0,12}(?:Z|[+-]\d\d:\d\d)"),
    "status": re.compile(r"[a-z]{1,20}"),
    "error_code": re.compile(r"\d{0,6}"),
    "delivery_id": re.compile(r"\d{1,8}"),
    "version": re.compile(r"\d{1,4}"),
    "late": re.compile(r"True|False"),
}
"""What may be shown of a payload: by name, and only where the value looks as it should."""
_NAME: Final = re.compile(r"[a-z_]{1,40}")


def veiled(payload: bytes) -> Any:
    """Returns what may be shown of a payload to anybody: its shape, its ids and times, no text and no address."""
    try:
        document: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return f"{len(payload)} bytes that are no JSON"
    fields = cast("dict[str, Any]", document) if isinstance(document, dict) else None
    if fields is None:
        return f"{len(payload)} bytes of JSON that are no object"
    return {
        name if _NAME.fullmatch(name) else f"<field {place}>": _veiled(name, value)
        for place, (name, value) in enumerate(fields.items())
    }


def _veiled(name: str, value: Any) -> Any:
    if name in _PLAIN and _PLAIN[name].fullmatch(str(value)):
        return value
    if value is None or value == "":
        return value
    return f"<{len(value)} characters>" if isinstance(value, str) else f"<{type(value).__name__}>"
