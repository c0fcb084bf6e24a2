"""Asks OpenAI's moderation whether texts may pass."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import openai
from prometheus_client import Counter
from pydantic import BaseModel, Field, ValidationError

from core.adapters.openai import client, post
from core.errors import OutsideError
from core.ports import Verdict

MODEL: Final = "omni-moderation-latest"
TIMEOUT: Final = timedelta(seconds=2)
_UNCHECKED: Final = Counter("sisters_moderation_unchecked", "Texts that passed because moderation did not answer")


class OpenAiModerator:
    """One `/v1/moderations` call for all texts together. Safe to use from many threads. Close it at the end.

    Source: OpenAI docs as of 2026-11: free of charge; 13 categories, three of them about self-harm.
    """

    def __init__(self, base_url: str, api_key: str, *, connections: int) -> None:
        self._client = client(base_url, api_key, connections=connections)

    def check(self, texts: Sequence[str]) -> Verdict:
        """Returns within 2 s; blank texts are left out, and with nothing left the verdict is clean."""
        asked = [text for text in texts if text.strip()]
        if not asked:
            return Verdict()
        try:
            raw = post(self._client, "/moderations", {"model": MODEL, "input": asked}, timeout=TIMEOUT)
            answer = _Answer.model_validate_json(raw)
        except (OutsideError, openai.OpenAIError, ValidationError):
            _UNCHECKED.inc()
            return Verdict(checked=False)
        flagged = {name for result in answer.results for name, hit in result.categories.items() if hit}
        return Verdict(
            flagged=any(result.flagged for result in answer.results),
            self_harm=any(name.startswith("self-harm") for name in flagged),
            categories=tuple(sorted(flagged)),
        )

    def close(self) -> None:
        """Closes the kept connections."""
        self._client.close()


class NoModerator:
    """MODERATION=off: everything passes, and says that it was not checked."""

    def check(self, texts: Sequence[str]) -> Verdict:  # noqa: ARG002
        """Returns an unchecked verdict."""
        return Verdict(checked=False)

    def close(self) -> None:
        """Keeps nothing open."""


class _Result(BaseModel):
    flagged: bool
    categories: dict[str, bool | None]


class _Answer(BaseModel):
    results: list[_Result] = Field(min_length=1)
