import json
import time
from typing import Any

import pytest

from core.errors import Permanent, Transient
from core.ports import Choice, Completion
from tests.core.adapters.scripted import Step, reply
from tests.core.adapters.test_openai import PROMPT, answer, llm, refusal

CHOICE = Choice(
    name="hand_over",
    description="Gives it to another.",
    argument="to",
    options={"kasho": "Kasho, music", "yuri": "Yuri, books"},
)


def calling(arguments: Any, name: str = "hand_over", *, content: Any = None) -> Step:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return called([call], content=content)


def called(tool_calls: Any, *, content: Any = None, finish: str = "tool_calls") -> Step:
    body = answer(content, finish)
    body["choices"][0]["message"]["tool_calls"] = tool_calls
    return reply(200, body)


def ask(adapter: Any, choice: Choice | None = CHOICE) -> Completion:
    return adapter.complete(PROMPT, deadline=time.monotonic() + 60, choice=choice)


def test_a_choice_is_a_function_with_the_options_as_an_enum() -> None:
    with llm(reply(200, answer())) as (adapter, server):
        assert ask(adapter).chosen is None
        ask(adapter, None)
    (tool,) = server.seen[0].json["tools"]
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "hand_over"
    parameters = tool["function"]["parameters"]
    assert parameters["properties"]["to"]["enum"] == ["kasho", "yuri"]
    assert "yuri: Yuri, books" in parameters["properties"]["to"]["description"]
    assert parameters["required"] == ["to"]
    assert "tools" not in server.seen[1].json


@pytest.mark.parametrize("arguments", ['{"to": "yuri"}', '{"to": " Yuri\\n", "why": "books"}', {"to": "yuri"}])
@pytest.mark.parametrize("content", [None, "Let me hand you over."])
def test_a_call_that_names_an_option_is_chosen_whatever_was_said_beside_it(arguments: Any, content: Any) -> None:
    with llm(calling(arguments, content=content)) as (adapter, _):
        completion = ask(adapter)
    assert (completion.chosen, completion.text, completion.refused) == ("yuri", "", False)
    assert (completion.tokens_in, completion.tokens_out) == (1000, 200)


UNREADABLE = [
    calling('{"to": "botan"}'),
    calling('{"to": 7}'),
    calling('{"to": ["yuri"]}'),
    calling('{"from": "yuri"}'),
    calling('{"to": "yu'),
    calling(""),
    calling("[]"),
    calling('{"to": "yuri"}', "something_else"),
    called([{"id": "1", "type": "custom", "custom": {"name": "hand_over", "input": "yuri"}}]),
    called(["yuri"]),
    called({"to": "yuri"}),
    called(17),
]


@pytest.mark.parametrize("step", UNREADABLE)
def test_a_call_that_names_no_option_is_told_apart_from_none(step: Step) -> None:
    with llm(step) as (adapter, _):
        completion = ask(adapter)
    assert (completion.chosen, completion.text) == ("", "")


def test_the_text_beside_a_call_that_names_no_option_stays() -> None:
    with llm(calling('{"to": "mika"}', content="Hello!")) as (adapter, _):
        completion = ask(adapter)
    assert (completion.chosen, completion.text) == ("", "Hello!")


@pytest.mark.parametrize("tool_calls", [None, []])
def test_an_answer_without_a_call_has_to_say_something(tool_calls: Any) -> None:
    with llm(called(tool_calls)) as (adapter, _), pytest.raises(Transient, match=r"^empty$"):
        ask(adapter)


def test_a_call_that_nobody_offered_is_no_answer() -> None:
    with llm(calling('{"to": "yuri"}')) as (adapter, _), pytest.raises(Transient, match=r"^empty$"):
        ask(adapter, None)


def test_a_refusal_beside_a_call_is_a_refusal() -> None:
    with llm(called([{"function": {}}], finish="content_filter")) as (adapter, _):
        completion = ask(adapter)
    assert (completion.refused, completion.chosen) == (True, None)


@pytest.mark.parametrize(
    "complaint",
    [
        refusal(400, "unsupported_parameter", param="tools"),
        refusal(400, None, message="Unrecognized request argument supplied: tools"),
        refusal(400, None, message="registry.example/library/small does not support tools"),
        refusal(400, None, message='"auto" tool choice requires --enable-auto-tool-choice'),
        refusal(404, None, message="No endpoints found that support tool use."),
        reply(422, {"detail": [{"loc": ["body", "tools"], "msg": "extra fields not permitted"}]}),
    ],
)
def test_a_provider_that_takes_no_tools_is_asked_without_and_remembered(complaint: Step) -> None:
    with llm(complaint, reply(200, answer())) as (adapter, server):
        assert ask(adapter).text == "Hello!"
        ask(adapter)
    assert ["tools" in seen.json for seen in server.seen] == [True, False, False]
    assert all("temperature" in seen.json for seen in server.seen)


def test_a_call_that_the_vendor_could_not_read_is_asked_again_without_and_not_remembered() -> None:
    with llm(refusal(400, "tool_use_failed"), reply(200, answer())) as (adapter, server):
        assert ask(adapter).text == "Hello!"
        ask(adapter)
    assert ["tools" in seen.json for seen in server.seen] == [True, False, True]


def test_a_path_or_model_that_does_not_exist_is_no_word_about_tools() -> None:
    with llm(refusal(404, "model_not_found")) as (adapter, server):
        with pytest.raises(Permanent, match="misconfigured"):
            ask(adapter)
        assert len(server.seen) == 1


def test_the_request_is_json_that_any_server_can_read() -> None:
    with llm(reply(200, answer())) as (adapter, server):
        ask(adapter)
    assert json.loads(server.seen[0].body)["tools"][0]["function"]["parameters"]["type"] == "object"
