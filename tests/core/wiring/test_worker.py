"""What the environment makes: a worker that answers through the whole of its parts."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from core.adapters.redis_inbox import door
from core.wiring.worker import WorkerParts, read_worker, worker_parts
from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_AUTH_TOKEN, SIMULATED_NUMBER
from tests.core.adapters.scripted import closed_port
from tests.core.simulated import Simulated
from tests.fakes import SOMEBODY, Bot, RunsHere


@pytest.fixture
def parts(simulated: Simulated, database_url: str, redis_url: str) -> Iterator[WorkerParts]:
    providers = [
        {"name": "gone", "base_url": f"{closed_port()}/v1", "model": "gpt-6-luna"},
        {"name": "there", "base_url": f"{simulated.url}/v1", "model": "gpt-4o-mini", "usd_in": 1, "usd_out": 2},
    ]
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PUBLIC_URL": closed_port(),
        "TWILIO_ACCOUNT_SID": SIMULATED_ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": SIMULATED_AUTH_TOKEN,
        "TWILIO_WHATSAPP_NUMBER": SIMULATED_NUMBER,
        "TWILIO_BASE_URL": simulated.url,
        "OPENAI_BASE_URL": f"{simulated.url}/v1",
        "LLM_PROVIDERS": json.dumps(providers),
        "LLM_TIMEOUT_S": "3",
    }
    parts = worker_parts(read_worker(environ), concurrency=2)
    yield parts
    parts.close()


def test_all_providers_of_the_environment_are_asked_in_order(
    parts: WorkerParts, simulated: Simulated, bot: Bot, redis_url: str
) -> None:
    simulated.faults(twilio={"callbacks": {"drop": 1}})
    door(redis_url, redis_url).accept(bot.message("Who knows about music?", recipient=SIMULATED_NUMBER))
    (person,) = bot.inboxes.waiting(older_than=timedelta(0), limit=10)
    assert parts.intake.drain(person, RunsHere(parts.turns.run)) == 1
    (turn,) = bot.rows("SELECT * FROM turns")
    assert (turn["outcome"], turn["provider"], turn["model"]) == ("answered", "there", "gpt-4o-mini")
    assert turn["cost_usd"] > 0
    (reply,) = simulated.sent_to(SOMEBODY.partition(":")[2])
    assert reply.startswith("*Kasho🎵*: ")
