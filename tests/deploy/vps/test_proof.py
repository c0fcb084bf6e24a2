"""What a deployment asks before it believes: a real webhook, a real Redis, a real Postgres."""

import os
import socket
import uuid
from collections.abc import Iterator

import psycopg
import pytest
import redis

from core import __version__
from core.config import TwilioSettings
from deploy.local.child import free_port
from deploy.local.redis import Redis
from deploy.vps import proof
from tests.webhook.posting import ACCOUNT, NUMBER, PUBLIC_URL, TOKEN
from tests.webhook.serving import serving


def settings(token: str = TOKEN) -> TwilioSettings:
    names = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": token, "TWILIO_WHATSAPP_NUMBER": NUMBER}
    return TwilioSettings.model_validate(names)


@pytest.fixture(scope="module")
def address(proof_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(proof_redis, tmp_path_factory.mktemp("webhook")) as served:
        yield f"http://127.0.0.1:{served.port}"


@pytest.fixture(scope="module")
def proof_redis(redis_server: Redis) -> str:
    return redis_server.database_url(0)


def test_a_message_to_ourselves_is_acknowledged_and_leaves_nothing(address: str, proof_redis: str):
    with redis.Redis.from_url(proof_redis) as client:  # pyright: ignore[reportUnknownMemberType]
        before = client.dbsize()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        proof.webhook(address, PUBLIC_URL, settings(), forge=True)
        assert client.dbsize() == before  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize(
    ("public_url", "token"), [(PUBLIC_URL, "another-token"), ("https://elsewhere.example.com", TOKEN)]
)
def test_a_token_or_an_address_that_does_not_fit_proves_nothing(address: str, public_url: str, token: str):
    with pytest.raises(proof.NotProven, match="answered 403"):
        proof.webhook(address, public_url, settings(token), forge=False)


def test_where_nobody_listens_nothing_is_proven():
    with pytest.raises(proof.NotProven, match="readyz"):
        proof.webhook(f"http://127.0.0.1:{free_port()}", PUBLIC_URL, settings(), forge=True)


@pytest.mark.parametrize(
    ("version", "age", "good"),
    [(__version__, "0 s", True), ("0.1.0+20200101-000000", "0 s", False), (__version__, "11 s", False)],
)
def test_a_worker_is_proven_by_signs_of_life_of_this_release(database_url: str, version: str, age: str, good: object):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO workers (id, host, pid, version, beat_at) VALUES (%s, %s, %s, %s, now() - %s::interval)",
            (uuid.uuid4(), socket.gethostname(), os.getpid(), version, age),
        )
    if good:
        proof.worker(database_url, os.getpid())
    else:
        with pytest.raises(proof.NotProven):
            proof.worker(database_url, os.getpid())


@pytest.mark.parametrize("arguments", [[], ["everything"], ["worker-x"]])
def test_wrong_usage_and_missing_configuration_end_with_2(arguments: list[str], monkeypatch: pytest.MonkeyPatch):
    for name in ("PUBLIC_URL", "TWILIO_ACCOUNT_SID"):
        monkeypatch.delenv(name, raising=False)
    assert proof.main(arguments) == 2
