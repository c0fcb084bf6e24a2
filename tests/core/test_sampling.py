"""One look at each service, from which a scrape is answered."""

import re
import time
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from core.adapters.redis_inbox import RedisInboxes, inboxes
from core.adapters.wakeups import QueueDepth
from core.config import DatabaseSettings
from core.errors import Permanent, Transient
from core.metrics import Levels
from core.model import StatusReport
from core.sampling import GOOD_FOR, Sampler
from core.store import Store
from deploy.local.redis import Redis
from tests.core.adapters.raw import raw_client
from tests.fakes import SOMEBODY, Bot

AWAY = "redis://127.0.0.1:1/0"


class Looks:
    def __init__(self, bot: Bot, *, box: RedisInboxes | None = None, broker: str = "", **more: Any) -> None:
        levels = Levels(good_for=GOOD_FOR)
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(levels)
        self.queue = QueueDepth(broker or bot.redis_url)
        self.sampler = Sampler(store=bot.store, inboxes=box or bot.inboxes, queue=self.queue, levels=levels, **more)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"sisters_{name}", labels)


def test_what_waits_in_redis_is_seen_with_the_age_of_the_oldest(bot: Bot) -> None:
    looks = Looks(bot)
    looks.sampler.look_at_inboxes()
    assert [looks.value(n) for n in ("inboxes_waiting", "inboxes_oldest_seconds", "reports_waiting")] == [0, 0, 0]
    bot.accept("hello")
    bot.accept("hello again")
    bot.accept("hello", sender="whatsapp:+491700000002")
    report = StatusReport(channel="twilio", provider_id="SM1", status="sent", received_at=bot.message("").received_at)
    bot.door.report(report)
    with closing(raw_client(bot.redis_url)) as raw:
        raw.zincrby("sisters:waiting", -90_000, raw.zrange("sisters:waiting", 0, 0)[0])
    looks.sampler.look_at_inboxes()
    assert looks.value("inboxes_waiting") == 2
    assert 90 <= (looks.value("inboxes_oldest_seconds") or 0) < 95
    assert looks.value("reports_waiting") == 1


def test_the_room_of_redis_is_seen(tmp_path: Path, bot: Bot) -> None:
    with Redis(log=tmp_path / "redis.log") as server, closing(raw_client(server.url)) as raw:
        looks = Looks(bot, box=inboxes(server.url))
        looks.sampler.look_at_redis()
        assert (looks.value("redis_used_bytes") or 0) > 100_000
        assert looks.value("redis_max_bytes") == 0
        assert [looks.value("redis_cannot_write", file=file) for file in ("aof", "rdb")] == [0, 0]
        raw.config_set("maxmemory", 50_000_000)
        looks.sampler.look_at_redis()
        assert looks.value("redis_max_bytes") == 50_000_000
        in_the_way = Path(raw.config_get("dir")["dir"]) / "dump.rdb"
        in_the_way.mkdir()
        raw.bgsave()
        until = time.monotonic() + 10
        while raw.info("persistence")["rdb_last_bgsave_status"] == "ok":
            assert time.monotonic() < until
            time.sleep(0.02)
        looks.sampler.look_at_redis()
        assert [looks.value("redis_cannot_write", file=file) for file in ("aof", "rdb")] == [0, 1]


def test_a_redis_that_does_not_let_us_ask_is_not_told_of_and_no_failing_duty(tmp_path: Path, bot: Bot) -> None:
    with Redis(log=tmp_path / "redis.log") as server, closing(raw_client(server.url)) as raw:
        raw.acl_setuser("managed", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-info"])
        looks = Looks(bot, box=inboxes(re.sub("//.*@", "//managed:p@", server.url)))
        looks.sampler.look_at_redis()
        looks.sampler.look_at_inboxes()
        assert looks.value("redis_used_bytes") is None
        assert looks.value("inboxes_waiting") == 0


def test_the_depth_of_the_brokers_queue_is_seen(bot: Bot) -> None:
    looks = Looks(bot)
    looks.sampler.look_at_broker()
    assert looks.value("broker_queue_depth") == 0
    bot.accept("hello")
    bot.accept("hello", sender="whatsapp:+491700000002")
    looks.sampler.look_at_broker()
    assert looks.value("broker_queue_depth") == 2
    looks.queue.close()


def test_open_turns_and_pieces_are_seen_by_phase(bot: Bot) -> None:
    looks = Looks(bot)
    bot.slots.places = 0
    for number in range(3):
        bot.say("hello", sender=f"whatsapp:+49170000010{number}")
    bot.llm.answers = [Transient("rate", after=timedelta(seconds=60))]
    bot.turns.run(bot.turns.claim(1)[0])
    bot.turns.claim(1)
    bot.change("UPDATE turns SET created_at = now() - interval '40 seconds' WHERE worker_id IS NULL")
    bot.slots.places = 1
    bot.channel.outcomes = [Permanent("auth", code="20003")]
    bot.say("hello", sender=SOMEBODY)
    looks.sampler.look_at_postgres()
    assert [looks.value("turns_open", phase=phase) for phase in ("waiting", "postponed", "running")] == [1, 1, 1]
    assert 40 <= (looks.value("turns_open_oldest_seconds") or 0) < 45
    assert [looks.value("deliveries_open", phase=phase) for phase in ("waiting", "sending", "unknown")] == [1, 0, 0]
    assert looks.value("senders_resting") == 1
    assert looks.value("workers_alive") == 1
    assert looks.value("dead_letters") == 0


def test_a_turn_that_is_due_again_waits_only_since_then(bot: Bot) -> None:
    looks = Looks(bot)
    looks.sampler.look_at_postgres()
    assert looks.value("turns_due_oldest_seconds") == 0
    bot.slots.places = 0
    bot.say("hello")
    bot.change("UPDATE turns SET created_at = now() - interval '10 minutes', next_attempt_at = now() - interval '20 s'")
    looks.sampler.look_at_postgres()
    assert (looks.value("turns_open_oldest_seconds") or 0) >= 600
    assert 20 <= (looks.value("turns_due_oldest_seconds") or 0) < 25
    bot.change("UPDATE turns SET next_attempt_at = now() + interval '1 minute'")
    looks.sampler.look_at_postgres()
    assert looks.value("turns_due_oldest_seconds") == 0


@pytest.mark.parametrize(
    ("as_it_stands", "tried"),
    [
        ("state = 'waiting'", False),
        ("state = 'waiting', slot_at = now() + interval '1 minute'", False),
        ("state = 'waiting', failures = 1, next_attempt_at = now() + interval '1 minute'", True),
        ("state = 'unknown', unknown_since = now()", True),
    ],
)
def test_a_piece_that_only_waits_for_its_place_is_not_one_that_cannot_be_sent(
    bot: Bot, *, as_it_stands: Any, tried: bool
) -> None:
    looks = Looks(bot)
    bot.say("hello")
    bot.change(f"UPDATE deliveries SET created_at = now() - interval '10 minutes', provider_id = NULL, {as_it_stands}")
    looks.sampler.look_at_postgres()
    assert (looks.value("deliveries_open_oldest_seconds") or 0) >= 600
    assert ((looks.value("deliveries_tried_oldest_seconds") or 0) >= 600) is tried


def test_what_is_spent_of_the_days_budget_is_seen_where_there_is_one(bot: Bot) -> None:
    looks = Looks(bot)
    looks.sampler.look_at_postgres()
    assert (looks.value("budget_usd"), looks.value("spent_today_usd")) == (None, None)
    bot.say("hello")
    bot.change("UPDATE turns SET cost_usd = 1.25")
    looks = Looks(bot, budget_usd=Decimal("2.50"))
    looks.sampler.look_at_postgres()
    assert (looks.value("budget_usd"), looks.value("spent_today_usd")) == (2.5, 1.25)


@pytest.mark.parametrize("ahead_s", [-30.0, 0.0, 30.0])
def test_a_clock_that_is_wrong_is_seen_and_a_slow_answer_is_no_wrong_clock(bot: Bot, ahead_s: float) -> None:
    looks = Looks(bot, clock=lambda: time.time() + ahead_s)
    looks.sampler.look_at_postgres()
    assert looks.value("clock_skew_seconds") == pytest.approx(abs(ahead_s), abs=3)
    assert ahead_s or looks.value("clock_skew_seconds") == 0
    assert (looks.value("database_bytes") or 0) > 1_000_000


def test_a_service_that_is_away_is_not_told_of(bot: Bot) -> None:
    away = inboxes(AWAY)
    looks = Looks(bot, box=away, broker=AWAY)
    for look in (looks.sampler.look_at_inboxes, looks.sampler.look_at_broker):
        with pytest.raises(Transient):
            look()
    looks.sampler.look_at_postgres()
    assert looks.value("inboxes_waiting") is None
    assert looks.value("broker_queue_depth") is None
    assert looks.value("workers_alive") == 1
    away.close()


def test_postgres_away_is_not_told_of_either(bot: Bot) -> None:
    looks = Looks(bot)
    bot.store.close()
    with pytest.raises(Transient):
        looks.sampler.look_at_postgres()
    assert looks.value("workers_alive") is None
    bot.store = Store(DatabaseSettings.model_validate({"DATABASE_URL": bot.database_url}), connections=1)


def test_the_broker_is_seen_again_once_it_is_back(bot: Bot) -> None:
    looks = Looks(bot)
    looks.sampler.look_at_broker()
    with closing(raw_client(bot.redis_url)) as raw:
        raw.client_kill_filter(_type="normal", skipme=True)
    for _ in range(2):
        try:
            looks.sampler.look_at_broker()
        except Transient:
            continue
    looks.sampler.look_at_broker()
    assert looks.value("broker_queue_depth") == 0
