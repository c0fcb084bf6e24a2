"""Until when a provider offers a model, as its own list of models tells."""

from contextlib import closing
from datetime import date, timedelta
from typing import Final

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, ValidationError

from core.adapters.line import CONNECT, CallError
from core.adapters.openai import client
from core.config import Provider

_TIMEOUT: Final = timedelta(seconds=10)


def ends_on(provider: Provider) -> date | None:
    """Returns the day on which the vendor ends the model; None when it names none, or tells nothing at all.

    Source: OpenAI docs as of 2026-11 (`shutdown_date` in GET /v1/models, an ISO date).
    """
    limit = httpx2.Timeout(_TIMEOUT.total_seconds(), connect=CONNECT.total_seconds())
    with closing(client(provider.base_url, provider.api_key, connections=1)) as asked:
        try:
            response = asked.get("/models", cast_to=httpx2.Response, options={"timeout": limit})
            models = _Models.model_validate_json(response.content).data
        except (openai.OpenAIError, CallError, ValidationError):
            return None
    return next((model.shutdown_date for model in models if model.id == provider.model), None)


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: str
    shutdown_date: date | None = None


class _Models(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    data: list[_Model]
