"""One worker by itself takes up whatever was left lying, with no timer and no wake-up."""

import time
from collections.abc import Callable

from core.adapters.redis_inbox import person_key
from tests.core.logged import logged
from tests.fakes import SOMEBODY, Bot
from worker.keeper import Keeper
from worker.pool import TurnPool


def until(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def keeper_of(bot: Bot, *, places: int = 4) -> Keeper:
    pool = TurnPool(bot.turns.run, size=places)
    return Keeper(
        upkeep=bot.upkeep, turns=bot.turns, outbox=bot.outbox, eraser=bot.eraser, catch_up=bot.catch_up, pool=pool
    )


def test_a_message_whose_wake_up_was_lost_is_answered(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url)
    bot.accept("hello")
    keeper = keeper_of(bot)
    keeper.start()
    assert until(lambda: len(bot.channel.sent) == 1)
    keeper.stop()
    assert bot.inboxes.read(person_key(SOMEBODY), limit=1).entries == ()
    bot.close()


def test_waiting_turns_and_due_pieces_are_taken_up(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url)
    bot.llm.answers = ["A long answer it is. " * 100]
    bot.slots.places = 0
    bot.say("tell me")
    keeper = keeper_of(bot)
    keeper.start()
    assert until(lambda: len(bot.channel.sent) == 2)
    keeper.stop()
    bot.close()


def test_what_a_lost_turn_had_paid_is_written_down_soon(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url)
    bot.llm.meanwhile = lambda _: bot.change("UPDATE turns SET worker_id = NULL, next_attempt_at = now() + '1 hour'")
    bot.say("hello")
    keeper = keeper_of(bot)
    keeper.start()
    assert until(lambda: bot.rows("SELECT FROM turns WHERE cost_usd > 0") != [])
    keeper.stop()
    bot.close()


def test_one_sweep_on_request_does_what_the_timer_asks(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url)
    bot.slots.places = 0
    bot.say("hello")
    keeper = keeper_of(bot)
    keeper.sweep()
    assert until(lambda: len(bot.channel.sent) == 1)
    bot.close()


def test_a_worker_without_its_tables_says_what_to_run_and_goes_on_once_that_was_done(
    database_url: str, redis_url: str
) -> None:
    bot = Bot(database_url, redis_url)
    bot.change("ALTER TABLE workers RENAME TO elsewhere")
    with logged("worker") as lines:
        keeper = keeper_of(bot)
        keeper.start()
        told = {"event": "step_waits", "step": "beat", "reason": "not_migrated", "hint": "run sisters migrate"}
        assert until(lambda: any(told.items() <= line.items() for line in lines.told()))
        bot.change("ALTER TABLE elsewhere RENAME TO workers")
        over = {"event": "step_works_again", "step": "beat"}
        assert until(lambda: any(over.items() <= line.items() for line in lines.told()))
        keeper.stop()
        assert "Traceback" not in lines.getvalue()
    bot.close()
