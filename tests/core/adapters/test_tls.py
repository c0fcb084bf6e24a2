from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.adapters.redis_inbox import door, inboxes
from core.adapters.wakeups import WAKE, BrokerWakeups, QueueDepth
from core.errors import Transient
from core.model import person_key
from tests.core.adapters.sentinels import wait
from tests.core.adapters.test_sentinel import PHONE, message
from tests.core.adapters.tls_redis import TlsRedis, tls_redis

pytestmark = pytest.mark.debian("redis-server", "openssl")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsRedis]:
    with tls_redis(tmp_path) as server:
        yield server


def test_messages_and_wakeups_go_under_tls_when_the_authority_is_known(server: TlsRedis):
    url = server.url()
    with closing(door(url, url)) as way_in, closing(inboxes(url)) as within, closing(QueueDepth(url)) as queue:
        way_in.accept(message(1))
        assert len(within.read(person_key(PHONE), limit=5).entries) == 1
        with closing(BrokerWakeups(url, limit=1)) as wakeups:
            wakeups.wake(WAKE, "person")
        wait(lambda: queue.depth() == 2, what="the door's wake-up and ours")


@pytest.mark.parametrize("authorities", ["another's", "the system's"])
def test_a_server_whose_authority_is_not_known_gets_nothing(server: TlsRedis, authorities: str):
    url = server.url(server.stranger) if authorities == "another's" else server.url().partition("?")[0]
    with closing(door(url, url)) as way_in, closing(QueueDepth(url)) as queue:
        assert not way_in.ready()
        with pytest.raises(Transient):
            way_in.accept(message(1))
        with pytest.raises(Transient):
            queue.depth()
