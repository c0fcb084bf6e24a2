import pytest

from deploy.local.stack import has_real_model, local_environment


def _local(**environ: str) -> dict[str, str]:
    return local_environment(
        environ, database_url="postgresql://mine", redis_url="redis://mine", webhook_port=8000, simulator_port=8099
    )


def test_with_nothing_set_twilio_and_the_model_are_the_simulator():
    local = _local()
    assert local["TWILIO_BASE_URL"] == "http://127.0.0.1:8099"
    assert local["OPENAI_BASE_URL"] == "http://127.0.0.1:8099/v1"
    assert local["OPENAI_API_KEY"]
    assert local["PUBLIC_URL"] == "http://127.0.0.1:8000"
    assert (local["DATABASE_URL"], local["REDIS_URL"]) == ("postgresql://mine", "redis://mine")


def test_a_real_key_makes_the_model_real_and_leaves_whatsapp_simulated():
    local = _local(OPENAI_API_KEY="sk-real")
    assert local["OPENAI_API_KEY"] == "sk-real"
    assert "OPENAI_BASE_URL" not in local
    assert local["TWILIO_BASE_URL"] == "http://127.0.0.1:8099"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "LLM_PROVIDERS", "LLM_PROVIDERS_FILE"])
def test_each_way_of_naming_a_model_counts_and_an_empty_one_does_not(name: str):
    assert has_real_model({name: "x"})
    assert not has_real_model({name: " "})


def test_no_real_twilio_account_gets_into_the_demo():
    real = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "real",
        "TWILIO_AUTH_TOKEN_FILE": "/run/secrets/token",
        "TWILIO_API_KEY": "SK" + "0" * 32,
        "TWILIO_API_SECRET": "real",
        "TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155238886",
    }
    local = _local(**real)
    assert not set(local.values()) & set(real.values())
    assert not {name for name in local if name.endswith("_FILE") or name.startswith("TWILIO_API")}


def test_no_database_and_no_broker_of_the_environment_is_touched():
    local = _local(DATABASE_URL="postgresql://x", POSTGRES_HOST="x", REDIS_URL="redis://x", BROKER_URL="amqp://x")
    assert local["DATABASE_URL"] == "postgresql://mine"
    assert local["REDIS_URL"] == "redis://mine"
    assert not {"POSTGRES_HOST", "BROKER_URL"} & local.keys()


def test_a_proxy_may_stand_between_the_bot_and_the_simulator():
    local = _local(TWILIO_BASE_URL="http://127.0.0.1:4020", OPENAI_BASE_URL="http://127.0.0.1:4020/v1")
    assert local["TWILIO_BASE_URL"] == "http://127.0.0.1:4020"
    assert local["OPENAI_BASE_URL"] == "http://127.0.0.1:4020/v1"


def test_an_empty_variable_counts_as_unset():
    assert _local(TWILIO_BASE_URL="", OPENAI_BASE_URL="", OPENAI_API_KEY="") == _local()


def test_what_is_on_loopback_is_never_asked_through_the_environments_proxy():
    assert _local(NO_PROXY="intranet")["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_simulator_and_inspector_find_each_other_with_a_token_that_no_environment_brings():
    local = _local(INSPECT_TOKEN="real", INSPECT_DATABASE_URL="postgresql://x", INSPECT_HOST="0.0.0.0")
    assert (local["INSPECT_URL"], local["INSPECT_PORT"]) == ("http://127.0.0.1:8001", "8001")
    assert local["INSPECT_TOKEN"] != "real"
    assert not {"INSPECT_DATABASE_URL", "INSPECT_HOST"} & local.keys()
