"""Where a learnt model of likeness is kept: beside the cast, else in a cache directory, else nowhere."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from core.cast.characters import Cast
from core.routing.model import Model, from_bytes, key_of, to_bytes, train
from core.routing.phrases import Phrases
from core.routing.words import Vocabulary

SHIPPED: Final = "likeness.model"
_KEPT: Final = 4
"""Models in the cache directory; older ones go when another is written."""

_log = structlog.stdlib.get_logger(__name__)


def cache_directory(environ: Mapping[str, str]) -> Path | None:
    """Returns where caches of this user belong, None where the user has no home."""
    base = environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if (home := environ.get("HOME")) else "")
    return Path(base) / "sisters" if base else None


def model_of(cast: Cast, phrases: Phrases, vocabulary: Vocabulary, *, prompts: Path, cache: Path | None) -> Model:
    """Returns the cast's model: read where it is known, else learnt, which takes some seconds, and kept if possible."""
    key = key_of(cast, phrases)
    kept = cache / f"likeness-{key[:32]}.model" if cache else None
    for path in (prompts / SHIPPED, kept):
        if path is not None and (model := _read(path, key)):
            return model
    _log.info("likeness_learning", examples=len(cast.examples))
    model = train(cast, phrases, vocabulary)
    if kept is not None:
        _keep(kept, to_bytes(model, key))
    return model


def ship(cast: Cast, phrases: Phrases, vocabulary: Vocabulary, *, prompts: Path) -> Path:
    """Learns the cast's model and writes it beside the cast; returns where. Raises: OSError."""
    path = prompts / SHIPPED
    _write(path, to_bytes(train(cast, phrases, vocabulary), key_of(cast, phrases)))
    return path


def _read(path: Path, key: str) -> Model | None:
    try:
        return from_bytes(path.read_bytes(), key)
    except OSError:
        return None


def _keep(path: Path, content: bytes) -> None:
    """A cache that cannot be written costs time at the next start and nothing else."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
        others = sorted(path.parent.glob("likeness-*.model"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in others[_KEPT:]:
            old.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also when several processes write at once: the last one wins, and all write the same."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".likeness-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
