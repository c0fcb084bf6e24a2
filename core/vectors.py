"""Gets the vectors of the cast's examples: from Postgres where they are known, else from the server, and keeps them."""

import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

import structlog

from core.errors import OutsideError, Transient
from core.ports import Embedder, Vector
from core.store import Store

_BATCH: Final = 128
"""Texts in one call; servers take 2,048 (OpenAI) or fewer."""
_TIMEOUT: Final = timedelta(seconds=30)
"""Of one such call: nobody waits for it."""
_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(minutes=5)

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    text_hash: bytes
    vector: bytes


class ExampleVectors:
    """The vectors of some texts, from one model."""

    def __init__(self, embedder: Embedder, store: Store | None) -> None:
        """Without a store they are asked for at every start."""
        self._embedder = embedder
        self._store = store
        self._stop = threading.Event()

    def load(self, texts: Sequence[str]) -> list[Vector]:
        """Returns one vector for each text, in order. Raises: Transient, Permanent."""
        hashes = {text: sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts}
        known = self._known(list(set(hashes.values())))
        missing = [text for text in hashes if hashes[text] not in known]
        for start in range(0, len(missing), _BATCH):
            if self._stop.is_set():
                raise Transient("stopped")
            batch = missing[start : start + _BATCH]
            fresh = dict(
                zip((hashes[text] for text in batch), self._embedder.vectors(batch, timeout=_TIMEOUT), strict=True)
            )
            self._keep(fresh)
            known |= fresh
        return [known[hashes[text]] for text in texts]

    def load_in_background(self, texts: Sequence[str], done: Callable[[list[Vector]], None]) -> None:
        """Loads them in a thread of its own, again and again until it worked or `close` was called."""
        threading.Thread(target=self._persist, args=(texts, done), name="example-vectors", daemon=True).start()

    def close(self) -> None:
        """Ends the loading."""
        self._stop.set()

    def _persist(self, texts: Sequence[str], done: Callable[[list[Vector]], None]) -> None:
        pause = _PAUSE
        while not self._stop.is_set():
            try:
                done(self.load(texts))
            except OutsideError as error:
                _log.warning("example_vectors_missing", reason=error.reason, code=error.code)
                after = error.after if isinstance(error, Transient) else None
                self._stop.wait(max(pause, after or pause).total_seconds())
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                _log.info("example_vectors_loaded", count=len(texts))
                return

    def _known(self, hashes: list[bytes]) -> dict[bytes, Vector]:
        if self._store is None:
            return {}
        with self._store.transaction() as transaction:
            rows = transaction.all(_Row, "known_vectors", model=self._embedder.model, hashes=hashes)
            transaction.run("touch_vectors", model=self._embedder.model, hashes=hashes)
            transaction.run("drop_unused_vectors")
        return {row.text_hash: _vector(row.vector) for row in rows}

    def _keep(self, fresh: dict[bytes, Vector]) -> None:
        if self._store is None:
            return
        with self._store.transaction() as transaction:
            transaction.run(
                "keep_vectors",
                model=self._embedder.model,
                hashes=list(fresh),
                vectors=[_bytes(vector) for vector in fresh.values()],
            )


def _vector(content: bytes) -> Vector:
    vector = array("f")
    vector.frombytes(content)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _bytes(vector: Vector) -> bytes:
    written = array("f", vector)
    if sys.byteorder == "big":
        written.byteswap()
    return written.tobytes()
