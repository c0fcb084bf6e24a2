"""Who asked to be erased is, whoever else cannot be."""

import pytest

from core.errors import Transient
from tests.fakes import SOMEBODY, Bot

OTHER = "whatsapp:+491700000002"
RAISES = {"a value that Postgres refuses": "data_exception", "a history that takes too long": "query_canceled"}


def leave(bot: Bot, *senders: str) -> None:
    """They sent DELETE twice, and the farewell is settled."""
    for sender in senders:
        for _ in range(2):
            bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
            bot.say("DELETE", sender=sender)


def at_erasing(bot: Bot, statement: str) -> None:
    """What happens in Postgres when the first person is erased."""
    bot.change(
        f"CREATE FUNCTION erasing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN OLD; END $$"
    )
    bot.change(
        "CREATE TRIGGER erasing BEFORE DELETE ON people FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION erasing()"
    )


@pytest.mark.parametrize("condition", RAISES.values(), ids=RAISES)
def test_one_who_cannot_be_erased_stops_no_other_and_is_tried_again_later(bot: Bot, condition: str) -> None:
    leave(bot, SOMEBODY, OTHER)
    at_erasing(bot, f"RAISE {condition}")
    assert bot.eraser.erase_settled() == 1
    assert bot.rows("SELECT id FROM people") == [{"id": 1}]
    bot.change("DROP TRIGGER erasing ON people")
    assert bot.eraser.erase_settled() == 0
    bot.eraser._failed.clear()  # pyright: ignore[reportPrivateUsage]
    assert bot.eraser.erase_settled() == 1
    assert bot.rows("SELECT id FROM people") == []


def test_erasing_may_take_longer_than_a_statement_of_a_turn(bot: Bot) -> None:
    leave(bot, SOMEBODY)
    at_erasing(bot, "CREATE TABLE limits AS SELECT current_setting('statement_timeout') AS told")
    assert bot.eraser.erase_settled() == 1
    assert bot.rows("SELECT told FROM limits") == [{"told": "5min"}]


def test_an_outage_is_told_and_nobody_is_put_off_for_it(bot: Bot) -> None:
    leave(bot, SOMEBODY)
    bot.change("ALTER TABLE reports RENAME TO elsewhere")
    with pytest.raises(Transient):
        bot.eraser.erase_settled()
    bot.change("ALTER TABLE elsewhere RENAME TO reports")
    assert bot.eraser.erase_settled() == 1
