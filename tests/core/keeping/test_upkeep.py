"""Signs of life, and what is taken from those who show none."""

from datetime import timedelta
from uuid import uuid4

import pytest
import redis

from core.adapters.redis_inbox import person_key
from core.errors import Transient
from core.intake import INBOXES_AT_ONCE, HeldTurn
from core.keeping.upkeep import SILENT_AFTER
from tests.core.logged import logged
from tests.fakes import SOMEBODY, Bot, RunsHere


def held_by_another(bot: Bot, *, beat_ago: timedelta) -> None:
    taken: list[HeldTurn] = []
    bot.slots = RunsHere(taken.append)
    bot.say("hello")
    other = uuid4()
    bot.change(
        "INSERT INTO workers (id, host, pid, version, beat_at) VALUES (%(w)s, 'h', 1, 'v', now() - %(ago)s)",
        w=other,
        ago=beat_ago,
    )
    bot.change("UPDATE turns SET worker_id = %(w)s", w=other)


def be_steady(bot: Bot) -> None:
    bot.time_passes(SILENT_AFTER.total_seconds() - 1)
    bot.upkeep.beat()
    bot.time_passes(1.5)


def test_the_turn_of_a_silent_worker_is_taken_over(bot: Bot) -> None:
    held_by_another(bot, beat_ago=SILENT_AFTER + timedelta(seconds=1))
    be_steady(bot)
    assert bot.upkeep.release_lost() == 1
    assert len(bot.turns.claim(10)) == 1


def test_the_turn_of_a_living_worker_is_left_to_it(bot: Bot) -> None:
    held_by_another(bot, beat_ago=timedelta(seconds=1))
    be_steady(bot)
    assert bot.upkeep.release_lost() == 0


def test_past_its_deadline_a_turn_is_taken_even_from_the_living(bot: Bot) -> None:
    held_by_another(bot, beat_ago=timedelta(0))
    bot.change("UPDATE turns SET deadline_at = now() - interval '1 second'")
    be_steady(bot)
    assert bot.upkeep.release_lost() == 1


def test_a_worker_just_back_from_an_outage_judges_nobody(bot: Bot) -> None:
    held_by_another(bot, beat_ago=timedelta(minutes=1))
    be_steady(bot)
    bot.time_passes(60)  # no beat went through meanwhile
    bot.upkeep.beat()
    assert bot.upkeep.release_lost() == 0
    be_steady(bot)
    assert bot.upkeep.release_lost() == 1


def test_a_beat_that_fails_is_told(bot: Bot) -> None:
    bot.store.close()
    with pytest.raises(Transient):
        bot.upkeep.beat()


def test_an_inbox_whose_wake_up_was_lost_is_drained_by_the_sweep(bot: Bot) -> None:
    bot.accept("hello")
    assert bot.upkeep.drain_stale_inboxes(bot.slots) == 0  # it may still be on its way
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.zadd("sisters:waiting", {person_key(SOMEBODY): 1})  # pyright: ignore[reportUnknownMemberType]
    assert bot.upkeep.drain_stale_inboxes(bot.slots) == 1
    assert len(bot.channel.sent) == 1


def test_one_inbox_that_cannot_be_stored_stops_no_other(bot: Bot) -> None:
    bot.change(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.text = 'poison' THEN RAISE data_exception; END IF; RETURN NEW; END $$"
    )
    bot.change("CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()")
    bot.accept("poison")
    bot.accept("hello", sender="whatsapp:+491700000002")
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        for place, sender in enumerate((SOMEBODY, "whatsapp:+491700000002")):
            client.zadd("sisters:waiting", {person_key(sender): place})  # pyright: ignore[reportUnknownMemberType]
    assert bot.upkeep.drain_stale_inboxes(bot.slots) == 1
    assert len(bot.channel.sent) == 1


def test_inboxes_that_cannot_be_stored_are_no_wall_before_the_others(bot: Bot) -> None:
    bot.change("ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> 'poison')")
    people = [f"whatsapp:+4917000{n:05d}" for n in range(INBOXES_AT_ONCE + 2)]
    with redis.Redis.from_url(bot.redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
        for place, sender in enumerate(people):
            bot.accept("hello" if sender == people[-1] else "poison", sender=sender)
            client.zadd("sisters:waiting", {person_key(sender): place})  # pyright: ignore[reportUnknownMemberType]
    with logged() as lines:
        assert bot.upkeep.drain_stale_inboxes(bot.slots) == 1
    assert [line["event"] for line in lines.told()].count("inbox_not_stored") == len(people) - 1
    assert len(bot.channel.sent) == 1


def test_an_id_too_long_to_be_stored_is_buried(bot: Bot) -> None:
    bot.accept("hello", external_id="x" * 18_000)
    bot.take_in()
    assert len(bot.rows("SELECT * FROM dead_letters")) == 1


def test_a_beat_that_took_too_long_counts_as_an_outage(bot: Bot) -> None:
    held_by_another(bot, beat_ago=timedelta(minutes=1))
    be_steady(bot)
    bot.time_passes(9)  # it waited for a connection so long
    bot.upkeep.beat()
    assert bot.upkeep.release_lost() == 0


def test_a_worker_that_leaves_is_gone(bot: Bot) -> None:
    bot.upkeep.leave()
    assert bot.rows("SELECT * FROM workers") == []
