"""How a worker stops: what it does not begin any more, what it gives back whatever fails, and what it ends with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from core.intake import HeldTurn
from deploy.local.stack import local_environment
from tests.fakes import Bot, RunsHere
from tests.worker.test_keeper import keeper_of
from worker.keeper import ASKED_AT_ONCE
from worker.running import hand_back


@pytest.fixture
def bot(database_url: str, redis_url: str) -> Iterator[Bot]:
    bot = Bot(database_url, redis_url)
    yield bot
    bot.close()


def without_reports(bot: Bot, count: int) -> None:
    for n in range(count):
        bot.say("hello", sender=f"whatsapp:+4917000{n:05d}")
    bot.change("UPDATE deliveries SET accepted_at = now() - interval '20 minutes'")


def test_every_delivery_without_a_report_is_asked_after_in_one_round(bot: Bot) -> None:
    without_reports(bot, 2 * ASKED_AT_ONCE + 1)
    keeper_of(bot).catch_up()
    assert len(bot.channel.fetched) == 2 * ASKED_AT_ONCE + 1


def test_a_worker_that_stops_reads_the_log_no_further_and_asks_after_nothing(bot: Bot) -> None:
    bot.change("UPDATE catch_up SET started_at = now() - interval '1 hour'")
    without_reports(bot, 1)
    keeper = keeper_of(bot)
    bot.channel.while_reading = keeper.take_no_more
    keeper.catch_up()
    keeper.catch_up()
    assert len(bot.channel.readings) == 1
    assert bot.channel.fetched == []


def test_what_cannot_be_handed_back_keeps_no_worker_from_finishing_its_sends_and_leaving(bot: Bot) -> None:
    held: list[HeldTurn] = []
    bot.slots = RunsHere(held.append)
    bot.say("hello")
    bot.change("ALTER TABLE turns RENAME TO elsewhere")
    assert hand_back(turns=bot.turns, outbox=bot.outbox, upkeep=bot.upkeep) == (0, True)
    assert bot.rows("SELECT FROM workers") == []


def test_what_was_paid_is_written_down_by_a_worker_that_stops(bot: Bot) -> None:
    bot.llm.meanwhile = lambda _: bot.change("UPDATE turns SET worker_id = NULL")
    bot.say("hello")
    hand_back(turns=bot.turns, outbox=bot.outbox, upkeep=bot.upkeep)
    assert bot.rows("SELECT cost_usd > 0 AS paid FROM turns") == [{"paid": True}]


def test_a_worker_that_celery_gave_up_hands_back_and_does_not_end_with_0(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.set("sisters", "no queue")
    ended = subprocess.run(
        [sys.executable, "-m", "core.cli", "worker", "--concurrency", "1"],
        env=local_environment(
            {"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            database_url=database_url,
            redis_url=redis_url,
            webhook_port=1,
            simulator_port=1,
            inspect_port=1,
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "worker_stopped" in ended.stdout
    assert ended.returncode == 1
