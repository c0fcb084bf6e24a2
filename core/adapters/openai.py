"""Asks OpenAI, or any server that speaks its chat completions, and reads the answer strictly."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from threading import Lock
from time import monotonic
from typing import Final, NoReturn

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import tracing
from core.adapters.line import CONNECT, Call, CallError
from core.adapters.thoughts import without_thoughts
from core.adapters.tools import as_tool, chosen_option, speaks_of_tools
from core.adapters.transport import Transport, retry_after
from core.config import Provider
from core.errors import EMPTY, OutsideError, Permanent, Spent, Transient
from core.ports import ChatMessage, Choice, Completion
from core.reply.formatting import shows

MAX_TOKENS: Final = 500
TEMPERATURE: Final = 0.7
_MILLION: Final = Decimal(1_000_000)
_ABOUT_THE_REQUEST: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
"""Another request may pass; any other status (no such model, no such path, a redirect) will meet all of them."""
_ABOUT_A_PARAMETER: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_CALL_FAILED: Final = "tool_use_failed"
"""The model called a function in a form that nobody can read. Source: Groq's error codes as of 2026-11."""
_TOKENS_AT_MOST: Final = 100_000_000
"""More than any model reads; Postgres could not store the sum of many such."""
_CODE: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""What a vendor's code looks like; anything else in its place may repeat the text."""
_MODEL: Final = re.compile(r"[\w./:@+-]{1,128}", re.ASCII)
_BROKEN_OFF: Final = ("error", "abort")
"""Finish reasons of compatible servers for an answer that failed half-way.

Source: OpenRouter's and vLLM's docs as of 2026-11.
"""


class OpenAiLlm:
    """One provider. Safe to use from many threads; `connections` is how many call at once. Close it at the end.

    The request goes through the official client's own `post`, not through `chat.completions.create`, which walks types
    over the history: with a 2,000-character system prompt and 10 messages 0.4 ms of CPU a call against 1.8 ms; with 300
    calls at once, over our transport, 0.9 ms against 2.9 ms. Measured with openai 3.54.
    """

    def __init__(self, provider: Provider, *, timeout: timedelta, connections: int) -> None:
        self._provider = provider
        self._timeout = timeout
        self._client = client(provider.base_url, provider.api_key, connections=connections)
        self._dialect = _Dialect()
        self._thinks_unseen = False
        self._span_name = f"chat {provider.model}"
        self._about: tracing.Attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider.name,
            "gen_ai.request.model": provider.model,
        }

    @property
    def name(self) -> str:
        """The provider's name, as it stands in turns and metrics."""
        return self._provider.name

    def complete(self, prompt: Sequence[ChatMessage], *, deadline: float, choice: Choice | None = None) -> Completion:
        """Returns the answer within the provider's timeout and before `deadline`, whatever the server does.

        Raises: Transient; Permanent: `rejected` and `encoding` are about this request, any other about the provider.
        """
        with tracing.span(self._span_name, self._about, kind="client") as span:
            try:
                completion = self._complete(prompt, deadline, choice)
            except OutsideError as error:
                span.set(_usage_told(error.spent))
                raise
            span.set({"gen_ai.response.model": completion.model, **_usage_told(completion.spent)})
            return completion

    def _complete(self, prompt: Sequence[ChatMessage], deadline: float, choice: Choice | None) -> Completion:
        started = monotonic()
        until = min(started + self._timeout.total_seconds(), deadline)
        messages = [{"role": entry.role, "content": entry.text} for entry in prompt]
        refused = self._dialect.refused
        while True:
            parameters = _parameters(refused, choice)
            try:
                raw = self._post({"model": self._provider.model, "messages": messages, **parameters}, until)
            except openai.APIStatusError as error:
                if error.code == "content_filter":
                    return self._completion(_FILTERED, timedelta(seconds=monotonic() - started), None)
                if error.code == _CALL_FAILED and choice is not None:
                    choice = None
                    continue
                name = _refused_parameter(error, parameters)
                if name is None:
                    _raise(error)
                refused |= {name}
                continue
            self._dialect.learn(refused)
            return self._read(raw, timedelta(seconds=monotonic() - started), choice)

    def close(self) -> None:
        """Closes the kept connections."""
        self._client.close()

    def _post(self, body: Mapping[str, object], until: float) -> bytes:
        left = until - monotonic()
        if left <= 0:
            raise Transient("deadline")
        return post(self._client, "/chat/completions", body, timeout=timedelta(seconds=left))

    def _read(self, raw: bytes, took: timedelta, choice: Choice | None) -> Completion:
        try:
            answer = _Answer.model_validate_json(raw)
        except ValidationError:  # its own text would repeat the answer
            raise Transient("malformed").having_spent(self._spent(_usage_of(raw))) from None
        return self._completion(answer, took, choice)

    def _completion(self, answer: "_Answer", took: timedelta, choice: Choice | None) -> Completion:
        given, spent, prices = answer.choices[0], self._spent(answer.usage or _Usage()), self._provider
        if given.finish_reason in _BROKEN_OFF:
            raise Transient("broken_off").having_spent(spent)
        refused = bool(given.message.refusal) or given.finish_reason == "content_filter"
        cut = given.finish_reason == "length"
        chosen = None if refused or choice is None else chosen_option(given.message.tool_calls, choice)
        text = "" if refused or chosen else self._spoken(given.message.text, cut=cut)
        if not refused and not shows(text):
            if chosen is None:
                raise Transient(EMPTY).having_spent(spent)
            text = ""
        return Completion(
            text=text,
            cut=cut,
            refused=refused,
            provider=prices.name,
            model=answer.model if answer.model and _MODEL.fullmatch(answer.model) else prices.model,
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
            cost_usd=spent.cost_usd,
            took=took,
            chosen=chosen,
        )

    def _spent(self, usage: "_Usage") -> Spent:
        tokens_in, tokens_out = usage.prompt_tokens or 0, usage.completion_tokens or 0
        cost = (tokens_in * self._provider.usd_in + tokens_out * self._provider.usd_out) / _MILLION
        return Spent(tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost)

    def _spoken(self, text: str, *, cut: bool) -> str:
        """The answer without its thoughts.

        Where they begin in the prompt, an answer cut before they ended bears no mark at all: it is known only by what
        the provider sent before.
        """
        spoken = without_thoughts(text)
        if spoken.begun_unseen:
            self._thinks_unseen = True
        elif self._thinks_unseen and cut:
            return ""
        return spoken.text.strip()


def _usage_told(spent: Spent) -> tracing.Attributes:
    return {"gen_ai.usage.input_tokens": spent.tokens_in, "gen_ai.usage.output_tokens": spent.tokens_out}


def client(base_url: str, api_key: str, *, connections: int) -> openai.OpenAI:
    """The official client without its own retries, over our transport."""
    return openai.OpenAI(
        base_url=base_url,
        api_key=api_key or "none",  # servers on one's own machine ask for none, the client insists on one
        max_retries=0,
        http_client=httpx2.Client(transport=_Transport(connections), trust_env=False),
    )


def post(client: openai.OpenAI, path: str, body: Mapping[str, object], *, timeout: timedelta) -> bytes:
    """Returns the body of a good answer; `timeout` bounds the whole call.

    Raises: openai.APIStatusError (any other status), Transient (no answer that can be read), Permanent (a text that no
    encoding can carry: half a surrogate pair).
    """
    limit = httpx2.Timeout(timeout.total_seconds(), connect=min(CONNECT, timeout).total_seconds())
    try:
        response = client.post(path, body=body, cast_to=httpx2.Response, options={"timeout": limit})
    except UnicodeEncodeError:
        raise Permanent("encoding") from None
    except CallError as error:
        raise Transient(error.reason) from None
    except openai.APIConnectionError:
        raise Transient("malformed") from None  # the transport answered, so the content encoding was wrong
    return response.content


class _Transport(httpx2.BaseTransport):
    """Our transport behind the client's. The read timeout stands for the whole call."""

    def __init__(self, connections: int) -> None:
        self._transport = Transport(connections=connections)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url, limits = request.url, request.extensions["timeout"]
        call = Call(
            method=request.method,
            scheme=url.raw_scheme,
            host=url.raw_host,
            port=url.port or (443 if url.raw_scheme == b"https" else 80),
            target=url.raw_path,
            headers=[(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"],
            body=request.content,
            timeout=timedelta(seconds=limits["read"]),
            connect=timedelta(seconds=limits["connect"]),
            repeatable=True,  # a question asked twice costs a little money, a lost one costs a turn
        )
        answer = self._transport.call(call)
        return httpx2.Response(answer.status, headers=answer.headers, content=answer.body)

    def close(self) -> None:
        self._transport.close()


class _Dialect:
    """Which parameters this provider refused so far, learnt from its own answers and shared by all threads."""

    def __init__(self) -> None:
        self.refused: frozenset[str] = frozenset()
        self._lock = Lock()

    def learn(self, refused: frozenset[str]) -> None:
        """Call it once a request without them was accepted: a complaint alone may have had another cause."""
        if not refused <= self.refused:
            with self._lock:
                self.refused |= refused


def _parameters(refused: frozenset[str], choice: Choice | None) -> dict[str, object]:
    """What we ask for beside the messages. Servers that know only the older `max_tokens` get that."""
    wanted: dict[str, object] = {
        "max_completion_tokens": MAX_TOKENS,
        "temperature": TEMPERATURE,
        "reasoning_effort": "none",
        "store": False,
    }
    if "max_completion_tokens" in refused:
        wanted["max_tokens"] = MAX_TOKENS
    if choice is not None:
        wanted["tools"] = [as_tool(choice)]
    return {name: value for name, value in wanted.items() if name not in refused}


def _refused_parameter(error: openai.APIStatusError, sent: Mapping[str, object]) -> str | None:
    """The parameter that the server complains of: in `param`, or the first that it names anywhere in its answer.

    Source: OpenAI docs as of 2026-11 (unsupported_parameter, unsupported_value); compatible servers answer 400 or 422
    in shapes of their own, OpenRouter 404 where no host of a model takes tools. A prompt that is too long is no
    complaint about the parameter it may name.
    """
    if error.status_code not in (*_ABOUT_A_PARAMETER, HTTPStatus.NOT_FOUND) or error.code == "context_length_exceeded":
        return None
    if error.param in sent:
        return error.param
    text = error.response.text
    if "context length" in text.lower():
        return None
    if error.status_code in _ABOUT_A_PARAMETER:
        named = re.search(rf"\b({'|'.join(map(re.escape, sent))})\b", text) if sent else None
        if named:
            return named[0]
    return "tools" if "tools" in sent and speaks_of_tools(text) else None


def _raise(error: openai.APIStatusError) -> NoReturn:
    """Raises: Transient or Permanent by status and code; the vendor's message stays behind, it may repeat the text."""
    raise error_kind(error) from None


def error_kind(error: openai.APIStatusError) -> OutsideError:
    """Returns what to do about a status that is none of the good ones: Transient or Permanent."""
    status, given = error.status_code, error.code or error.type
    code = given if isinstance(given, str) and _CODE.fullmatch(given) else str(status)
    if "insufficient_quota" in (error.code, error.type) or status == HTTPStatus.PAYMENT_REQUIRED:
        return Permanent("insufficient_quota", code=code)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Transient("rate", code=code, after=retry_after(error.response.headers))
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient("server", code=code, after=retry_after(error.response.headers))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Permanent("auth", code=code)
    return Permanent("rejected" if status in _ABOUT_THE_REQUEST else "misconfigured", code=code)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _Part(_Lenient):
    text: str = ""


class _Message(_Lenient):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: object = None

    @property
    def text(self) -> str:
        match self.content:
            case None:
                return ""
            case str():
                return self.content
            case parts:
                return "".join(part.text for part in parts)


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None


class _Usage(_Lenient):
    prompt_tokens: int | None = Field(default=None, ge=0, le=_TOKENS_AT_MOST)
    completion_tokens: int | None = Field(default=None, ge=0, le=_TOKENS_AT_MOST)


class _Answer(_Lenient):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


class _Bill(_Lenient):
    usage: _Usage | None = None


def _usage_of(raw: bytes) -> _Usage:
    """What a body that is no completion says of its tokens, where it says so."""
    try:
        return _Bill.model_validate_json(raw).usage or _Usage()
    except ValidationError:
        return _Usage()


_FILTERED: Final = _Answer(choices=[_Choice(message=_Message(), finish_reason="content_filter")])
"""What a 400 with the code `content_filter` says: the vendor's filter turned the request itself away.

Source: Azure OpenAI docs as of 2026-11.
"""
