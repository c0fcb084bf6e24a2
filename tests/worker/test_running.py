"""How a worker stops: what it does not begin any more, and what it gives back whatever fails."""

from collections.abc import Iterator

import pytest

from core.intake import HeldTurn
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
