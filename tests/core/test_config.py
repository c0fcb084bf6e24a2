import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from core.config import (
    DEFAULT_MODEL,
    DatabaseSettings,
    EmbeddingSettings,
    Environment,
    InspectSettings,
    LlmSettings,
    PromptSettings,
    RedisSettings,
    TurnSettings,
    TwilioSettings,
    WebSettings,
    WorkerSettings,
)
from core.errors import ConfigurationError
from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_AUTH_TOKEN

TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "one, two",
    "TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155238886",
}


def problems(environ: dict[str, str], *groups: type) -> list[str]:
    environment = Environment(environ)
    for group in groups:
        environment.read(group)
    with pytest.raises(ConfigurationError) as told:
        environment.check()
    return told.value.problems


def test_every_problem_is_told_at_once_name_first():
    found = problems({"PORT": "http", "REDIS_URL": "x"}, WebSettings, TwilioSettings, RedisSettings)
    names = [problem.split(":")[0] for problem in found]
    assert names == [
        "PORT", "PUBLIC_URL", "REDIS_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_WHATSAPP_NUMBER",
    ]  # fmt: skip
    assert found[1].startswith("PUBLIC_URL: missing; the address that Twilio calls")


def test_a_blank_value_is_a_missing_one():
    assert problems({"PUBLIC_URL": " "}, WebSettings)[0].startswith("PUBLIC_URL: missing")


@pytest.mark.parametrize(
    ("name", "value", "group"),
    [
        ("REDIS_URL", "http://user:my-secret@h", RedisSettings),
        ("DATABASE_URL", "postgresql://user:my-secret@h:port/x y", DatabaseSettings),
        ("TWILIO_ACCOUNT_SID", "my-secret", TwilioSettings),
        ("LLM_PROVIDERS", '[{"api_key": "my-secret"}]', LlmSettings),
        ("LLM_PROVIDERS", '[{"my-secret"', LlmSettings),
    ],
)
def test_a_wrong_value_is_not_repeated(name: str, value: str, group: type):
    found = problems({name: value}, group)
    assert any(problem.startswith(name) for problem in found)
    assert "my-secret" not in "\n".join(found)


def test_the_public_url_loses_its_final_slash_and_may_carry_a_path():
    web = Environment({"PUBLIC_URL": "https://h.example:8443/bot/"}).read(WebSettings)
    assert (web.public_url, web.public_path) == ("https://h.example:8443/bot", "/bot")
    assert (web.host, web.port, web.processes) == ("127.0.0.1", 8000, 1)


@pytest.mark.parametrize(
    "url", ["h.example", "ftp://h", "https://", "https://h?x=1", "https://h#rc=2", "https://h/a b"]
)
def test_a_public_url_that_twilio_could_not_call_is_refused(url: str):
    assert problems({"PUBLIC_URL": url}, WebSettings)[0].startswith("PUBLIC_URL")


def test_two_tokens_may_be_given_while_rotating():
    twilio = Environment(TWILIO).read(TwilioSettings)
    assert twilio.auth_tokens == ("one", "two")
    assert "one" not in repr(twilio)
    assert problems(TWILIO | {"TWILIO_AUTH_TOKEN": " , "}, TwilioSettings)[0].startswith("TWILIO_AUTH_TOKEN")


def test_secrets_may_stand_in_files(tmp_path: Path):
    (tmp_path / "token").write_text("from-file\n")
    environ = TWILIO | {"TWILIO_AUTH_TOKEN_FILE": str(tmp_path / "token")}
    assert Environment(environ).read(TwilioSettings).auth_tokens == ("one", "two")
    del environ["TWILIO_AUTH_TOKEN"]
    assert Environment(environ).read(TwilioSettings).auth_tokens == ("from-file",)
    environ["TWILIO_AUTH_TOKEN_FILE"] = str(tmp_path / "missing")
    assert any(
        problem.startswith("TWILIO_AUTH_TOKEN_FILE: cannot read") for problem in problems(environ, TwilioSettings)
    )


def test_the_broker_is_redis_unless_it_is_named():
    assert Environment({"REDIS_URL": "redis://h/0"}).read(RedisSettings).broker == "redis://h/0"
    both = {"REDIS_URL": "redis://h/0", "BROKER_URL": "amqp://h//"}
    assert Environment(both).read(RedisSettings).broker == "amqp://h//"


@pytest.mark.parametrize(
    "url", ["redis://h/1", "rediss://h", "redis+socket:///run/r.sock", "amqp://h//", "amqps://h//"]
)
def test_brokers_that_celery_can_use_with_us_are_taken(url: str):
    assert Environment({"REDIS_URL": "redis://h/0", "BROKER_URL": url}).read(RedisSettings).broker == url


@pytest.mark.parametrize("url", ["hello", "sqs://h", "http://h", "amqp:h"])
def test_any_other_broker_is_told_and_not_repeated(url: str):
    [problem] = problems({"REDIS_URL": "redis://h/0", "BROKER_URL": url}, RedisSettings)
    assert problem.startswith("BROKER_URL: not of this form; e.g. amqp://")
    assert "hello" not in problem


@pytest.mark.parametrize(("given", "lacking"), [("KEY", "SECRET"), ("SECRET", "KEY")])
def test_half_of_twilios_api_key_is_told(given: str, lacking: str):
    [problem] = problems(TWILIO | {f"TWILIO_API_{given}": "SK1"}, TwilioSettings)
    assert f"TWILIO_API_{lacking} is missing" in problem
    assert "SK1" not in problem


def test_both_halves_of_twilios_api_key_are_taken():
    twilio = Environment(TWILIO | {"TWILIO_API_KEY": "SK1", "TWILIO_API_SECRET": "s"}).read(TwilioSettings)
    assert (twilio.api_key, twilio.api_secret) == ("SK1", "s")


def test_a_directory_of_prompts_that_is_none_is_told_by_the_variables_name(tmp_path: Path):
    [problem] = problems({"PROMPTS_DIR": str(tmp_path / "nothing")}, PromptSettings)
    assert problem.startswith("PROMPTS_DIR: no such directory of prompts")


@pytest.mark.parametrize(
    "url",
    ["redis://h:6379/0", "rediss://u:p@h:6380/1", "unix:///run/redis.sock", "sentinel://:p@a,b:26380/0?master=m"],
)
def test_redis_may_be_reached_in_four_ways(url: str):
    assert Environment({"REDIS_URL": url}).read(RedisSettings).url == url


def test_a_mistake_in_an_address_of_sentinels_is_told_at_once_and_no_password_with_it():
    wrong = {"REDIS_URL": "sentinel://:hush@h:26379/0", "BROKER_URL": "sentinel://:hush@h:1:2/0?master=m"}
    of_broker, of_redis = sorted(problems(wrong, RedisSettings))
    assert of_redis.startswith("REDIS_URL: names no master")
    assert of_broker.startswith("BROKER_URL: should name the sentinels as host:port")
    assert "hush" not in of_broker + of_redis


def test_any_password_works_in_parts():
    password = "p@ss!w#rd%/: '\\"
    environ = {"POSTGRES_HOST": "db", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "s"}
    parts = conninfo_to_dict(Environment(environ).read(DatabaseSettings).conninfo)
    assert (parts["password"], parts["host"], parts["dbname"], parts["user"]) == (password, "db", "s", "sisters")


def test_one_provider_comes_from_the_openai_names():
    [provider] = Environment({"OPENAI_API_KEY": "k"}).read(LlmSettings).providers
    assert (provider.base_url, provider.model, provider.api_key) == ("https://api.openai.com/v1", DEFAULT_MODEL, "k")
    [provider] = Environment({"OPENAI_BASE_URL": "http://h/v1", "OPENAI_MODEL": "m"}).read(LlmSettings).providers
    assert (provider.base_url, provider.model, provider.api_key) == ("http://h/v1", "m", "")


def test_openais_own_models_have_their_prices_and_others_cost_nothing_in_our_books():
    [provider] = Environment({"OPENAI_API_KEY": "k"}).read(LlmSettings).providers
    assert (provider.usd_in, provider.usd_out) == (Decimal("0.10"), Decimal("0.50"))
    [provider] = Environment({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}).read(LlmSettings).providers
    assert (provider.usd_in, provider.usd_out) == (0, 0)


def test_two_providers_of_one_name_are_told():
    a, b = (
        '{"name": "a", "base_url": "http://a/v1", "model": "m"}',
        '{"name": "a", "base_url": "http://b/v1", "model": "n"}',
    )
    [problem] = problems({"LLM_PROVIDERS": f"[{a}, {b}]"}, LlmSettings)
    assert problem.startswith("LLM_PROVIDERS: two entries bear the same name")


def test_providers_stand_in_order_with_prices_and_keys_from_files(tmp_path: Path):
    (tmp_path / "key").write_text("k2\n")
    text = (
        '[{"name": "a", "base_url": "http://a/v1", "model": "m", "api_key": "k1", "usd_in": 0.1, "usd_out": "0.5"},'
        f' {{"name": "b", "base_url": "http://b/v1", "model": "m", "api_key_file": "{tmp_path}/key"}}]'
    )
    first, second = Environment({"LLM_PROVIDERS": text}).read(LlmSettings).providers
    assert (first.name, first.usd_in, first.usd_out) == ("a", Decimal("0.1"), Decimal("0.5"))
    assert (second.name, second.api_key) == ("b", "k2")


@pytest.mark.parametrize(
    "text", ["[]", "{}", "x", '[{"name": "a"}]', '[{"name":"a","base_url":"http://a","model":"m","url":"x"}]',
             '[{"name":"a","base_url":"http://a","model":"m","api_key_file":"/nowhere"}]'],
)  # fmt: skip
def test_providers_that_cannot_be_used_are_told(text: str):
    assert all(problem.startswith("LLM_PROVIDERS") for problem in problems({"LLM_PROVIDERS": text}, LlmSettings))


def test_without_any_provider_it_says_what_to_set():
    assert "OPENAI_API_KEY" in problems({}, LlmSettings)[0]


def test_durations_are_seconds():
    turn = Environment({"TURN_DEADLINE_S": "1.5"}).read(TurnSettings)
    assert (turn.deadline, turn.ambiguous_wait) == (timedelta(seconds=1.5), timedelta(seconds=30))


@pytest.mark.parametrize("value", ["soon", "0", "-1", "1e400", "nan"])
def test_a_duration_that_is_none_is_told(value: str):
    assert problems({"TURN_DEADLINE_S": value}, TurnSettings)[0].startswith("TURN_DEADLINE_S")


def test_worker_metrics_are_off_unless_a_port_is_given():
    assert Environment({}).read(WorkerSettings).metrics_port is None
    assert Environment({"METRICS_PORT": "9100"}).read(WorkerSettings).metrics_port == 9100


@pytest.mark.parametrize(
    "published",
    [
        {"TWILIO_ACCOUNT_SID": SIMULATED_ACCOUNT_SID},
        {"TWILIO_AUTH_TOKEN": SIMULATED_AUTH_TOKEN},
        {"TWILIO_AUTH_TOKEN": f"mine, {SIMULATED_AUTH_TOKEN}"},
    ],
)
def test_what_the_simulator_publishes_is_taken_only_from_a_simulator(published: dict[str, str]):
    (told,) = problems(TWILIO | published, TwilioSettings)
    assert told.startswith("TWILIO_BASE_URL: missing")
    assert next(iter(published)) in told
    assert SIMULATED_AUTH_TOKEN not in told
    environment = Environment(TWILIO | published | {"TWILIO_BASE_URL": "http://127.0.0.1:8099"})
    environment.read(TwilioSettings)
    environment.check()


@pytest.mark.parametrize("token", ["short", "with a space in it", "", "x" * 15])
def test_a_token_that_could_be_guessed_is_none(token: str):
    assert problems({"INSPECT_TOKEN": token}, InspectSettings)[0].startswith("INSPECT_TOKEN: ")


def test_the_published_token_of_the_inspector_goes_with_a_simulator_only():
    given = {"INSPECT_TOKEN": "simulated-inspect-token"}
    assert problems(given, InspectSettings)[0].startswith("TWILIO_BASE_URL: missing")
    environment = Environment(given | {"TWILIO_BASE_URL": "http://127.0.0.1:8099", "HOST": "0.0.0.0"})
    assert environment.read(InspectSettings).host == "127.0.0.1"
    environment.check()


def test_the_inspector_may_have_a_role_of_its_own():
    environment = Environment({"DATABASE_URL": "postgresql://a@h/x", "INSPECT_DATABASE_URL": "postgresql://b@h/x"})
    assert environment.read(DatabaseSettings).conninfo == "postgresql://a@h/x"
    environment.prefer("INSPECT_DATABASE_URL", instead_of="DATABASE_URL")
    assert environment.read(DatabaseSettings).conninfo == "postgresql://b@h/x"


NONE = [
    "nonsense",
    "ftp://a",
    "https://",
    "https://:443",
    "https://a/b?c=1",
    "https://a/#b",
    "https://a b",
    "https://a:x",
]


@pytest.mark.parametrize("url", NONE)
@pytest.mark.parametrize(
    ("name", "group", "rest"),
    [
        ("PUBLIC_URL", WebSettings, {}),
        ("TWILIO_BASE_URL", TwilioSettings, TWILIO),
        ("EMBEDDINGS_BASE_URL", EmbeddingSettings, {}),
    ],
)
def test_a_url_that_is_none_is_told_once_and_in_words(url: str, name: str, group: type[Any], rest: dict[str, str]):
    [problem] = problems(rest | {name: url}, group)
    assert problem.startswith(f"{name}: should be https://host[:port][/path], or http://..., without a query; ")


@pytest.mark.parametrize("url", ["https://a.example", "http://127.0.0.1:8000/bot", "https://[::1]:443/a/b"])
def test_a_url_with_port_and_path_is_one(url: str):
    assert Environment({"PUBLIC_URL": url}).read(WebSettings).public_url == url


@pytest.mark.parametrize(
    ("given", "group", "said"),
    [
        ({"TWILIO_ACCOUNT_SID": "AC1"}, TwilioSettings, "TWILIO_ACCOUNT_SID: not of this form; AC and 32 hex digits"),
        ({"TWILIO_WHATSAPP_NUMBER": "+1"}, TwilioSettings, "TWILIO_WHATSAPP_NUMBER: not of this form; e.g. whatsapp:+"),
        ({"TWILIO_AUTH_TOKEN": ","}, TwilioSettings, "TWILIO_AUTH_TOKEN: should have at least 1 item; from the Twilio"),
        ({"REDIS_URL": "127.0.0.1"}, RedisSettings, "REDIS_URL: not of this form; e.g. redis://127.0.0.1:6379/0"),
        ({"PORT": "http"}, WebSettings, "PORT: should be a valid integer"),
        ({"INSPECT_TOKEN": "x"}, InspectSettings, "INSPECT_TOKEN: should have at least 16 characters; at least 16"),
        ({"MODERATION": "on"}, LlmSettings, "MODERATION: should be 'openai' or 'off'"),
    ],
)
def test_what_is_wrong_is_said_in_words_and_not_in_a_pattern(given: dict[str, str], group: type[Any], said: str):
    base = {"PUBLIC_URL": "https://a", "OPENAI_API_KEY": "k"} | TWILIO
    [problem] = problems(base | given, group)
    assert problem.startswith(said)
    assert not re.search(r"\^|\\d|Input|String|parse", problem)
