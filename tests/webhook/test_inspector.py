"""What `sisters inspect` shows, and to whom: the application on a real store, and the process as it is started."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from psycopg.conninfo import make_conninfo

from core.adapters.model_files import model_of
from core.cast.characters import load_cast
from core.config import DatabaseSettings, InspectSettings
from core.routing.lab import Lab
from core.routing.phrases import load_phrases
from core.routing.words import Vocabulary
from core.store import Store
from deploy.local.child import free_port
from tests.core.small_cast import small_cast
from tests.fakes import Bot
from webhook.inspector import create_app

TOKEN = "token-of-the-inspector"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    prompts = small_cast(tmp_path_factory.mktemp("prompts"))
    cast, phrases = load_cast(prompts), load_phrases(prompts)
    return Lab(cast, phrases, model_of(cast, phrases, Vocabulary(cast, phrases), prompts=prompts, cache=None))


@pytest.fixture
def bot(database_url: str, redis_url: str) -> Iterator[Bot]:
    with closing(Bot(database_url, redis_url)) as bot:
        yield bot


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    settings = DatabaseSettings.model_validate({"DATABASE_URL": database_url})
    with closing(Store(settings, connections=1, read_only=True)) as store:
        yield store


@pytest.fixture
def client(store: Store, lab: Lab) -> FlaskClient:
    return create_app(InspectSettings.model_validate({"INSPECT_TOKEN": TOKEN}), store, lab).test_client()


def post(client: FlaskClient, path: str, body: Any, *, expect: int = 200) -> Any:
    answer = client.post(path, json=body, headers=SHOWN)
    assert answer.status_code == expect, answer.text
    return answer.json


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}, {"Authorization": "ä"}]
)
@pytest.mark.parametrize("path", ["/cast", "/timeline/m1", "/nothing"])
def test_without_the_token_nothing_is_shown(client: FlaskClient, header: dict[str, str], path: str):
    answer = client.get(path, headers=header)
    assert answer.status_code == 401
    assert answer.json == {
        "error": "Authorization: should be Bearer INSPECT_TOKEN",
        "problems": ["Authorization: should be Bearer INSPECT_TOKEN"],
    }
    assert client.post("/route", json={"lines": []}, headers=header).status_code == 401


def test_anybody_may_ask_whether_it_is_alive(client: FlaskClient):
    assert client.get("/healthz").json == {"alive": True}


def test_a_timeline_has_events_with_texts_and_facts(client: FlaskClient, bot: Bot):
    message = bot.say("Who knows about music? 🎵")
    answer = client.get(f"/timeline/{message.provider_id}", headers=SHOWN)
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json
    assert told is not None
    assert (told["id"], told["turn"]) == (message.provider_id, 1)
    assert told["events"][0]["text"] == "Who knows about music? 🎵"
    assert [e["event"] for e in told["events"]][-1] == "accepted"
    assert told["facts"]["decision"]["character"] == "kasho"
    assert [check["direction"] for check in told["facts"]["moderation"]] == ["in", "out"]
    by_reply = client.get(f"/timeline/{told['facts']['sends'][0]['sid']}", headers=SHOWN).json
    assert by_reply is not None
    assert by_reply["events"] == told["events"]


@pytest.mark.parametrize("name", ["m999", "nonsense", "SM" + "0" * 32, "x/y", "%00"])
def test_what_nothing_bears_is_not_found(client: FlaskClient, bot: Bot, name: str):
    bot.say("hello")
    assert client.get(f"/timeline/{name}", headers=SHOWN).status_code == 404


def test_the_cast_is_shown_with_its_words(client: FlaskClient):
    cast = client.get("/cast", headers=SHOWN).json
    assert cast is not None
    assert (cast["default"], cast["languages"]) == ("sailor", ["en"])
    cook = next(each for each in cast["characters"] if each["id"] == "cook")
    assert (cook["name"], cook["emoji"], cook["topics_file"]) == ("Cook", "🍲", "cook.topics.toml")
    assert cook["topics"] == {"en": {"keywords": ["oven"], "triggers": ["soup", "recipe"]}}


def test_lines_are_routed_with_reasons_and_what_would_change_it(client: FlaskClient, lab: Lab):
    lines = [{"text": "a recipe for soup"}, {"text": "ok thanks", "current": "cook", "idle_s": 5}]
    first, second = post(client, "/route", {"lines": lines})["results"]
    assert (first["character"], first["tier"]) == ("cook", "words")
    assert {"term": "soup", "character": "cook", "points": 5.0} in first["evidence"]
    assert first["asked"][0]["scores"] == first["scores"]
    weak = {"sailor": {"en": {"keywords": ["boat"]}}}
    (torn,) = post(client, "/route", {"lines": [{"text": "a recipe for the boat"}], "topics": weak})["results"]
    assert [(c["change"], c["terms"], c["character"]) for c in torn["changes"] if c["change"] == "remove"] == [
        ("remove", ["recipe"], "sailor")
    ]
    assert (second["character"], second["tier"]) == ("cook", "stay")
    followed = {"text": "ok", "current": first["character"], "state": first["state"]}
    assert post(client, "/route", {"lines": [followed], "changes": False})["results"][0]["changes"] == []
    assert set(first["scores"]) == set(lab.cast.characters)


def test_edited_words_are_tried_and_nothing_is_kept_of_them(client: FlaskClient):
    lines = [{"text": "quark quark"}]
    topics = {"cook": {"en": {"keywords": [], "triggers": ["Quark"]}}}
    before = post(client, "/route", {"lines": lines})
    for _ in range(2):
        tried = post(client, "/route", {"lines": lines, "topics": topics})
        assert tried["results"][0]["character"] == "cook"
        assert (tried["edited"], bool(tried["note"])) == (["cook"], True)
    assert post(client, "/route", {"lines": lines}) == before
    assert before["results"][0]["character"] == "sailor"


def test_a_labelled_file_is_judged(client: FlaskClient):
    lines = [
        {"text": "soup recipe", "label": "cook"},
        {"text": "boat", "label": "cook"},
        {"text": "ok", "label": "none"},
    ]
    told = post(client, "/evaluate", {"lines": lines})
    assert (told["count"], told["right"]) == (3, 2)
    assert told["confusion"]["cook"] == {"cook": 1, "sailor": 1}
    assert [(each["line"], each["label"], each["character"]) for each in told["wrong"]] == [(2, "cook", "sailor")]
    edited: dict[str, Any] = {"cook": {"en": {"triggers": ["soup", "boat"]}}, "sailor": {"en": {}}}
    assert post(client, "/evaluate", {"lines": lines, "topics": edited})["right"] == 3


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/route", {}, "lines"),
        ("/route", {"lines": [{"text": 1}]}, "lines.0.text"),
        ("/route", {"lines": [{"text": "x", "idle_s": -1}]}, "lines.0.idle_s"),
        ("/route", {"lines": [{"txt": "x"}]}, "lines.0.text"),
        ("/route", {"lines": [{"text": "x" * 4001}]}, "lines.0.text"),
        ("/route", {"lines": [{"text": ""}] * 501}, "lines"),
        ("/route", {"lines": [], "topics": {"nobody": {}}}, "topics.nobody"),
        ("/route", {"lines": [], "topics": {"cook": {"xx": {}}}}, "topics.cook.xx"),
        ("/route", {"lines": [], "topics": {"cook": {"en": {"words": []}}}}, "topics.cook.en.words"),
        ("/evaluate", {"lines": [{"text": "x", "label": "y"}]}, "lines.0.label"),
        ("/evaluate", [], "body"),
    ],
)
def test_bad_input_is_named_by_its_key(client: FlaskClient, path: str, body: Any, key: str):
    told = post(client, path, body, expect=400)
    assert told["problems"][0].split(":")[0] == key


def test_what_is_no_json_and_what_is_too_much_is_refused(client: FlaskClient):
    assert client.post("/route", data="{", headers=SHOWN | {"Content-Type": "application/json"}).status_code == 400
    assert client.post("/route", data="{}", headers=SHOWN | {"Content-Type": "text/plain"}).status_code == 400
    assert client.post("/route", data=b'{"lines": [{"text": "\\ud800"}]}', headers=SHOWN | JSON).status_code in {
        200,
        400,
    }
    assert client.post("/route", data=b"x" * (1024 * 1024 + 1), headers=SHOWN | JSON).status_code == 413
    assert client.get("/route", headers=SHOWN).status_code == 405


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("pooler", ["", "transaction"])
def test_its_store_cannot_write(database_url: str, pooler: str):
    settings = DatabaseSettings.model_validate({"DATABASE_URL": database_url, "DATABASE_POOLER": pooler})
    with (
        closing(Store(settings, connections=1, read_only=True)) as store,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
        store.transaction() as transaction,
    ):
        transaction.run("supersede", turn_id=1)


def test_without_postgres_it_says_so(lab: Lab):
    settings = DatabaseSettings.model_validate({"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"})
    with closing(Store(settings, connections=1, read_only=True)) as store:
        store._pool.timeout = 0.1  # pyright: ignore[reportPrivateUsage]  # or the test waits for the whole bound
        client = create_app(InspectSettings.model_validate({"INSPECT_TOKEN": TOKEN}), store, lab).test_client()
        assert client.get("/timeline/m1", headers=SHOWN).status_code == 503
        assert client.get("/cast", headers=SHOWN).status_code == 200


@contextmanager
def inspecting(directory: Path, **environ: str) -> Generator[str]:
    port, log = free_port(), directory / "inspect.log"
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("TWILIO_", "INSPECT_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("sisters")), "inspect"],
            cwd=directory,
            env=outside | {"INSPECT_PORT": str(port), "INSPECT_TOKEN": TOKEN, "HOST": "0.0.0.0", **environ},
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                ask(f"http://127.0.0.1:{port}/healthz")
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()


def ask(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=SHOWN), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_process_reads_with_a_role_that_can_do_nothing_else(bot: Bot, database_url: str, tmp_path: Path):
    message = bot.say("the cake recipe is a secret of mine")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS inspector")
        connection.execute("CREATE ROLE inspector LOGIN PASSWORD 'reads'")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO inspector")
    reader = make_conninfo(database_url, user="inspector", password="reads")
    try:
        prompts = small_cast(tmp_path / "prompts")
        given = {"INSPECT_DATABASE_URL": reader, "DATABASE_URL": "postgresql://wrong@127.0.0.1:1/x"}
        with inspecting(tmp_path, **given, PROMPTS_DIR=str(prompts), XDG_CACHE_HOME=str(tmp_path / "cache")) as url:
            status, told = ask(f"{url}/timeline/{message.provider_id}")
            assert (status, told["facts"]["ending"]) == (200, "answered")
            assert ask(f"{url}/timeline/m999")[0] == 404
        assert "secret of mine" not in (tmp_path / "inspect.log").read_text()
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY inspector")
            connection.execute("DROP ROLE inspector")
