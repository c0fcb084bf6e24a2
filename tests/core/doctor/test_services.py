"""What each service tells of itself, asked for real; Twilio and the models by a server on loopback."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from redis import from_url

from core.config import DatabaseSettings, LlmSettings, Provider, RedisSettings, TwilioSettings, WebSettings
from core.doctor import models, postgres, redis, twilio
from core.doctor.finding import Findings, Severity
from core.doctor.machine import weigh_clock
from deploy.local.redis import Redis
from tests.core.adapters.scripted import ScriptedServer, hang, reply

NUMBER = "whatsapp:+15550001111"
HOOK, STATUS = "https://bot.example.com/whatsapp", "https://bot.example.com/whatsapp/status"
RETRIES = "#rc=3&rp=5xx,ct,rt"


def worse(findings: Findings) -> dict[str, Severity]:
    return {f.subject: f.severity for f in findings.found if f.severity > Severity.GOOD}


def database(url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"DATABASE_URL": url})


def account(url: str, **more: str) -> TwilioSettings:
    named = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "t", "TWILIO_WHATSAPP_NUMBER": NUMBER}
    return TwilioSettings.model_validate(named | {"TWILIO_BASE_URL": url} | more)


def web() -> WebSettings:
    return WebSettings.model_validate({"PUBLIC_URL": "https://bot.example.com"})


def test_a_migrated_database_lacks_only_a_worker(database_url: str):
    assert worse(postgres.check(database(database_url))) == {"workers": Severity.RISKY}


def test_a_living_worker_is_seen(database_url: str):
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO workers (id, host, pid, version) VALUES (gen_random_uuid(), 'h', 1, 'v')")
    assert worse(postgres.check(database(database_url))) == {}


def test_an_empty_database_is_told_how_to_be_migrated(empty_database_url: str):
    findings = postgres.check(database(empty_database_url))
    assert worse(findings) == {"schema": Severity.WRONG}
    assert findings.found[-1].fix == "run sisters migrate"


def test_a_migration_that_is_lacking_is_named(database_url: str):
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE name LIKE '0004%'")
    findings = postgres.check(database(database_url))
    assert worse(findings) == {"schema": Severity.WRONG}
    assert "0004_catch_up" in findings.found[-1].what


def test_a_wrong_password_is_wrong_and_a_closed_port_is_broken(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS nobody_knows"))
    refused = postgres.check(database(make_conninfo(database_url, user="nobody_knows", password="x")))
    assert worse(refused) == {"login": Severity.WRONG}
    away = postgres.check(database("postgresql://u:p@127.0.0.1:1/x"))
    assert worse(away) == {"reachable": Severity.BROKEN}
    assert away.found[0].what == "Postgres does not answer at 127.0.0.1:1/x (connection refused)"


def test_a_role_that_may_not_read_the_tables_is_wrong(database_url: str, powerless: dict[str, str]):
    findings = postgres.check(database(make_conninfo(database_url, **powerless)))
    assert worse(findings) == {"rights": Severity.WRONG}
    assert findings.found[-1].what.endswith("(permission denied for table schema_migrations)")
    assert "REASSIGN OWNED BY their_owner TO powerless" in findings.found[-1].fix


def test_a_durable_redis_has_nothing_to_mend(redis_url: str):
    assert worse(redis.check(RedisSettings.model_validate({"REDIS_URL": redis_url}))) == {}


def test_a_redis_that_forgets_and_drops_is_told(tmp_path: Path):
    with Redis(log=tmp_path / "redis.log") as server:
        connection: Any = from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
        with connection:
            connection.config_set("appendonly", "no")
            connection.config_set("maxmemory-policy", "allkeys-lru")
            findings = redis.check(RedisSettings.model_validate({"REDIS_URL": server.url}))
    assert worse(findings) == {"append-only file": Severity.RISKY, "eviction": Severity.BROKEN}


def test_a_redis_that_is_away_is_broken():
    findings = redis.check(RedisSettings.model_validate({"REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert worse(findings) == {"reachable": Severity.BROKEN}
    assert findings.found[0].what == "Redis does not answer at 127.0.0.1:1/0 (connection refused)"


def test_a_redis_that_refuses_the_password_is_wrong(redis_url: str):
    findings = redis.check(RedisSettings.model_validate({"REDIS_URL": redis_url.replace("redis://:", "redis://:x")}))
    assert worse(findings) == {"REDIS_URL": Severity.WRONG}
    assert findings.found[0].what.startswith("Redis refuses the user or the password at ")


def test_a_database_that_redis_lacks_is_wrong_and_not_away(redis_url: str):
    findings = redis.check(RedisSettings.model_validate({"REDIS_URL": f"{redis_url.rpartition('/')[0]}/99"}))
    assert worse(findings) == {"REDIS_URL": Severity.WRONG}
    assert findings.found[0].what.endswith("/99 (DB index is out of range)")
    assert findings.found[0].fix.startswith("take a lower number")


def test_a_broker_of_its_own_is_asked_too(redis_url: str):
    away = RedisSettings.model_validate({"REDIS_URL": redis_url, "BROKER_URL": "redis://127.0.0.1:1/0"})
    assert worse(redis.check(away)) == {"broker": Severity.BROKEN}
    there = RedisSettings.model_validate(
        {"REDIS_URL": redis_url, "BROKER_URL": redis_url.replace("127.0.0.1", "localhost")}
    )
    assert worse(redis.check(there)) == {}


def test_credentials_that_twilio_refuses_are_wrong():
    with ScriptedServer(reply(401, {"code": 20003})) as server:
        findings = twilio.check(account(server.url), web())
    assert worse(findings) == {"credentials": Severity.WRONG}


def test_a_twilio_that_is_silent_is_broken_within_its_bound():
    started = time.monotonic()
    with ScriptedServer(hang(11)) as server:
        findings = twilio.check(account(server.url), web())
    assert worse(findings) == {"reachable": Severity.BROKEN}
    assert time.monotonic() - started < 30


def senders(**webhook: str) -> dict[str, Any]:
    return {
        "senders": [{"sid": "XE1", "sender_id": NUMBER, "status": "ONLINE", "webhook": webhook}],
        "meta": {"key": "senders", "next_page_url": None},
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (senders(callback_url=HOOK + RETRIES, status_callback_url=STATUS + RETRIES), {}),
        (
            senders(callback_url=HOOK, status_callback_url=STATUS + RETRIES),
            {"webhook address": Severity.RISKY},
        ),
        (
            senders(callback_url="https://elsewhere.example/sms"),
            {"webhook address": Severity.WRONG, "status address": Severity.RISKY},
        ),
        ({"senders": [], "meta": {"key": "senders"}}, {"number": Severity.WRONG}),
    ],
)
def test_the_number_and_the_addresses_that_twilio_calls_are_compared(answer: Any, expected: dict[str, Severity]):
    messages = reply(200, {"messages": [], "next_page_uri": None})
    told = reply(200, {"sid": "AC", "status": "active", "type": "Full"})
    with ScriptedServer(messages, told, reply(200, answer)) as server:
        findings = twilio.check(account(server.url), web(), looked_up=True)
    assert worse(findings) == expected


def llm(url: str, **more: str) -> LlmSettings:
    provider = Provider.model_validate({"name": "p", "base_url": url, "model": "m", "api_key": "k"} | more)
    return LlmSettings.model_validate(
        {"LLM_PROVIDERS": [provider.model_dump()], "OPENAI_BASE_URL": url, "MODERATION": "off"}
    )


COMPLETION = {"choices": [{"message": {"content": "OK"}, "finish_reason": "stop"}], "model": "m"}


def test_a_model_that_answers_is_well_and_one_that_ends_soon_is_risky():
    ends = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    listed = {"data": [{"id": "m", "shutdown_date": ends}]}
    with ScriptedServer(reply(200, COMPLETION), reply(200, listed)) as server:
        findings = models.check(llm(f"{server.url}/v1"))
    assert worse(findings) == {"p (m)": Severity.RISKY}
    assert ends in findings.found[-1].what
    with ScriptedServer(reply(200, COMPLETION), reply(404, {})) as server:
        assert worse(models.check(llm(f"{server.url}/v1"))) == {}


def test_a_refused_key_is_wrong_and_an_outage_is_broken():
    with ScriptedServer(reply(401, {"error": {"code": "invalid_api_key"}})) as server:
        assert worse(models.check(llm(f"{server.url}/v1"))) == {"p (m)": Severity.WRONG}
    with ScriptedServer(reply(503, {})) as server:
        assert worse(models.check(llm(f"{server.url}/v1"))) == {"p (m)": Severity.BROKEN}


@pytest.mark.parametrize(
    ("apart", "severity"), [(0, Severity.GOOD), (10, Severity.RISKY), (-10, Severity.RISKY), (45, Severity.BROKEN)]
)
def test_clocks_are_compared(apart: int, severity: Severity):
    findings = Findings("machine")
    weigh_clock(findings, "clock", datetime.now(UTC) + timedelta(seconds=apart), "Postgres")
    assert findings.found[0].severity is severity
