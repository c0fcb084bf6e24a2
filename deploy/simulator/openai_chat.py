"""Chat completions: the vendor's rules for requests, and answers that derive from the request alone."""

import asyncio
import json
import re
import time
from datetime import timedelta
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.simulator.faults import Faults
from deploy.simulator.openai_api import invalid, request_id, tokens_in
from deploy.simulator.openai_tools import Tool, call
from deploy.simulator.persona import compose
from deploy.simulator.state import new_sid
from deploy.simulator.wire import Answer, json_answer

_REASONING: Final = re.compile(r"gpt-[5-9]|o\d")
_SAMPLING: Final = ("temperature", "top_p", "logprobs")
_TOKENS_PER_MESSAGE: Final = 4

_SOMEBODY_ELSE: Final = re.compile(r"\[[^\]\n]{1,80} answered: ")
_QUOTATION: Final = re.compile(r"\A\[in reply to: .*?\]\n", re.DOTALL)


class Part(BaseModel):
    """One part of a message's content."""

    model_config = ConfigDict(extra="ignore")
    type: str
    text: str = ""


class Entry(BaseModel):
    """One message of a request."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    def plain(self) -> str:
        """Its text; what is no text is named."""
        if isinstance(self.content, list):
            return " ".join(part.text or f"[{part.type}]" for part in self.content)
        return self.content or ""


class ChatRequest(BaseModel):
    """What of a request matters here. Other keys are kept, only to be refused by name when faults ask for it."""

    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[Entry] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None
    n: int | None = Field(default=None, ge=1, le=8)
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None


class Chat:
    """The model."""

    def __init__(self, *, faults: Faults, latency: timedelta) -> None:
        self._faults = faults
        self._latency_s = latency.total_seconds()

    async def complete(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`POST /v1/chat/completions`, also as a stream."""
        del request
        try:
            asked = ChatRequest.model_validate_json(body)
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            return invalid(f"Invalid value for '{place}'.", param=place or None)
        refused = self._unsupported(asked)
        if refused:
            return refused
        latency_ms = self._faults.document.llm.latency_ms
        await asyncio.sleep(self._latency_s if latency_ms is None else latency_ms / 1000)
        if fault == "malformed":
            return Answer(body=b'{"id": "chatcmpl-malformed", "choices": [{"index": 0, "mess', headers=request_id())
        return self._answer(asked, fault)

    def _unsupported(self, asked: ChatRequest) -> Answer | None:
        """The 400 for a parameter that this model does not take.

        Source: OpenAI docs on reasoning models as of 2026-11: they take `max_completion_tokens` only, and sampling
        parameters and function tools only with reasoning effort none; older models know no effort.
        """
        given = asked.model_fields_set | set(asked.model_extra or ())
        faults = self._faults.document.llm
        if _REASONING.match(asked.model):
            parameters = {"max_tokens", *faults.unsupported_parameter}
            values = {*faults.unsupported_value, *(() if asked.reasoning_effort == "none" else (*_SAMPLING, "tools"))}
        else:
            parameters, values = {"reasoning_effort", *faults.unsupported_parameter}, {*faults.unsupported_value}
        for name in sorted(given & parameters):
            hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            text = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
            return invalid(text, param=name, code="unsupported_parameter")
        for name in sorted(given & values):
            text = f"Unsupported value: '{name}' does not support this value with this model."
            return invalid(text, param=name, code="unsupported_value")
        return None

    def _answer(self, asked: ChatRequest, fault: str) -> Answer:
        system = "\n".join(m.plain() for m in asked.messages if m.role in {"system", "developer"})
        texts = _last_words(asked.messages)
        text, finish = compose(system, texts, fault), "stop"
        refusal: str | None = None
        called = None if fault else call(asked.tools or (), asked.tool_choice, texts)
        if fault == "refusal":
            text, refusal = "", "I'm sorry, I can't help with that. (simulated)"
        elif fault == "content_filter":
            text, finish = "", "content_filter"
        elif called:
            text, finish = "", "tool_calls"
        limit = asked.max_completion_tokens or asked.max_tokens
        if limit and tokens_in(text) > limit:
            text, finish = _shorten(text, limit), "length"
        message: dict[str, Any] = {"role": "assistant", "content": None if refusal or called else text}
        message |= {"refusal": refusal, **({"tool_calls": [called]} if called else {})}
        choices = [
            {"index": i, "message": message, "logprobs": None, "finish_reason": finish} for i in range(asked.n or 1)
        ]
        prompt = sum(tokens_in(m.plain()) + _TOKENS_PER_MESSAGE for m in asked.messages)
        prompt += sum(tokens_in(tool.model_dump_json()) for tool in asked.tools or ())
        completion = tokens_in(called["function"]["arguments"] if called else text or refusal or "") * len(choices)
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
        frame = {"id": new_sid("chatcmpl-"), "created": int(time.time()), "model": asked.model}
        if asked.stream:
            return _as_stream(frame, choices, usage if (asked.stream_options or {}).get("include_usage") else None)
        answer = {**frame, "object": "chat.completion", "choices": choices, "usage": usage, "service_tier": "default"}
        return json_answer(answer, headers=request_id())


def _last_words(messages: list[Entry]) -> list[str]:
    """Returns the user's texts at the end of the conversation, oldest first.

    A note such as "[Ana, one of your sisters, answered: ...]" tells what somebody else said: it ends them, as an answer
    of one's own does. What a message replies to is quoted before it, and is not the user's own either.
    """
    found: list[str] = []
    for message in reversed(messages):
        if message.role != "user" or _SOMEBODY_ELSE.match(message.plain()):
            break
        found.append(_QUOTATION.sub("", message.plain(), count=1))
    return found[::-1]


def _shorten(text: str, limit: int) -> str:
    """Returns the longest beginning of at most that many tokens, cut anywhere as a real model's limit does."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens_in(text[:middle]) <= limit else (low, middle - 1)
    return text[:low]


def _as_stream(frame: dict[str, Any], choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> Answer:
    """Returns the answer as server-sent events, a few words each, all at once: the latency has passed already."""
    events: list[dict[str, Any]] = []
    for choice in choices:
        message = choice["message"]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in re.findall(r"(?:\S+\s*){1,4}|\s+", message["content"] or "")]
        deltas += [{"tool_calls": [{"index": i, **each}]} for i, each in enumerate(message.get("tool_calls", ()))]
        if message["refusal"]:
            deltas.append({"refusal": message["refusal"]})
        events += [{"index": choice["index"], "delta": d, "logprobs": None, "finish_reason": None} for d in deltas]
        end: dict[str, Any] = {
            "index": choice["index"],
            "delta": {},
            "logprobs": None,
            "finish_reason": choice["finish_reason"],
        }
        events.append(end)
    chunks = [{**frame, "object": "chat.completion.chunk", "choices": [event]} for event in events]
    if usage:
        chunks.append({**frame, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    body = "".join([*lines, "data: [DONE]\n\n"]).encode()
    return Answer(body=body, content_type="text/event-stream", headers=request_id())
