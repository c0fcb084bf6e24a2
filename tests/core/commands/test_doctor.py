"""`sisters doctor` as an operator types it: plain lines or JSON, exit code by the worst finding."""

import json

from tests.core.test_cli import sisters
from tests.fakes import Bot


def environment(bot: Bot, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": bot.database_url,
        "REDIS_URL": bot.redis_url,
        "PUBLIC_URL": "https://bot.example.com",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "secret-of-ours",
        "TWILIO_WHATSAPP_NUMBER": "whatsapp:+15550001111",
        "OPENAI_API_KEY": "secret-of-ours",
        "BUDGET_USD_PER_DAY": "5",
    } | more


def test_nothing_at_all_is_a_wrong_configuration():
    done = sisters("doctor")
    assert done.returncode == 2
    assert "REDIS_URL" in done.stdout
    assert "wrong" in done.stdout.splitlines()[-1]


def test_what_is_only_risky_ends_with_0_and_no_secret_is_shown(bot: Bot):
    done = sisters("doctor", "--offline", environment=environment(bot, MODERATION="off"))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "1 risky"
    assert "secret-of-ours" not in done.stdout + done.stderr


def test_the_last_line_says_what_is_simulated(bot: Bot):
    simulated = environment(bot, TWILIO_BASE_URL="http://127.0.0.1:1", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    done = sisters("doctor", "--offline", "--problems", environment=simulated)
    assert done.stdout.splitlines()[-1].endswith("; simulated: Twilio at 127.0.0.1:1, model openai at 127.0.0.1:1")


def test_a_service_that_is_away_ends_with_1(bot: Bot):
    done = sisters("doctor", "--offline", environment=environment(bot, REDIS_URL="redis://127.0.0.1:1/0"))
    assert done.returncode == 1


def test_problems_alone_as_json(bot: Bot):
    away = environment(bot, TWILIO_BASE_URL="http://127.0.0.1:1", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    done = sisters("doctor", "--json", "--problems", environment=away)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert {(each["area"], each["severity"]) for each in document} == {
        ("twilio", "broken"), ("models", "broken"), ("models", "risky"),
    }  # fmt: skip
    assert all(each["fix"] for each in document)
