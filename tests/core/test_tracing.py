"""Traces: one from a message to its sends whoever works on it, nothing told that a person wrote, nobody held up."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from core import tracing
from core.adapters.openai import OpenAiLlm
from core.errors import ConfigurationError, Transient
from tests.collector import Collector, collecting
from tests.core.simulated import Simulated
from tests.fakes import Bot, completion
from tests.webhook.posting import RecordingDoor, Twilio, message_form, twilio_settings, web_settings
from webhook.app import create_app

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TEXT = "My secret is a rare synthesizer"
UNHEARD = "whatsapp:+4915550001234"
NAME = "Anastasia Unheard"

Trace = Callable[[], Collector]


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """Traces the test's process; called, it stops that and gives what was exported."""
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        tracing.start("sisters-test")

        def ended() -> Collector:
            tracing.stop()
            return collector

        yield ended
        tracing.stop()


def comes_in(bot: Bot, text: str = TEXT) -> None:
    """As the webhook takes it; nobody has stored it yet."""
    with tracing.resume("POST /whatsapp", [], kind="server"):
        bot.accept(text, sender=UNHEARD, profile_name=NAME, traceparent=tracing.traceparent())


def sampled(traceparent: str) -> bool:
    return bool(int(traceparent[-2:], 16) & 1)


def test_without_an_endpoint_nothing_is_traced_and_no_span_is_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ENDPOINT, raising=False)
    tracing.start("sisters-test")
    with tracing.span("a") as one, tracing.resume("b", ["00-" + "1" * 32 + "-" + "2" * 16 + "-01"]) as other:
        assert one is other
        assert tracing.traceparent() == ""


def test_where_nothing_is_traced_nothing_that_traces_is_even_imported():
    told = "import sys, webhook.app, worker.running; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60)
    assert "core.tracing" in done.stdout.split()
    assert {"core.spans", "opentelemetry.exporter"}.isdisjoint(done.stdout.split())  # redis-py imports some of the SDK


def test_without_an_endpoint_no_row_bears_a_trace(bot: Bot):
    bot.say(TEXT)
    assert bot.rows("SELECT traceparent FROM messages UNION SELECT traceparent FROM deliveries") == [
        {"traceparent": None}
    ]


def test_an_endpoint_without_the_packages_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError) as told:
        tracing.start("sisters-test")
    [problem] = told.value.problems
    assert problem.startswith(f"{ENDPOINT}: ")
    assert "uv sync --extra tracing" in problem
    assert "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http" in problem


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
)  # fmt: skip
def test_what_opentelemetry_switches_off_is_off(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")  # nobody asks what it would speak
    monkeypatch.setenv(name, value)
    tracing.start("sisters-test")
    with tracing.span("a"):
        assert tracing.traceparent() == ""


def test_a_protocol_that_is_not_spoken_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigurationError, match="unset OTEL_EXPORTER_OTLP_PROTOCOL"):
        tracing.start("sisters-test")


def test_the_standard_variables_name_and_sample(monkeypatch: pytest.MonkeyPatch):
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-bot")
        tracing.start("sisters-test", instance="worker-1")
        with tracing.span("a"):
            pass
        tracing.stop()
        resource = collector.one("a").resource
        assert (resource["service.name"], resource["service.instance.id"]) == ("our-bot", "worker-1")
        assert resource["deployment.environment.name"] == "test"
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        tracing.start("sisters-test")
        with tracing.span("b"):
            assert not sampled(tracing.traceparent())
        tracing.stop()
        assert collector.named("b") == []


def test_an_empty_variable_counts_as_unset_as_it_does_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    empty = ("OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_EXPORTER_OTLP_TIMEOUT")
    with collecting() as collector:
        for name in empty:
            monkeypatch.setenv(name, "")
        monkeypatch.setenv(ENDPOINT, collector.url)
        tracing.start("sisters-test")
        with tracing.span("a"):
            pass
        tracing.stop()
    assert collector.one("a").resource["service.name"] == "sisters-test"
    assert caplog.records == []


def test_what_the_webhook_decided_of_sampling_holds_for_the_worker(trace: Trace):
    with tracing.resume("turn", ["00-" + "1" * 32 + "-" + "2" * 16 + "-00"]):
        assert not sampled(tracing.traceparent())
    assert trace().spans == []


def test_a_turn_and_its_steps_are_one_trace_with_the_webhook(
    database_url: str, redis_url: str, simulated: Simulated, trace: Trace
):
    llm = OpenAiLlm(simulated.provider("first", "gpt-6-luna"), timeout=timedelta(seconds=10), connections=2)
    bot = Bot(database_url, redis_url, asks=llm)
    comes_in(bot)
    bot.take_in()
    bot.report("delivered", provider_id=f"MM{1:032x}")
    bot.close()
    llm.close()
    seen = trace()
    received, turn = seen.one("POST /whatsapp"), seen.one("turn")
    assert {span.trace for span in seen.spans} == {received.trace}
    assert {span.name: span.parent for span in seen.spans if span is not received} == {
        "intake": received.id, "turn": received.id, "route": turn.id, "moderate": turn.id, "chat gpt-6-luna": turn.id,
        "store": turn.id, "send": turn.id, "report": turn.id,
    }  # fmt: skip
    assert turn.attributes["sisters.turn.outcome"] == "answered"
    chat = seen.one("chat gpt-6-luna").attributes
    assert (chat["gen_ai.provider.name"], chat["gen_ai.operation.name"]) == ("first", "chat")
    assert chat["gen_ai.usage.input_tokens"] > 0


def test_a_turn_of_several_messages_belongs_to_the_first_and_is_linked_to_the_others(bot: Bot, trace: Trace):
    comes_in(bot, "First thing")
    comes_in(bot, "Second thing")
    bot.take_in()
    seen = trace()
    first, second = seen.named("POST /whatsapp")
    for name in ("intake", "turn"):
        assert (seen.one(name).parent, seen.one(name).links) == (first.id, [second.trace])


def test_a_message_that_nobody_traced_begins_a_trace_with_its_turn(bot: Bot, trace: Trace):
    bot.say(TEXT)
    seen = trace()
    turn = seen.one("turn")
    assert turn.parent == ""
    assert seen.one("send").parent == turn.id


def test_a_turn_that_another_worker_takes_over_stays_in_its_trace(bot: Bot, trace: Trace):
    bot.llm.answers = [Transient("server")]
    comes_in(bot)
    bot.take_in()
    bot.change("UPDATE turns SET next_attempt_at = now()")
    other = Bot(bot.database_url, bot.redis_url)
    for turn in other.turns.claim(1):
        other.turns.run(turn)
    other.close()
    assert len(other.channel.sent) == 1
    seen = trace()
    postponed, answered = seen.named("turn")
    assert postponed.parent == answered.parent == seen.one("POST /whatsapp").id
    assert postponed.attributes["sisters.turn.outcome"] == "postponed"
    assert seen.one("send").parent == answered.id


def test_a_send_that_another_worker_repeats_from_its_row_stays_in_its_turn(bot: Bot, trace: Trace):
    bot.channel.outcomes = [Transient("rate", code="20429")]
    comes_in(bot)
    bot.take_in()
    bot.change("UPDATE deliveries SET next_attempt_at = now()")
    other = Bot(bot.database_url, bot.redis_url)
    [conversation_id] = other.outbox.due(10)
    other.outbox.push(conversation_id)
    other.close()
    seen = trace()
    first, second = seen.named("send")
    assert first.parent == second.parent == seen.one("turn").id
    assert (first.failed, first.attributes["error.type"], first.attributes["sisters.error.code"]) == (
        True, "rate", "20429",
    )  # fmt: skip
    assert (second.failed, second.attributes["sisters.delivery.attempt"]) == (False, 2)


def test_a_turn_that_crashes_and_its_notice_stay_in_their_trace(bot: Bot, trace: Trace):
    unstorable = completion("Fine.", model="a\0b")
    bot.llm.answers = [unstorable, unstorable]
    comes_in(bot)
    bot.take_in()
    bot.change("UPDATE turns SET next_attempt_at = now(), created_at = now() - interval '2 hours'")
    for turn in bot.turns.claim(1):
        bot.turns.run(turn)
    assert len(bot.channel.sent) == 1
    seen = trace()
    assert {span.trace for span in seen.spans} == {seen.one("POST /whatsapp").trace}
    assert [span.attributes.get("error.type") for span in seen.named("store") if span.failed] == [
        "psycopg.DataError", "psycopg.DataError",
    ]  # fmt: skip
    assert seen.one("send").parent in {turn.id for turn in seen.named("turn")}


def test_a_turn_of_a_worker_that_traces_nothing_hands_on_what_its_message_came_with(bot: Bot):
    bot.say(TEXT, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    assert bot.rows("SELECT traceparent FROM deliveries") == [
        {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    ]


def test_no_span_tells_what_was_written_by_whom_or_what_an_exception_says(bot: Bot, trace: Trace):
    bot.llm.answers = [f"{TEXT}, she said", ValueError(f"cannot digest {TEXT} of {UNHEARD}")]
    bot.channel.outcomes = [None, RuntimeError(f"{TEXT} for {UNHEARD}")]
    comes_in(bot)
    bot.take_in()
    comes_in(bot, f"{TEXT} again")
    bot.take_in()
    with pytest.raises(ValueError, match="secret"), tracing.span("fails"):
        raise ValueError(TEXT)
    seen = trace()
    assert (seen.one("fails").failed, seen.one("fails").attributes["error.type"]) == (True, "builtins.ValueError")
    assert not any(span.events for span in seen.spans)
    for secret in (TEXT, "secret", "synthesizer", UNHEARD, UNHEARD.removeprefix("whatsapp:+"), NAME, "Anastasia"):
        assert secret.encode() not in seen.raw


@pytest.mark.parametrize("hangs", [True, False])
def test_a_collector_that_is_dead_delays_no_turn_and_no_stop(bot: Bot, monkeypatch: pytest.MonkeyPatch, *, hangs: bool):
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))
    if hangs:
        dead.listen()  # connections are taken and never answered; else they are refused
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{dead.getsockname()[1]}")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    tracing.start("sisters-test")
    began = time.monotonic()
    for _ in range(200):
        with tracing.span("ten times what the queue holds"):
            pass
    assert time.monotonic() - began < 1
    comes_in(bot)
    bot.take_in()
    assert len(bot.channel.sent) == 1
    assert time.monotonic() - began < 5
    began = time.monotonic()
    tracing.stop()
    assert time.monotonic() - began < 3
    dead.close()


def test_the_webhook_hands_its_trace_on_and_goes_on_with_that_of_a_proxy(trace: Trace):
    door = RecordingDoor()
    twilio = Twilio(create_app(web_settings(), twilio_settings(), door))
    proxy = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    assert twilio.post("/whatsapp", message_form(), headers={"traceparent": proxy}).status_code == 200
    door.away = True
    assert twilio.post("/whatsapp", message_form()).status_code == 503
    assert twilio.post("/whatsapp", message_form(), token="forged").status_code == 403
    received, refused = trace().named("POST /whatsapp")  # what nobody signed has no span
    assert (received.trace, received.parent) == ("1" * 32, "2" * 16)
    assert door.messages[0].traceparent == f"00-{received.trace}-{received.id}-01"
    assert received.attributes["http.response.status_code"] == 200
    assert (refused.failed, refused.attributes["error.type"]) == (True, "redis_timeout")
