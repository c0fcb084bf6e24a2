import base64
import math
import time
from collections.abc import Sequence
from typing import Any

import pytest
from openai import APIConnectionError, APIStatusError, AuthenticationError, BadRequestError, OpenAI, RateLimitError
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from deploy.simulator.openai_moderation import CATEGORIES
from tests.deploy.simulator.world import World

SYSTEM = "You are Kasho, one of three AI sisters.\nYou love music."


def chat(world: World, *texts: str, system: str = SYSTEM, **more: Any) -> ChatCompletion:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": system},
        {"role": "user", "content": "an old question"},
        {"role": "assistant", "content": "an old answer"},
        *({"role": "user", "content": text} for text in texts),
    ]
    given: dict[str, Any] = {"model": "gpt-6-luna", "reasoning_effort": "none", "temperature": 0.7} | more
    create: Any = world.openai.chat.completions.create
    answer: ChatCompletion = create(messages=messages, **given)
    return answer


def said(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


def test_an_answer_names_the_character_takes_up_the_last_texts_and_says_it_is_simulated(world: World):
    answer = chat(world, "how do chords work?", "and scales?")
    text = said(answer)
    assert "Kasho" in text
    assert "“how do chords work?” and “and scales?”" in text
    assert "old question" not in text
    assert text.endswith("(simulated)")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 20


def test_the_same_request_gets_the_same_answer_and_another_one_another(world: World):
    assert len({said(chat(world, "hello")) for _ in range(8)}) == 1
    assert said(chat(world, "hello")) != said(chat(world, "goodbye"))
    assert "Yuri" in said(chat(world, "hello", system="You are Yuri, one of three AI sisters."))


def test_long_and_many_texts_are_taken_up_in_short(world: World):
    text = said(chat(world, *(f"text {n} {'word ' * 60}" for n in range(9))))
    assert len(text) < 1500
    assert "text 8" in text
    assert "4 more before that" in text


def test_what_somebody_else_said_is_not_taken_for_the_users_words(world: World):
    text = said(chat(world, "asked before", "[Yuri, one of your sisters, answered: a book]", "and a song?"))
    assert "“and a song?”" in text
    assert "asked before" not in text
    assert "a book" not in text


def test_what_a_message_replies_to_is_not_taken_for_the_users_words(world: World):
    text = said(chat(world, '[in reply to: "*Yuri*: a book [or two]"]\nwhich one?'))
    assert "You wrote “which one?”." in text
    assert "a book" not in text


def test_a_token_limit_cuts_the_answer_and_says_so(world: World):
    answer = chat(world, "hello", max_completion_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 5


def test_a_reasoning_model_wants_the_new_name_of_the_limit(world: World):
    with pytest.raises(BadRequestError) as caught:
        chat(world, "hello", max_tokens=5)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "max_tokens")
    with pytest.raises(BadRequestError) as caught:
        chat(world, "hello", reasoning_effort="low")
    assert (caught.value.code, caught.value.param) == ("unsupported_value", "temperature")


def test_an_older_model_takes_the_old_name_and_knows_no_effort(world: World):
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
    create = world.openai.chat.completions.create
    assert create(model="gpt-4o-mini", messages=messages, max_tokens=5).choices[0].finish_reason == "length"
    with pytest.raises(BadRequestError) as caught:
        create(model="gpt-4o-mini", messages=messages, reasoning_effort="none")
    assert caught.value.param == "reasoning_effort"


def test_a_stream_tells_the_same_as_one_answer(world: World):
    whole = said(chat(world, "hello"))
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "hello"},
    ]
    options: Any = {"include_usage": True}
    with world.openai.chat.completions.create(
        model="gpt-6-luna", messages=messages, stream=True, stream_options=options
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].usage is not None


def test_a_key_is_needed_and_may_be_prescribed(world: World):
    assert world.raw("POST", "/v1/chat/completions", b"{}")[0] == 401
    world.faults(llm={"api_key": "right"})
    with pytest.raises(AuthenticationError):
        chat(world, "hello")
    with OpenAI(api_key="right", base_url=f"{world.url}/v1") as client:
        assert client.models.list().data[0].id == "gpt-6-luna"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"model":"m"}', b'{"model":"m","messages":[]}', b'{"messages":[{}]}', b"\xff"]
)
def test_a_request_that_is_none_is_a_400(world: World, body: bytes):
    assert world.raw("POST", "/v1/chat/completions", body, {"Authorization": "Bearer x"})[0] == 400


def test_quota_is_told_from_rate(world: World):
    world.faults(llm={"status": 429, "code": "insufficient_quota"})
    with pytest.raises(RateLimitError) as caught:
        chat(world, "hello")
    assert caught.value.code == "insufficient_quota"
    world.faults(llm={"status": 429, "retry_after": 7})
    with pytest.raises(RateLimitError) as caught:
        chat(world, "hello")
    assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "7")


def test_faults_change_the_answer_itself(world: World):
    def first(kind: str) -> ChatCompletion:
        world.faults(llm={kind: 1})
        return chat(world, "hello")

    assert said(first("empty")) == ""
    refused = first("refusal").choices[0].message
    assert (refused.content, bool(refused.refusal)) == (None, True)
    assert first("content_filter").choices[0].finish_reason == "content_filter"
    assert len(said(first("overlong"))) > 5000
    assert "**bold**" in said(first("markdown"))
    assert "suomeksi" in said(first("wrong_language"))


def test_a_malformed_or_cut_answer_is_no_answer(world: World):
    world.faults(llm={"malformed": 1})
    with pytest.raises(Exception, match=r".+") as caught:
        chat(world, "hello")
    assert not isinstance(caught.value, APIStatusError)
    world.faults(llm={"cut": 1})
    with pytest.raises(APIConnectionError):
        chat(world, "hello")


def test_a_trickling_answer_takes_its_time_and_is_whole(world: World):
    world.faults(llm={"trickle": 1, "trickle_ms": 800})
    started = time.monotonic()
    assert said(chat(world, "hello")).endswith("(simulated)")
    assert time.monotonic() - started > 0.7


def test_a_hanging_model_is_left_by_its_client(world: World):
    world.faults(llm={"hang": 1})
    with pytest.raises(APIConnectionError):
        world.openai.with_options(timeout=0.3).chat.completions.create(
            model="gpt-6-luna", messages=[{"role": "user", "content": "hello"}]
        )


def test_faults_may_befall_one_model_only(world: World):
    world.faults(llm={"status": 500, "models": "broken"})
    assert chat(world, 'my "model": "broken" is')
    with pytest.raises(APIStatusError):
        chat(world, "hello", model="broken", reasoning_effort=None)


def test_latency_can_be_set(world: World):
    world.faults(llm={"latency_ms": 250})
    started = time.monotonic()
    chat(world, "hello")
    assert time.monotonic() - started > 0.25


def test_moderation_flags_its_trigger_words_and_nothing_else(world: World):
    texts = ["all is well", "please SIMULATE-flag this", "simulate-self-harm", "simulate-violence-graphic"]
    results = world.openai.moderations.create(input=texts, model="omni-moderation-latest").results
    flags = [[k for k, v in r.categories.model_dump(by_alias=True).items() if v] for r in results]
    assert flags == [[], ["harassment"], ["self-harm", "self-harm/intent"], ["violence/graphic"]]
    assert [r.flagged for r in results] == [False, True, True, True]
    assert set(results[0].category_scores.model_dump(by_alias=True)) == set(CATEGORIES)
    assert results[0].category_applied_input_types.self_harm == ["text"]


@pytest.mark.parametrize(
    "text", ["I want to KILL MYSELF", "ich will nicht mehr leben", "\u3082\u3046\u6b7b\u306b\u305f\u3044"]
)
def test_a_plain_cry_for_help_is_flagged_as_one(world: World, text: str):
    result = world.openai.moderations.create(input=text, model="omni-moderation-latest").results[0]
    assert (result.flagged, result.categories.self_harm_intent, result.categories.violence) == (True, True, False)


def test_an_answer_can_be_made_to_need_moderation(world: World):
    text = said(chat(world, "simulate-bad-answer"))
    assert world.openai.moderations.create(input=text).results[0].flagged
    assert not world.openai.moderations.create(input="simulate-bad-answer").results[0].flagged


def cosine(one: Sequence[float], two: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_embeddings_are_alike_each_time_and_near_for_texts_with_common_words(world: World):
    texts = ["a good science fiction book", "good books of science fiction", "how do I tune a guitar", "音楽が好き", ""]
    rows = world.openai.embeddings.create(model="text-embedding-3-small", input=texts).data
    one, two, three, four, empty = (row.embedding for row in rows)
    assert len(one) == 1536
    assert all(math.isclose(cosine(v, v), 1, abs_tol=1e-4) for v in (one, two, three, four, empty))
    assert cosine(one, two) > 0.5 > cosine(one, three)
    again = world.openai.embeddings.create(model="m", input=texts[0], encoding_format="float", dimensions=1536)
    assert cosine(again.data[0].embedding, one) == pytest.approx(1, abs=1e-4)
    assert (
        len(world.openai.embeddings.create(model="text-embedding-3-small", input="x", dimensions=8).data[0].embedding)
        == 8
    )


def test_a_recording_that_carries_words_is_heard(world: World):
    create = world.openai.audio.transcriptions.create
    voice = b"OggS\x00\r\n--x\x00simulated-words:what is a chord?\n\x00\x01"
    assert create(model="gpt-transcribe", file=("voice.ogg", voice, "audio/ogg")).text == "what is a chord?"
    assert "of 3 bytes" in create(model="gpt-transcribe", file=("voice.ogg", b"abc", "audio/ogg")).text
    assert create(model="m", file=("a.mp3", voice), response_format="text").strip() == "what is a chord?"
    with pytest.raises(BadRequestError):
        create(model="gpt-transcribe", file=("voice.amr", b"abc", "audio/amr"))


def test_base64_embeddings_are_the_same_numbers(world: World):
    raw = b'{"model":"m","input":"hello","encoding_format":"base64","dimensions":4}'
    status, _, body = world.raw("POST", "/v1/embeddings", raw, {"Authorization": "Bearer x"})
    assert status == 200
    assert len(base64.b64decode(body.decode().split('"embedding":"')[1].split('"')[0])) == 16
