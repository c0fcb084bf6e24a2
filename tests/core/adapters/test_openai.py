import json
import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

from core.adapters.moderation import NoModerator, OpenAiModerator
from core.adapters.openai import OpenAiLlm
from core.config import Provider
from core.errors import OutsideError, Permanent, Spent, Transient
from core.ports import ChatMessage, Completion
from tests.core.adapters.scripted import ScriptedServer, Seen, Step, closed_port, cut, hang, reply, trickle

SECRET = "my sister must not see this"
PROMPT = (ChatMessage(role="system", text="You are kind."), ChatMessage(role="user", text=SECRET))


def answer(content: Any = "Hello!", finish: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": more.pop("refusal", None)}
    return {
        "object": "chat.completion",
        "model": "gpt-6-luna-2026-09-22",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    } | more


def refusal(status: int, code: str | None = None, **error: Any) -> Step:
    return reply(status, {"error": {"message": SECRET, "type": "x", "param": None, "code": code} | error})


@contextmanager
def llm(*script: Step, timeout_s: float = 5) -> Generator[tuple[OpenAiLlm, ScriptedServer]]:
    with ScriptedServer(*script) as server:
        provider = Provider(
            name="first",
            base_url=f"{server.url}/v1",
            model="gpt-6-luna",
            api_key="key",
            usd_in=Decimal("0.10"),
            usd_out=Decimal("0.50"),
        )
        with closing(OpenAiLlm(provider, timeout=timedelta(seconds=timeout_s), connections=10)) as adapter:
            yield adapter, server


def ask(adapter: OpenAiLlm, prompt: Sequence[ChatMessage] = PROMPT, *, within_s: float = 60) -> Completion:
    return adapter.complete(prompt, deadline=time.monotonic() + within_s)


def parameters(seen: Seen) -> dict[str, Any]:
    return {name: value for name, value in seen.json.items() if name not in ("model", "messages")}


def test_the_question_on_the_wire_is_the_prompt_and_our_parameters() -> None:
    with llm(reply(200, answer())) as (adapter, server):
        ask(adapter)
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", "/v1/chat/completions")
    assert seen.headers["authorization"] == "Bearer key"
    assert seen.json["model"] == "gpt-6-luna"
    assert seen.json["messages"] == [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": SECRET},
    ]
    assert parameters(seen) == {
        "max_completion_tokens": 500,
        "temperature": 0.7,
        "reasoning_effort": "none",
        "store": False,
    }


def test_an_answer_comes_with_its_tokens_price_and_time() -> None:
    with llm(reply(200, answer("  Hello, 世界 🌸\n"))) as (adapter, _):
        completion = ask(adapter)
    assert completion.text == "Hello, 世界 🌸"
    assert (completion.cut, completion.refused) == (False, False)
    assert (completion.provider, completion.model) == ("first", "gpt-6-luna-2026-09-22")
    assert (completion.tokens_in, completion.tokens_out) == (1000, 200)
    assert completion.cost_usd == Decimal("0.0002")
    assert timedelta(0) < completion.took < timedelta(seconds=5)


def test_an_answer_at_the_token_limit_is_cut() -> None:
    with llm(reply(200, answer(finish="length"))) as (adapter, _):
        assert ask(adapter).cut


@pytest.mark.parametrize(
    "body", [answer("dirty", finish="content_filter"), answer(None, refusal="I cannot"), answer("half", refusal="no")]
)
def test_a_refused_answer_carries_no_text(body: dict[str, Any]) -> None:
    with llm(reply(200, body)) as (adapter, _):
        completion = ask(adapter)
    assert completion.refused
    assert completion.text == ""


def test_a_request_that_the_vendors_filter_turns_away_is_a_refused_answer() -> None:
    with llm(refusal(400, "content_filter", param="prompt")) as (adapter, server):
        completion = ask(adapter)
        assert len(server.seen) == 1
    assert (completion.refused, completion.text, completion.model) == (True, "", "gpt-6-luna")


@pytest.mark.parametrize("finish", ["error", "abort"])
def test_an_answer_that_broke_off_is_worth_another_try_and_never_half_an_answer(finish: str) -> None:
    with (
        llm(reply(200, answer("Half an", finish=finish))) as (adapter, _),
        pytest.raises(Transient, match="broken_off"),
    ):
        ask(adapter)


def test_what_a_reasoning_model_thought_is_not_part_of_its_answer() -> None:
    with llm(reply(200, answer("<think>\nShe is sad.\n</think>\n\nHello!"))) as (adapter, _):
        assert ask(adapter).text == "Hello!"


def test_thoughts_alone_are_an_empty_answer() -> None:
    with (
        llm(reply(200, answer("<think>I wonder", finish="length"))) as (adapter, _),
        pytest.raises(Transient, match="empty"),
    ):
        ask(adapter)


def test_of_a_model_whose_thoughts_begin_in_the_prompt_a_cut_answer_without_their_end_is_all_thought() -> None:
    steps = (answer("So.</think>Hello!"), answer("She asks me to", finish="length"), answer("Plain."))
    with llm(*(reply(200, step) for step in steps)) as (adapter, _):
        assert ask(adapter).text == "Hello!"
        with pytest.raises(Transient, match=r"^empty$"):
            ask(adapter)
        assert ask(adapter).text == "Plain."


@pytest.mark.parametrize("model", [None, "", "x" * 200, "a b\0c"])
def test_a_model_name_that_is_none_gives_way_to_the_configured_one(model: str | None) -> None:
    with llm(reply(200, answer(model=model))) as (adapter, _):
        assert ask(adapter).model == "gpt-6-luna"


@pytest.mark.parametrize("content", [None, "", " \n", [], "\u200b\u200d", "\0"])
def test_an_empty_answer_is_worth_another_try(content: Any) -> None:
    with llm(reply(200, answer(content))) as (adapter, _), pytest.raises(Transient, match=r"^empty$"):
        ask(adapter)


def test_an_answer_in_parts_is_put_together() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    with llm(reply(200, answer(parts))) as (adapter, _):
        assert ask(adapter).text == "Hello"


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}])
def test_an_answer_without_usage_counts_no_tokens(usage: Any) -> None:
    with llm(reply(200, answer(usage=usage))) as (adapter, _):
        completion = ask(adapter)
    assert (completion.tokens_in, completion.tokens_out, completion.cost_usd) == (0, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"choices": [',
        b"[]",
        b"null",
        b"[" * 100_000,
        json.dumps(answer(choices=[])).encode(),
        json.dumps(answer(choices=None)).encode(),
        json.dumps(answer(choices=[{}])).encode(),
        json.dumps(answer(17)).encode(),
        json.dumps(answer(usage={"prompt_tokens": -1})).encode(),
        json.dumps(answer(usage={"prompt_tokens": "many"})).encode(),
        json.dumps(answer(usage={"completion_tokens": 10**12})).encode(),
        json.dumps({"error": {"message": "no", "code": 502}}).encode(),
        b"\xff\xfe",
    ],
)
def test_a_body_that_makes_no_sense_is_malformed_and_worth_another_try(body: bytes) -> None:
    with llm(reply(200, body)) as (adapter, _), pytest.raises(Transient, match=r"^malformed$"):
        ask(adapter)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (answer(""), "empty"),
        (answer("half an", finish="error"), "broken_off"),
        (answer(choices=[]), "malformed"),
        (answer(17), "malformed"),
    ],
)
def test_an_answer_that_is_worth_nothing_says_what_it_cost(body: dict[str, Any], reason: str) -> None:
    with llm(reply(200, body)) as (adapter, _), pytest.raises(Transient, match=f"^{reason}$") as raised:
        ask(adapter)
    assert raised.value.spent == Spent(tokens_in=1000, tokens_out=200, cost_usd=Decimal("0.0002"))


def test_a_text_that_cannot_be_encoded_is_permanent_and_never_asked() -> None:
    with llm(reply(200, answer())) as (adapter, server):
        with pytest.raises(Permanent, match=r"^encoding$"):
            ask(adapter, [ChatMessage(role="user", text="half \ud83c")])
        assert server.seen == []


def test_an_answer_with_a_wrong_content_encoding_is_malformed() -> None:
    with (
        llm(reply(200, b"plain", Content_Encoding="gzip")) as (adapter, _),
        pytest.raises(Transient, match="malformed"),
    ):
        ask(adapter)


def test_the_content_type_does_not_matter() -> None:
    with llm(reply(200, answer(), Content_Type="text/plain")) as (adapter, _):
        assert ask(adapter).text == "Hello!"


@pytest.mark.parametrize(
    ("step", "kind", "reason", "code"),
    [
        (refusal(429, "rate_limit_exceeded"), Transient, "rate", "rate_limit_exceeded"),
        (refusal(429, "insufficient_quota"), Permanent, "insufficient_quota", "insufficient_quota"),
        (refusal(429, None, type="insufficient_quota"), Permanent, "insufficient_quota", "insufficient_quota"),
        (refusal(408), Transient, "server", "x"),
        (refusal(409), Transient, "server", "x"),
        (refusal(500), Transient, "server", "x"),
        (reply(502, b"<html>"), Transient, "server", "502"),
        (refusal(503, SECRET), Transient, "server", "503"),
        (refusal(401, "invalid_api_key"), Permanent, "auth", "invalid_api_key"),
        (refusal(403, "unsupported_country"), Permanent, "auth", "unsupported_country"),
        (refusal(402), Permanent, "insufficient_quota", "x"),
        (refusal(404, "model_not_found"), Permanent, "misconfigured", "model_not_found"),
        (refusal(400, "context_length_exceeded", param="messages"), Permanent, "rejected", "context_length_exceeded"),
        (reply(307, b"", Location="https://elsewhere.test/"), Permanent, "misconfigured", "307"),
        (refusal(400, "other"), Permanent, "rejected", "other"),
        (reply(413, b""), Permanent, "rejected", "413"),
        (cut(), Transient, "disconnected", ""),
    ],
)
def test_errors_have_a_kind_a_reason_and_a_code(step: Step, kind: type[OutsideError], reason: str, code: str) -> None:
    with llm(step) as (adapter, server):
        with pytest.raises(kind) as raised:
            ask(adapter)
        assert len(server.seen) == 1
    assert (raised.value.reason, raised.value.code) == (reason, code)
    assert SECRET not in repr(raised.value)


def test_retry_after_reaches_the_caller() -> None:
    busy = reply(429, {"error": {"code": "rate_limit_exceeded"}}, Retry_After="7")
    with llm(busy) as (adapter, _), pytest.raises(Transient) as raised:
        ask(adapter)
    assert raised.value.after == timedelta(seconds=7)


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    provider = Provider(name="gone", base_url=closed_port(), model="m")
    with (
        closing(OpenAiLlm(provider, timeout=timedelta(seconds=5), connections=1)) as adapter,
        pytest.raises(Transient, match=r"^connect$"),
    ):
        ask(adapter)


def test_an_answer_that_trickles_ends_at_the_providers_timeout() -> None:
    started = time.monotonic()
    with llm(trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50, every=0.2), timeout_s=1) as pair:
        with pytest.raises(Transient, match=r"^timeout$"):
            ask(pair[0])
        assert time.monotonic() - started < 1.5


def test_the_callers_deadline_wins_when_it_comes_first() -> None:
    started = time.monotonic()
    with llm(hang(2)) as (adapter, _):
        with pytest.raises(Transient, match=r"^timeout$"):
            ask(adapter, within_s=0.3)
        assert time.monotonic() - started < 0.8


def test_after_the_deadline_nothing_is_asked() -> None:
    with llm(reply(200, answer())) as (adapter, server):
        with pytest.raises(Transient, match=r"^deadline$"):
            ask(adapter, within_s=-1)
        assert server.seen == []


def test_refused_parameters_are_changed_or_dropped_once_and_remembered() -> None:
    script = (
        refusal(400, "unsupported_parameter", param="max_completion_tokens"),
        refusal(400, "unsupported_value", param="temperature"),
        refusal(400, None, message="Unrecognized request argument supplied: reasoning_effort"),
        reply(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "no"}]}),
        reply(200, answer()),
    )
    with llm(*script) as (adapter, server):
        assert ask(adapter).text == "Hello!"
        assert [sorted(parameters(seen)) for seen in server.seen] == [
            ["max_completion_tokens", "reasoning_effort", "store", "temperature"],
            ["max_tokens", "reasoning_effort", "store", "temperature"],
            ["max_tokens", "reasoning_effort", "store"],
            ["max_tokens", "store"],
            ["max_tokens"],
        ]
        ask(adapter)
        assert parameters(server.seen[5]) == {"max_tokens": 500}


def test_what_threads_learn_of_a_provider_is_shared() -> None:
    def choosy(wire: Any, seen: Seen) -> None:
        step = refusal(400, None, param="store") if "store" in seen.json else reply(200, answer())
        step(wire, seen)

    with llm(choosy) as (adapter, server):
        threads = [Thread(target=ask, args=(adapter,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        before = len(server.seen)
        ask(adapter)
        assert len(server.seen) == before + 1


def test_a_complaint_that_dropping_does_not_heal_is_not_remembered() -> None:
    complaint = refusal(400, None, param="store")
    with llm(complaint, refusal(400, "other"), reply(200, answer())) as (adapter, server):
        with pytest.raises(Permanent, match="rejected other"):
            ask(adapter)
        ask(adapter)
        assert "store" in parameters(server.seen[2])


def test_a_prompt_that_is_too_long_drops_no_parameter() -> None:
    too_long = refusal(400, None, message="'max_completion_tokens' is too large: maximum context length is 9")
    with llm(too_long) as (adapter, server):
        with pytest.raises(Permanent):
            ask(adapter)
        assert len(server.seen) == 1


def test_a_server_that_always_complains_is_left_in_the_end() -> None:
    with llm(refusal(400, None, message="store temperature max_tokens max_completion_tokens reasoning_effort")) as pair:
        with pytest.raises(Permanent):
            ask(pair[0])
        assert len(pair[1].seen) == 6


def test_connections_are_kept_between_calls_also_after_errors() -> None:
    with llm(refusal(500), refusal(429), reply(200, answer())) as (adapter, server):
        for _ in range(2):
            with pytest.raises(Transient):
                ask(adapter)
        for _ in range(50):
            ask(adapter)
        assert server.connections == 1


def test_a_kept_connection_that_closes_under_the_question_does_not_fail_it() -> None:
    with llm(reply(200, answer()), cut(), reply(200, answer())) as (adapter, _):
        ask(adapter)
        assert ask(adapter).text == "Hello!"


def test_no_text_and_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with llm(reply(200, answer("her answer")), refusal(500, SECRET)) as (adapter, _):
        ask(adapter)
        with pytest.raises(Transient):
            ask(adapter)
    assert SECRET not in caplog.text
    assert "her answer" not in caplog.text
    assert "Bearer" not in caplog.text


CLEAN = {"flagged": False, "categories": {"self-harm": False, "hate": False}, "category_scores": {}}


@contextmanager
def moderator(step: Step) -> Generator[tuple[OpenAiModerator, ScriptedServer]]:
    with (
        ScriptedServer(step) as server,
        closing(OpenAiModerator(f"{server.url}/v1", "key", connections=5)) as adapter,
    ):
        yield adapter, server


def verdicts(*results: dict[str, Any]) -> Step:
    return reply(200, {"id": "modr-1", "model": "omni-moderation-latest", "results": list(results)})


def test_all_texts_are_judged_in_one_call() -> None:
    with moderator(verdicts(CLEAN, CLEAN)) as (adapter, server):
        verdict = adapter.check(["one", " ", "two"])
    assert verdict.checked
    assert not verdict.flagged
    (seen,) = server.seen
    assert seen.target == "/v1/moderations"
    assert seen.json == {"model": "omni-moderation-latest", "input": ["one", "two"]}


def test_one_flagged_text_flags_them_all() -> None:
    hateful = {"flagged": True, "categories": {"hate": True, "self-harm": False, "violence": None}}
    with moderator(verdicts(CLEAN, hateful)) as (adapter, _):
        verdict = adapter.check(["one", "two"])
    assert (verdict.flagged, verdict.self_harm, verdict.categories) == (True, False, ("hate",))


@pytest.mark.parametrize("category", ["self-harm", "self-harm/intent", "self-harm/instructions"])
def test_any_category_of_self_harm_counts(category: str) -> None:
    with moderator(verdicts({"flagged": True, "categories": {category: True}})) as (adapter, _):
        assert adapter.check(["one"]).self_harm


def test_nothing_to_judge_asks_nobody() -> None:
    with moderator(verdicts(CLEAN)) as (adapter, server):
        assert adapter.check(["", "  "]).checked
        assert server.seen == []


@pytest.mark.parametrize(
    "step",
    [refusal(401), refusal(429), refusal(500), cut(), reply(200, b"?"), reply(200, {}), verdicts(), hang(3)],
)
def test_what_cannot_be_judged_passes_unchecked_within_2_s(step: Step) -> None:
    with moderator(step) as (adapter, _):
        started = time.monotonic()
        verdict = adapter.check(["one"])
        assert time.monotonic() - started < 2.3
    assert (verdict.checked, verdict.flagged) == (False, False)


def test_moderation_that_is_off_checks_nothing() -> None:
    assert not NoModerator().check(["one"]).checked
