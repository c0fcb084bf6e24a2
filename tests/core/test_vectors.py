"""Embeddings over the wire: the simulator answers, Postgres keeps, and a failure costs nothing but the tier."""

import threading
import time
from collections.abc import Generator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from core.adapters.embeddings import Embedder
from core.config import DatabaseSettings, EmbeddingSettings, PromptSettings
from core.errors import Permanent, Transient
from core.routing.route import Situation
from core.store import Store
from core.vectors import ExampleVectors
from core.wiring.router import ready_router, routing_of
from tests.core.simulated import Simulated, simulator
from tests.core.small_cast import small_cast, write

UNSURE = "[likeness]\nsure_at = 0.97\nembeddings_share = 1\nwords_lead = 100\n"
MESSAGE = "the onions burnt again in the pan, and the sauce"


@pytest.fixture(scope="module")
def simulated() -> Generator[Simulated]:
    with simulator() as running:
        yield running


@pytest.fixture
def embedder(simulated: Simulated) -> Generator[Embedder]:
    simulated.faults()
    with closing(Embedder(asked_at(simulated), connections=4)) as made:
        yield made


@pytest.fixture
def prompts(tmp_path: Path) -> PromptSettings:
    directory = small_cast(tmp_path / "prompts")
    write(directory, "routing.toml", "[likeness]\nsure_at = 0.45\nembeddings_share = 0.9\nwords_lead = 100\n")
    return PromptSettings.model_validate({"PROMPTS_DIR": directory})


@pytest.fixture
def store(database_url: str) -> Generator[Store]:
    with closing(Store(DatabaseSettings.model_validate({"DATABASE_URL": database_url}), connections=2)) as made:
        yield made


def environment(prompts: PromptSettings, simulated: Simulated) -> dict[str, str]:
    return {"PROMPTS_DIR": str(prompts.directory), "EMBEDDINGS_BASE_URL": f"{simulated.url}/v1"}


def asked_at(simulated: Simulated) -> EmbeddingSettings:
    return EmbeddingSettings.model_validate({"EMBEDDINGS_BASE_URL": f"{simulated.url}/v1", "EMBEDDINGS_API_KEY": "k"})


def test_each_text_gets_its_vector_in_order(embedder: Embedder):
    first, second, again = embedder.vectors(["soup", "anchor", "soup"], timeout=timedelta(seconds=5))
    assert len(first) == 1536
    assert first == again
    assert first != second


def test_a_vector_is_asked_for_once_and_then_read_from_postgres(
    simulated: Simulated, embedder: Embedder, store: Store, database_url: str
):
    loaded = ExampleVectors(embedder, store).load(["soup", "anchor", "soup"])
    simulated.faults(embeddings={"status": 500})
    again = ExampleVectors(embedder, store).load(["anchor", "soup"])
    assert again == [loaded[1], loaded[0]]
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT model, octet_length(text_hash) FROM example_vectors").fetchall()
    assert rows == [("text-embedding-3-small", 32)] * 2


def test_vectors_that_nobody_asked_for_in_a_month_go(embedder: Embedder, store: Store, database_url: str):
    ExampleVectors(embedder, store).load(["soup", "anchor"])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE example_vectors SET used_at = now() - interval '31 days'")
    ExampleVectors(embedder, store).load(["soup"])
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM example_vectors").fetchone() == (1,)


def test_embeddings_are_asked_where_likeness_is_unsure(simulated: Simulated, prompts: PromptSettings):
    simulated.faults()
    write(prompts.directory, "routing.toml", UNSURE.replace("0.97", "0.5"))
    routing = routing_of(prompts, asked_at(simulated), cache=None)
    assert routing.embeddings is not None
    assert routing.embedder is not None
    untaught = routing.router.route(MESSAGE, current=None)
    with closing(routing.embedder):
        routing.embeddings.learn(ExampleVectors(routing.embedder, None).load(routing.embeddings.texts))
        opinion = routing.embeddings(_situation(MESSAGE))
    assert untaught.tier != "embeddings"
    assert opinion is not None
    assert opinion.tier == "embeddings"
    assert opinion.characters == ("cook",)


def _situation(text: str) -> Situation:
    return Situation(folded=text, current=None, leanings={})


def test_a_router_for_the_command_line_waits_for_its_vectors(simulated: Simulated, prompts: PromptSettings):
    simulated.faults()
    write(prompts.directory, "routing.toml", UNSURE)
    with ready_router(environment(prompts, simulated)) as router:
        decision = router.route(MESSAGE, current=None)
    assert "embeddings" in [each.tier for each in decision.asked]


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 401}, {"status": 429, "retry_after": 30}])
def test_a_failing_server_leaves_the_other_tiers_as_they_are(
    simulated: Simulated, prompts: PromptSettings, fault: dict[str, object]
):
    simulated.faults(embeddings=fault)
    with ready_router(environment(prompts, simulated)) as router:
        with_it = router.route(MESSAGE, current=None)
    with ready_router({"PROMPTS_DIR": str(prompts.directory)}) as router:
        assert router.route(MESSAGE, current=None) == with_it


def test_a_message_waits_two_seconds_at_most_and_then_nobody_waits(simulated: Simulated, embedder: Embedder):
    simulated.faults(embeddings={"slow_ms": 10_000})
    started = time.monotonic()
    assert embedder.of_message("soup") is None
    assert 1.5 < time.monotonic() - started < 3
    simulated.faults(embeddings={"status": 503, "retry_after": 60})
    assert embedder.of_message("soup") is None
    simulated.faults()
    assert embedder.of_message("soup") is None  # left alone for as long as it asked for


def test_a_rejected_text_says_nothing_against_the_server(simulated: Simulated, embedder: Embedder):
    simulated.faults(embeddings={"status": 400})
    for _ in range(10):
        with pytest.raises(Permanent):
            embedder.vectors(["soup"], timeout=timedelta(seconds=2))
    simulated.faults()
    assert embedder.of_message("soup") is not None


def test_a_worker_goes_on_trying_until_its_examples_are_known(embedder: Embedder):
    learnt = threading.Event()
    with closing(ExampleVectors(embedder, None)) as vectors:
        vectors.load_in_background(["soup"], lambda _: learnt.set())
        assert learnt.wait(5)


def test_a_worker_that_ends_stops_trying(simulated: Simulated, embedder: Embedder):
    simulated.faults(embeddings={"status": 500})
    vectors = ExampleVectors(embedder, None)
    vectors.load_in_background(["soup"], lambda _: None)
    vectors.close()
    deadline = time.monotonic() + 5
    while any(thread.name == "example-vectors" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(Transient):
        vectors.load(["soup"])
