"""One message is one trace, from the webhook to Twilio, over real processes, whose last spans are sent as they stop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector import Collector, collecting
from tests.system.conftest import running_system
from tests.system.running import System

NEVER_BEFORE_THE_END = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
TEXT = "Which synthesizer should I buy for the rehearsal room?"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def one_conversation(system: System, person: str) -> list[str]:
    """Returns what may stand in no span: texts, names, addresses and secrets."""
    system.stack.phone.inbound(person, TEXT)
    system.wait_for_replies(person, 1)
    system.wait_until(
        lambda: [row["status"] for row in system.rows("SELECT status FROM deliveries")] == ["delivered"],
        within_s=30,
        what="the report that it was delivered",
    )
    messages = system.stack.phone.messages()
    texts = [line for m in messages for line in m["body"].splitlines() if line]
    names = [m["profile_name"] for m in messages if m["profile_name"]]
    addresses = [m[side].removeprefix("whatsapp:+") for m in messages for side in ("from", "to")]
    secrets = [system.stack.environ[name] for name in ("TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID", "OPENAI_API_KEY")]
    return [*texts, *names, *addresses, *secrets, "collector-key"]


def test_one_message_is_one_trace_from_the_webhook_to_twilio(
    logs: Path, tmp_path: Path, collector: Collector, person: str
) -> None:
    key = tmp_path / "headers"
    key.write_text("api-key=collector-key\n")
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS_FILE": str(key),
        "OTEL_TRACES_SAMPLER": "",
        **NEVER_BEFORE_THE_END,
    }
    with running_system(logs, environ) as system:
        secrets = one_conversation(system, person)
        assert collector.spans == []  # so all that follows was sent at the stop

    assert {span.trace for span in collector.spans} == {collector.one("POST /whatsapp").trace}
    received, turn, chat = collector.one("POST /whatsapp"), collector.one("turn"), collector.one("chat gpt-6-luna")
    sent = collector.one("send")
    assert received.parent == ""
    assert {span.name for span in collector.spans if span.parent == received.id} == {"intake", "turn"}
    steps = sorted(span.name for span in collector.spans if span.parent == turn.id)
    assert [step for step in steps if step != "report"] == [
        "chat gpt-6-luna", "moderate", "moderate", "route", "send", "store",
    ]  # fmt: skip
    assert steps.count("report") >= 1
    assert (received.kind, chat.kind, sent.kind) == ("server", "client", "client")
    assert sent.attributes["messaging.message.id"].startswith("SM")
    assert chat.attributes["gen_ai.provider.name"] == "openai"
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0
    assert received.resource["service.name"] == "sisters-webhook"
    assert turn.resource["service.name"] == sent.resource["service.name"] == "sisters-worker"
    assert not any(span.failed or span.events for span in collector.spans)
    assert [secret for secret in secrets if secret.encode() in collector.raw] == []
    assert {headers["api-key"] for headers in collector.headers} == {"collector-key"}
