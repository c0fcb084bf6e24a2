"""How OpenAI's API says who may call it and what is wrong, and which models it knows."""

import json
import re
from typing import Any, Final, cast

from aiohttp import web

from deploy.simulator.faults import SPARED, Dice, Fate, Faults, LlmFaults, ModerationFaults, OtherFaults
from deploy.simulator.state import Log, new_sid
from deploy.simulator.wire import Answer, json_answer

_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')  # inside a text the quotes would be escaped
_TYPES: Final = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
_CODES: Final = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_MESSAGES: Final = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "rate_limit_exceeded": "Rate limit reached for requests.",
    "invalid_api_key": "Incorrect API key provided.",
}
_MODELS: Final = (
    ("gpt-6-luna", None),
    ("gpt-4o-mini", "2027-01-14"),
    ("gpt-transcribe", None),
    ("omni-moderation-latest", None),
    ("text-embedding-3-small", None),
    ("text-embedding-3-large", None),
)
"""Source: OpenAI's model and deprecation pages as of 2026-11."""
_MODELS_CREATED: Final = 1_780_000_000


def problem(
    status: int,
    *,
    code: str | None = None,
    message: str = "",
    param: str | None = None,
    retry_after: float | None = None,
) -> Answer:
    """Returns OpenAI's error body. Source: OpenAI docs, "Error codes", as of 2026-11."""
    code = code or _CODES.get(status)
    kind = "insufficient_quota" if code == "insufficient_quota" else _TYPES.get(status, "server_error")
    text = message or _MESSAGES.get(code or "", "The server had an error while processing your request.")
    error = {"message": text, "type": kind, "param": param, "code": code}
    headers = request_id()
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    return json_answer({"error": error}, status=status, headers=headers)


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> Answer:
    """Returns the 400 for a request that cannot be carried out."""
    return problem(400, code=code, message=message, param=param)


def request_id() -> dict[str, str]:
    """The header that every answer carries."""
    return {"x-request-id": new_sid("req_")}


def tokens_in(text: str) -> int:
    """Returns about how many tokens a text has: four letters each, and one for every letter beyond Latin scripts."""
    wide = 0 if text.isascii() else sum(letter > "\u2e7f" for letter in text)
    return wide + -(-(len(text) - wide) // 4)


class OpenAi:
    """OpenAI's side of every call: credentials and faults."""

    def __init__(self, *, faults: Faults, log: Log) -> None:
        self._faults = faults
        self._log = log

    def refuse(self, request: web.Request) -> Answer | None:
        """The 401 for a missing key; any key is as good as another unless the faults name one."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        wanted = self._faults.document.llm.api_key
        if scheme.lower() != "bearer" or not key:
            return problem(401, message="You didn't provide an API key.")
        return problem(401) if wanted is not None and key != wanted else None

    def draw(self, endpoint: str, body: bytes) -> Fate:
        """What befalls this call; those of chat may be meant for some models only."""
        models = self._faults.document.llm.models
        if endpoint == "chat" and models:
            found = _MODEL.search(body)
            if found is None or found[1].decode(errors="replace") not in models:
                return SPARED
        return self._section(endpoint)[1].draw()

    def fail(self, endpoint: str, *, accepted: bool) -> Answer:
        """The error that the faults ask for."""
        del accepted
        section, dice = self._section(endpoint)
        return problem(dice.pick(section.status), code=section.code, retry_after=section.retry_after)

    def trickle_s(self) -> float:
        """From `llm.trickle_ms`."""
        return self._faults.document.llm.trickle_ms / 1000

    def about(self, endpoint: str, body: bytes) -> str:
        """The message with the text that is asked about, if somebody wrote just that: vendors share no ids."""
        text = _newest_text(body) if endpoint in {"chat", "moderation"} else ""
        message = self._log.wrote(text) if text else None
        return message.sid if message else ""

    async def models(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`GET /v1/models`."""
        del request, body, fault
        rows: list[dict[str, Any]] = [
            {"id": name, "object": "model", "created": _MODELS_CREATED, "owned_by": "simulator", "shutdown_date": ends}
            for name, ends in _MODELS
        ]
        return json_answer({"object": "list", "data": rows}, headers=request_id())

    def _section(self, endpoint: str) -> tuple[LlmFaults | ModerationFaults | OtherFaults, Dice]:
        document = self._faults.document
        match endpoint:
            case "moderation":
                return document.moderation, self._faults.moderation
            case "embeddings":
                return document.embeddings, self._faults.embeddings
            case "transcription":
                return document.transcriptions, self._faults.transcriptions
            case _:
                return document.llm, self._faults.llm


def _newest_text(body: bytes) -> str:
    """Returns the last text of a person in a request, "" where it has none or cannot be read."""
    try:
        asked = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(asked, dict):
        return ""
    request = cast("dict[str, Any]", asked)
    texts = request.get("input")
    if isinstance(messages := request.get("messages"), list):
        said = cast("list[Any]", messages)
        texts = [m.get("content") for m in cast("list[dict[str, Any]]", said) if _is_users(m)]
    found = cast("list[Any]", texts)[-1:] if isinstance(texts, list) else [texts]
    return found[0] if found and isinstance(found[0], str) else ""


def _is_users(message: Any) -> bool:
    return isinstance(message, dict) and cast("dict[str, Any]", message).get("role") == "user"
