"""Embeddings: hashed words and letter groups, so that texts with common words lie near each other, every time alike."""

import base64
import math
import re
import struct
import zlib
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.simulator.openai_api import invalid, request_id, tokens_in
from deploy.simulator.wire import Answer, json_answer

_DIMENSIONS: Final = {"text-embedding-3-large": 3072}
_USUAL: Final = 1536
_GROUP: Final = 3
_WORD_WEIGHT: Final = 2.0


class EmbeddingRequest(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="ignore")
    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1, le=3072)


async def embed(request: web.Request, body: bytes, fault: str) -> Answer:
    """`POST /v1/embeddings`, as numbers or base64."""
    del request, fault
    try:
        asked = EmbeddingRequest.model_validate_json(body)
    except ValidationError as error:
        place = str(error.errors(include_input=False)[0]["loc"][0])
        return invalid(f"Invalid value for '{place}'.", param=place)
    texts = _texts(asked.input)
    if not texts:
        return invalid("'input' must not be empty.", param="input")
    size = asked.dimensions or _DIMENSIONS.get(asked.model, _USUAL)
    rows = [_row(number, vector(text, size), asked.encoding_format) for number, text in enumerate(texts)]
    tokens = sum(map(tokens_in, texts))
    answer: dict[str, Any] = {"object": "list", "data": rows, "model": asked.model}
    return json_answer(
        {**answer, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}},
        headers=request_id(),
    )


def vector(text: str, size: int) -> list[float]:
    """Returns a vector of length 1."""
    values = [0.0] * size
    lowered = text.lower()
    for word in re.findall(r"\w+", lowered):
        _add(values, word, _WORD_WEIGHT)
        padded = f" {word} "
        for start in range(len(padded) - _GROUP + 1):
            _add(values, padded[start : start + _GROUP], 1.0)
    if not any(values):
        values[zlib.crc32(lowered.encode("utf-8", errors="replace")) % size] = 1.0
    length = math.sqrt(sum(v * v for v in values))
    return [round(v / length, 7) if v else 0.0 for v in values]


def _add(values: list[float], feature: str, weight: float) -> None:
    draw = zlib.crc32(feature.encode("utf-8", errors="replace"))
    values[draw % len(values)] += weight if draw & 0x80000000 else -weight


def _row(number: int, values: list[float], encoding: str) -> dict[str, Any]:
    embedding: Any = values
    if encoding == "base64":
        embedding = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    return {"object": "embedding", "index": number, "embedding": embedding}


def _texts(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """Returns one text for each input; token numbers are taken as words."""
    if isinstance(given, str):
        return [given]
    numbers = [each for each in given if isinstance(each, int)]
    if numbers:
        return [" ".join(map(str, numbers))]
    return [each if isinstance(each, str) else " ".join(map(str, each)) for each in given if not isinstance(each, int)]
