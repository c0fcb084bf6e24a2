"""Two providers, each a server of its own, fail in every way that a provider can."""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.local.child import free_port
from deploy.local.phone import Phone
from tests.system.conftest import running_system
from tests.system.running import System

LLM_TIMEOUT_S = 2
RETRY_MAX_AGE_S = 8
FAILURE_NOTICE = "froze mid-sentence"
LAST_TURN = (
    "SELECT t.* FROM turns t JOIN messages m ON m.turn_id = t.id WHERE m.provider_id = %(sid)s"
    " AND t.finished_at IS NOT NULL"
)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    system: System
    first: Phone
    second: Phone

    def answer(self, person: str, text: str) -> dict[str, Any]:
        """The turn that this message ended in."""
        sid = self.system.stack.phone.write(person, text)
        self.system.wait_until(lambda: bool(self.system.rows(LAST_TURN, sid=sid)), within_s=40, what="the turn's end")
        return self.system.rows(LAST_TURN, sid=sid)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    ports = {"first": free_port(), "second": free_port()}
    providers = [
        {"name": name, "base_url": f"http://127.0.0.1:{port}/v1", "model": "gpt-6-luna", "api_key": name,
         "usd_in": 1, "usd_out": 2}
        for name, port in ports.items()
    ]  # fmt: skip
    environ = {
        "LLM_PROVIDERS": json.dumps(providers),
        "LLM_TIMEOUT_S": str(LLM_TIMEOUT_S),
        "TURN_DEADLINE_S": "6",
        "RETRY_MAX_AGE_S": str(RETRY_MAX_AGE_S),
        "MODERATION": "off",
    }
    with running_system(tmp_path_factory.mktemp("failover"), environ) as system:
        for name, port in ports.items():
            own = system.stack.environ | {"SIMULATOR_PORT": str(port)}
            system.stack.processes.start(name, [sys.executable, "-m", "deploy.simulator"], own)
            system.stack.processes.wait_for(name, f"http://127.0.0.1:{port}/healthz")
        phones = {name: Phone(f"http://127.0.0.1:{port}") for name, port in ports.items()}
        yield Providers(system=system, **phones)


@pytest.fixture
def person(two: Providers) -> str:
    """A stranger, once the first provider is asked again after what the test before did to it."""
    two.first.set_faults({})
    two.second.set_faults({})
    while two.answer(_new(), "hello")["provider"] != "first":
        pass
    return _new()


def _new() -> str:
    return f"+1555060{next(_numbers):04d}"


@pytest.mark.parametrize(
    "fault",
    [{"status": 429, "retry_after": 2}, {"status": 503}, {"hang": 1}, {"trickle": 1}, {"cut": 1}, {"malformed": 1}],
    ids=lambda fault: " ".join(f"{kind} {value}" for kind, value in fault.items()),
)
def test_where_the_first_provider_fails_the_second_answers_and_the_person_sees_nothing_of_it(
    two: Providers, person: str, fault: dict[str, Any]
) -> None:
    two.first.set_faults({"llm": fault})
    turn = two.answer(person, "Which guitar suits a beginner with small hands?")
    assert (turn["outcome"], turn["provider"]) == ("answered", "second")
    assert turn["tokens_in"] > 0
    assert turn["tokens_out"] > 0
    assert turn["cost_usd"] > 0
    assert turn["llm_ms"] is not None
    (reply,) = two.system.wait_for_replies(person, 1)
    assert reply.startswith("*Kasho🎵*: ")


def test_when_all_fail_for_too_long_the_person_is_told_once_and_what_comes_after_is_answered(
    two: Providers, person: str
) -> None:
    for provider in (two.first, two.second):
        provider.set_faults({"llm": {"status": 500}})
    turn = two.answer(person, "How do I start streaming?")
    assert (turn["outcome"], turn["provider"]) == ("failed", None)
    assert (turn["finished_at"] - turn["created_at"]).total_seconds() < RETRY_MAX_AGE_S + 8
    assert turn["failures"] >= 2
    (notice,) = two.system.wait_for_replies(person, 1)
    assert FAILURE_NOTICE in notice
    turn = two.answer(person, "Are you there? My stream!")
    assert turn["outcome"] == "failed"
    for provider in (two.first, two.second):
        provider.set_faults({})
    assert two.answer(person, "And now? My stream!")["outcome"] == "answered"
    notice, reply = two.system.wait_for_replies(person, 2)
    assert FAILURE_NOTICE not in reply
