"""What is older than RETENTION_DAYS goes, a little at a time, and nothing of it comes back."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from core.config import RetentionSettings
from core.keeping.retention import IN_LOG, Retention
from core.operations.comparison import Comparer
from core.store import load_queries
from tests.fakes import OUR_NUMBER, SOMEBODY, Bot, FakeMessageLog

KEEP = 30
TABLES = ("turns", "messages", "deliveries", "reports", "former_ids", "dead_letters")


def retention(bot: Bot, *, days: int = KEEP, at_once: int = 500, run_at_most: float = 30) -> Retention:
    settings = RetentionSettings.model_validate({"RETENTION_DAYS": days})
    return Retention(store=bot.store, settings=settings, at_once=at_once, run_at_most=timedelta(seconds=run_at_most))


def talk(bot: Bot, *texts: str) -> None:
    for text in texts:
        bot.say(text)
        bot.report("delivered", provider_id=bot.channel.log[0].provider_id)


def grow_old(bot: Bot, days: float = KEEP + 1) -> None:
    """Everything there is was so many days ago."""
    ago = timedelta(days=days)
    bot.change("UPDATE turns SET created_at = created_at - %(ago)s, finished_at = finished_at - %(ago)s", ago=ago)
    bot.change("UPDATE messages SET received_at = received_at - %(ago)s, stored_at = stored_at - %(ago)s", ago=ago)
    bot.change("UPDATE deliveries SET created_at = created_at - %(ago)s, accepted_at = accepted_at - %(ago)s", ago=ago)
    bot.change("UPDATE reports SET stored_at = stored_at - %(ago)s", ago=ago)
    bot.change("UPDATE dead_letters SET created_at = created_at - %(ago)s", ago=ago)
    bot.change("UPDATE erased SET erased_at = erased_at - %(ago)s", ago=ago)


def counts(bot: Bot) -> dict[str, int]:
    return {table: bot.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in TABLES}


def fill_every_table(bot: Bot) -> None:
    talk(bot, "hello", "and music?")
    bot.change("INSERT INTO dead_letters (source, payload, reason) VALUES ('inbox', 'x', 'unreadable')")
    bot.change(
        "INSERT INTO former_ids (channel, provider_id, delivery_id, status, error_code, reported_at)"
        " SELECT 'twilio', 'MMformer', min(id), 'failed', '63018', now() FROM deliveries"
    )
    bot.change(
        "INSERT INTO messages (conversation_id, direction, channel, provider_id, text, too_late, received_at)"
        " SELECT id, 'in', 'twilio', 'SMtoolate', 'was anybody there?', true, now() FROM conversations"
    )


def test_what_is_old_goes_and_what_is_new_stays(bot: Bot) -> None:
    fill_every_table(bot)
    assert all(counts(bot).values())
    grow_old(bot)
    talk(bot, "and today?")
    assert retention(bot).drop_old() == 6  # two turns, a message of none, two reports, a dead letter
    assert counts(bot) == {
        "turns": 1, "messages": 2, "deliveries": 1, "reports": 1, "former_ids": 0, "dead_letters": 0,
    }  # fmt: skip
    assert [row["text"] for row in bot.rows("SELECT text FROM messages WHERE direction = 'in'")] == ["and today?"]


def test_a_day_less_than_that_is_kept(bot: Bot) -> None:
    fill_every_table(bot)
    grow_old(bot, days=KEEP - 1)
    before = counts(bot)
    assert retention(bot).drop_old() == 0
    assert counts(bot) == before


def test_without_retention_everything_is_kept(bot: Bot) -> None:
    fill_every_table(bot)
    grow_old(bot, days=IN_LOG.days - 1)
    before = counts(bot)
    assert retention(bot, days=0).drop_old() == 0
    assert counts(bot) == before


def test_a_person_stays_and_so_does_their_stop(bot: Bot) -> None:
    talk(bot, "hello", "STOP")
    grow_old(bot)
    assert retention(bot).drop_old()
    assert counts(bot)["turns"] == 0
    sent = len(bot.channel.sent)
    bot.say("still there?")
    assert len(bot.channel.sent) == sent


def test_a_conversation_goes_on_after_all_of_it_went(bot: Bot) -> None:
    talk(bot, "hello", "and music?")
    grow_old(bot)
    retention(bot).drop_old()
    talk(bot, "and what about the guitar?")
    assert "Answer 3." in bot.channel.bodies[-1]
    assert bot.llm.own_texts() == ["and what about the guitar?"]
    assert not [m for m in bot.llm.prompts[-1] if "and music?" in m.text]


def test_nothing_of_it_comes_back_from_the_providers_log(bot: Bot) -> None:
    log = FakeMessageLog(bot.channel)
    for text in ("hello", "and music?"):
        log.hears(bot.say(text))
        bot.report("delivered", provider_id=bot.channel.log[0].provider_id)
    comparer = Comparer(store=bot.store, log=log, inboxes=bot.inboxes, channel="twilio", number=OUR_NUMBER)
    grow_old(bot)
    assert retention(bot).drop_old()
    assert counts(bot)["messages"] == 0
    assert comparer.compare(datetime.now(UTC) - timedelta(hours=1)).good
    bot.channel.log += log.came
    caught = bot.catch_up.run(timedelta(days=2))
    assert (caught.late, caught.too_late) == (0, 0)
    assert counts(bot)["messages"] == 0


@pytest.mark.parametrize("state", ["waiting", "sending", "unknown"])
def test_what_is_still_being_sent_is_not_old(bot: Bot, state: str) -> None:
    talk(bot, "hello")
    bot.change("UPDATE deliveries SET state = %(state)s", state=state)
    grow_old(bot)
    retention(bot).drop_old()
    assert (counts(bot)["turns"], counts(bot)["deliveries"]) == (1, 1)


def test_an_open_turn_is_not_old(bot: Bot) -> None:
    talk(bot, "hello")
    grow_old(bot)
    bot.change("UPDATE turns SET finished_at = NULL, outcome = NULL")
    retention(bot).drop_old()
    assert counts(bot)["turns"] == 1


def test_it_goes_in_batches_until_nothing_is_left(bot: Bot) -> None:
    talk(bot, *(f"hello {number}" for number in range(5)))
    grow_old(bot)
    before = bot.rows("SELECT count(DISTINCT xmin::text) AS n FROM erased")[0]["n"]
    assert retention(bot, at_once=2).drop_old() == 10
    after = bot.rows("SELECT count(DISTINCT xmin::text) AS n FROM erased")[0]["n"]
    assert after - before == 3  # two, two and one turn: a transaction each
    assert counts(bot)["turns"] == 0


def test_who_works_on_a_turn_is_not_waited_for(bot: Bot) -> None:
    talk(bot, "hello", "and music?")
    grow_old(bot)
    with psycopg.connect(bot.database_url) as connection:
        connection.execute("SELECT FROM turns WHERE id = (SELECT min(id) FROM turns) FOR UPDATE")
        assert retention(bot).drop_old() == 3  # the other turn, two reports
        assert counts(bot)["turns"] == 1
    assert retention(bot).drop_old() == 1


def test_a_round_ends_when_its_time_is_up_or_the_worker_stops(bot: Bot) -> None:
    talk(bot, "hello")
    grow_old(bot)
    assert retention(bot, run_at_most=0).drop_old() == 0
    stopped = retention(bot)
    stopped.stop()
    assert stopped.drop_old() == 0
    assert counts(bot)["turns"] == 1


def test_hashes_go_when_the_providers_log_has_forgotten_too(bot: Bot) -> None:
    talk(bot, "hello")
    grow_old(bot)
    retention(bot).drop_old()
    remembered = bot.rows("SELECT FROM erased")
    assert remembered
    grow_old(bot, days=IN_LOG.days - 1)
    assert retention(bot, days=0).drop_old() == 0
    grow_old(bot, days=2)
    assert retention(bot, days=0).drop_old() == len(remembered)


def test_a_new_message_is_stored_while_a_batch_is_deleted(bot: Bot) -> None:
    """The batch is held open by a row that comes last; the person whose words it deletes is answered meanwhile."""
    talk(bot, "hello")
    grow_old(bot)
    with psycopg.connect(bot.database_url) as connection:
        connection.execute(load_queries()["drop_old_turns"], {"keep": timedelta(days=KEEP), "limit": 10})
        bot.say("are you there?", sender=SOMEBODY)
        assert len(bot.channel.sent) == 2
