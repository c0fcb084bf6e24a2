import json
from typing import Any

import pytest
from openai import BadRequestError

from tests.deploy.simulator.test_openai import chat, said
from tests.deploy.simulator.world import World

SISTERS = {"type": "string", "enum": ["ana", "bea"]}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "hand_over", "parameters": {"type": "object", "properties": {"to": SISTERS}}},
    }
]


def called(world: World, text: str, **more: Any) -> tuple[str, Any] | None:
    """Which function the model calls and with what, None for an answer in words."""
    given: dict[str, Any] = {"tools": TOOLS} | more
    choice = chat(world, text, **given).choices[0]
    if not choice.message.tool_calls:
        assert choice.message.content
        return None
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    return call.function.name, json.loads(call.function.arguments)


def test_whoever_is_named_after_the_trigger_is_handed_over_to_even_when_there_is_no_such_sister(world: World):
    assert called(world, "please simulate-hand-over-bea, now") == ("hand_over", {"to": "bea"})
    assert called(world, "Simulate-Hand-Over nobody") == ("hand_over", {"to": "nobody"})


@pytest.mark.parametrize(
    "text", ["could someone else answer that?", "Somebody else, please", "is there another of you"]
)
def test_who_asks_for_somebody_else_gets_the_first_of_the_others(world: World, text: str):
    assert called(world, text) == ("hand_over", {"to": "ana"})


def test_an_ordinary_text_is_answered_in_words_and_only_the_last_text_counts(world: World):
    assert called(world, "how are you?") is None
    assert chat(world, "somebody else", "thank you", tools=TOOLS).choices[0].message.tool_calls is None


def test_without_tools_or_with_the_choice_none_there_is_no_call(world: World):
    assert "simulate-hand-over bea" in said(chat(world, "simulate-hand-over bea"))
    assert called(world, "simulate-hand-over bea", tool_choice="none") is None
    assert called(world, "how are you?", tool_choice="required") == ("hand_over", {"to": "ana"})


def test_a_call_costs_tokens_like_any_answer(world: World):
    usage, plain = chat(world, "someone else", tools=TOOLS).usage, chat(world, "someone else").usage
    assert usage is not None
    assert plain is not None
    assert usage.completion_tokens > 0
    assert usage.prompt_tokens > plain.prompt_tokens


def test_a_stream_tells_the_same_call(world: World):
    create: Any = world.openai.chat.completions.create
    messages = [{"role": "user", "content": "simulate-hand-over bea"}]
    with create(model="gpt-4o-mini", messages=messages, tools=TOOLS, stream=True) as stream:
        deltas = [chunk.choices[0].delta for chunk in stream]
    (call,) = [call for delta in deltas for call in delta.tool_calls or ()]
    assert (call.index, json.loads(call.function.arguments)) == (0, {"to": "bea"})


@pytest.mark.parametrize("tools", [[{"type": "function"}], [{"type": "x", "function": {"name": "a"}}], "none"])
def test_tools_that_are_none_are_a_400(world: World, tools: Any):
    with pytest.raises(BadRequestError):
        chat(world, "hello", tools=tools)


def test_a_model_may_be_one_that_takes_no_tools(world: World):
    with pytest.raises(BadRequestError):
        chat(world, "hello", tools=TOOLS, reasoning_effort="low", temperature=None)
    world.faults(llm={"unsupported_parameter": ["tools"]})
    with pytest.raises(BadRequestError) as caught:
        chat(world, "hello", tools=TOOLS)
    assert caught.value.param == "tools"


def test_who_takes_over_says_so_in_her_own_words_and_always_the_same(world: World):
    system = "You are Bea, one of two AI sisters.\n\nYou take over from Ana with this answer. Say so."
    text = said(chat(world, "hello", system=system))
    assert "Ana" in text.splitlines()[0]
    assert said(chat(world, "hello", system=system)) == text
    assert "Ana" not in said(chat(world, "hello", system="You are Bea, one of two AI sisters."))


def test_one_of_several_is_short_and_says_whom_she_heard(world: World):
    system = "You are Bea, one of two AI sisters.\n\nThe last messages are for several of you: Ana and Bea answer."
    alone = said(chat(world, "hello", system="You are Bea, one of two AI sisters."))
    first = said(chat(world, "hello", system=system))
    assert len(first) < len(alone)
    assert "Ana" not in first
    assert "after Ana" in said(chat(world, "hello", system=f"{system}\n\nAna has answered already: what was said"))
