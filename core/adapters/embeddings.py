"""Asks any server that speaks OpenAI's embeddings for the place of texts, within a bound, and lets a failing one be."""

from array import array
from collections.abc import Sequence
from datetime import timedelta
from math import isfinite
from typing import Final

import openai
import structlog
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.adapters.breaker import Breaker
from core.adapters.openai import client, error_kind, post
from core.config import EmbeddingSettings
from core.errors import OutsideError, Permanent, Transient
from core.ports import Vector

TIMEOUT: Final = timedelta(seconds=2)
"""Of one message, while its turn waits."""
_ERRORS: Final = Counter("sisters_embeddings_errors", "Calls for embeddings without an answer", ["reason"])

_log = structlog.stdlib.get_logger(__name__)


class Embedder:
    """One model at one server. Safe to use from many threads. Close it at the end."""

    def __init__(self, settings: EmbeddingSettings, *, connections: int) -> None:
        self.model = settings.model
        self._client = client(settings.base_url, settings.api_key, connections=connections)
        self._breaker = Breaker("embeddings")

    def of_message(self, text: str) -> Vector | None:
        """Returns the vector of one message within 2 s, None when there is none; never raises."""
        try:
            return self.vectors([text], timeout=TIMEOUT)[0]
        except OutsideError as error:
            _log.info("embeddings_failed", reason=error.reason, code=error.code)
            return None

    def vectors(self, texts: Sequence[str], *, timeout: timedelta) -> list[Vector]:
        """Returns one vector for each text, in order, all of one length.

        Raises: Transient, Permanent; also without asking, while the server is left alone after failures.
        """
        ticket = self._breaker.admit()
        if isinstance(ticket, OutsideError):
            raise ticket
        try:
            vectors = self._ask(texts, timeout)
        except (Transient, Permanent) as error:
            _ERRORS.labels(error.reason).inc()
            if error.reason in ("rejected", "encoding"):  # about these texts, not about the server
                self._breaker.worked(ticket)
                raise
            raise self._breaker.failed(ticket, error) from None
        except BaseException:
            self._breaker.unknown(ticket)
            raise
        self._breaker.worked(ticket)
        return vectors

    def close(self) -> None:
        """Closes the kept connections."""
        self._client.close()

    def _ask(self, texts: Sequence[str], timeout: timedelta) -> list[Vector]:
        body = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        try:
            answer = _Answer.model_validate_json(post(self._client, "/embeddings", body, timeout=timeout))
        except openai.APIStatusError as error:
            raise error_kind(error) from None
        except ValidationError:
            raise Transient("malformed") from None
        rows = sorted(answer.data, key=lambda row: row.index)
        lengths = {len(row.embedding) for row in rows}
        good = [row.index for row in rows] == list(range(len(texts))) and len(lengths) == 1
        if not good or not all(isfinite(sum(row.embedding)) for row in rows):
            raise Transient("malformed")
        return [array("f", row.embedding) for row in rows]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    index: int
    embedding: list[float] = Field(min_length=1, max_length=65_536)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    data: list[_Row]
