"""Our rows against the provider's log: lost, doubled, foreign and missing are seen, and nothing else is called so."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.redis_inbox import person_key
from core.errors import Ambiguous, Permanent
from core.model import InboundMessage
from core.operations.comparison import Comparer, Comparison
from core.ports import Outgoing, ProviderMessage
from tests.fakes import OUR_NUMBER, SOMEBODY, Bot, FakeMessageLog

OTHER = "whatsapp:+491700000002"


class World:
    """A bot, and the provider's log of what it was told and what it said."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.log = FakeMessageLog(bot.channel)
        self.slept = 0.0
        self.page = 1000
        self.meanwhile: Callable[[], object] = lambda: None

    def say(self, text: str, **changes: Any) -> InboundMessage:
        message = self.bot.say(text, **changes)
        self.log.hears(message)
        return message

    def compare(self, hours: float = 2) -> Comparison:
        def sleep(seconds: float) -> None:
            self.slept += seconds
            self.meanwhile()

        comparer = Comparer(
            store=self.bot.store,
            log=self.log,
            inboxes=self.bot.inboxes,
            channel="twilio",
            number=OUR_NUMBER,
            page=self.page,
            sleep=sleep,
        )
        return comparer.compare(datetime.now(UTC) - timedelta(hours=hours))

    def send_again(self, place: int = 0) -> str:
        """What was sent is sent once more past the outbox, as a blind retry would."""
        return self.bot.channel.send(self.bot.channel.sent[place])

    @property
    def sent_row(self) -> ProviderMessage:
        return self.bot.channel.log[0]


@pytest.fixture
def world(bot: Bot) -> World:
    return World(bot)


def long_ago(message: InboundMessage) -> InboundMessage:
    return replace(message, received_at=message.received_at - timedelta(minutes=10))


def test_where_both_sides_agree_nothing_is_told_and_nothing_is_fetched(world: World) -> None:
    world.say("hello")
    world.say("hello", sender=OTHER)
    comparison = world.compare()
    assert comparison == Comparison(lost=[], doubled=[], foreign=[], missing=[], waiting=[])
    assert comparison.good
    assert (world.log.fetched, world.slept) == ([], 0)


def test_an_empty_world_agrees(world: World) -> None:
    assert world.compare().good


def test_a_row_deleted_by_hand_is_lost(world: World) -> None:
    world.say("hello", received_at=datetime.now(UTC) - timedelta(minutes=10))
    lost = world.say("and me?", received_at=datetime.now(UTC) - timedelta(minutes=9))
    world.bot.change("DELETE FROM messages WHERE provider_id = %(sid)s", sid=lost.provider_id)
    comparison = world.compare()
    assert (comparison.lost, comparison.good, world.slept) == ([lost.provider_id], False, 0)


def test_a_message_before_the_time_asked_for_is_not_compared(world: World) -> None:
    world.log.hears(world.bot.message("hello", received_at=datetime.now(UTC) - timedelta(hours=3)))
    assert world.compare(hours=2).good
    assert not world.compare(hours=4).good


def test_a_message_just_logged_gets_time_to_arrive(world: World) -> None:
    message = world.bot.message("hello")
    world.log.hears(message)
    world.meanwhile = lambda: (world.bot.door.accept(message), world.bot.take_in())
    assert world.compare().good
    assert world.slept == 1


def test_a_message_that_does_not_arrive_in_time_is_lost(world: World) -> None:
    message = world.bot.message("hello", received_at=datetime.now(UTC) + timedelta(seconds=30))
    world.log.hears(message)
    assert world.compare().lost == [message.provider_id]
    assert world.slept == 15


def test_what_waits_in_redis_is_not_lost_but_stuck_once_it_waits_for_too_long(world: World) -> None:
    young = world.bot.accept("hello")
    old = world.bot.accept("hello?", sender=OTHER, received_at=datetime.now(UTC) - timedelta(minutes=10))
    world.log.hears(young, old)
    comparison = world.compare()
    assert comparison.lost == []
    (stuck,) = comparison.waiting
    assert (stuck.id, stuck.sid, stuck.phase) == (None, old.provider_id, "inbox")
    assert not comparison.good


def test_what_cannot_be_read_in_redis_disturbs_nothing(world: World) -> None:
    world.bot.inboxes.put_back(person_key(SOMEBODY), b"not json")
    lost = long_ago(world.bot.message("hello"))
    world.log.hears(lost)
    assert world.compare().lost == [lost.provider_id]


def test_erased_people_are_not_missed_and_their_replies_are_not_foreign(world: World) -> None:
    world.say("hello", received_at=datetime.now(UTC) - timedelta(minutes=10))
    world.bot.eraser.forget(SOMEBODY)
    assert world.bot.rows("SELECT * FROM deliveries") == []
    assert world.compare().good


def test_what_came_too_late_is_not_lost(world: World) -> None:
    world.say("hello", received_at=datetime.now(UTC) - timedelta(minutes=10))
    world.bot.change("UPDATE messages SET too_late = true, turn_id = NULL WHERE direction = 'in'")
    assert world.compare().lost == []


def test_a_delivery_doubled_by_hand_is_doubled(world: World) -> None:
    world.say("hello")
    twice = world.send_again()
    comparison = world.compare()
    assert (comparison.doubled, comparison.foreign, comparison.good) == ([twice], [], False)


def test_a_double_is_seen_through_whatever_white_space_the_provider_changed(world: World) -> None:
    world.bot.llm.answers = ["Two lines.\n\nAnd another."]
    world.say("hello")
    twice = world.send_again()
    world.bot.channel.log[0] = replace(world.sent_row, body=" ".join(world.sent_row.body.split()))
    assert world.compare().doubled == [twice]


def test_a_double_is_seen_by_the_report_that_names_our_delivery(world: World) -> None:
    world.say("hello")
    twice = world.send_again()
    world.bot.channel.log[0] = replace(world.sent_row, body="changed on the way")
    assert world.compare().foreign == [twice]
    world.bot.report("sent", provider_id=twice, delivery_id=world.bot.rows("SELECT id FROM deliveries")[0]["id"])
    comparison = world.compare()
    assert (comparison.doubled, comparison.foreign) == ([twice], [])


def test_a_second_message_that_failed_was_seen_by_nobody(world: World) -> None:
    world.say("hello")
    world.send_again()
    world.bot.channel.log[0] = replace(world.sent_row, status="undelivered")
    assert world.compare().good


def test_the_same_answer_to_two_messages_is_no_double(world: World) -> None:
    for _ in range(2):
        world.say("HELP")
        world.bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")
    assert len(world.bot.channel.sent) == 2
    assert world.compare().good


def test_a_doubtful_send_explains_one_message_and_not_two(world: World) -> None:
    world.bot.channel.outcomes = [Ambiguous("cut")]
    world.bot.channel.accepts_before_failing = True
    world.say("hello")
    assert world.compare().good
    twice = world.send_again()
    assert world.compare().doubled == [twice]


def test_what_we_never_wrote_is_foreign(world: World) -> None:
    world.say("hello")
    foreign = world.bot.channel.send(Outgoing(delivery_id=0, sender=OUR_NUMBER, recipient=SOMEBODY, body="Buy now!"))
    comparison = world.compare()
    assert (comparison.doubled, comparison.foreign, comparison.good) == ([], [foreign], False)


def test_a_reply_whose_delivery_was_deleted_is_foreign(world: World) -> None:
    world.say("hello")
    world.bot.change("DELETE FROM deliveries")
    assert world.compare().foreign == [world.sent_row.provider_id]


def test_other_numbers_of_the_account_are_not_ours_to_judge(world: World) -> None:
    world.bot.channel.send(Outgoing(delivery_id=0, sender="+15550009999", recipient=SOMEBODY, body="an SMS"))
    world.log.hears(long_ago(world.bot.message("for another bot", recipient="whatsapp:+15550009999")))
    assert world.compare().good


def test_an_acceptance_that_the_provider_does_not_know_is_missing(world: World) -> None:
    world.say("hello")
    world.say("hello", sender=OTHER)
    gone = world.sent_row.provider_id
    del world.bot.channel.log[0]
    comparison = world.compare()
    assert (comparison.missing, comparison.good) == ([gone], False)
    assert world.log.fetched == [gone]


def test_what_the_log_does_not_list_yet_is_asked_for_by_its_id(world: World) -> None:
    world.say("hello")
    world.bot.channel.log[0] = replace(world.sent_row, created_at=None)
    assert world.compare().good
    assert world.log.fetched == [world.sent_row.provider_id]


def test_a_provider_that_refuses_us_is_not_taken_for_one_that_knows_nothing(world: World) -> None:
    class Refuses(FakeMessageLog):
        def fetch(self, provider_id: str) -> ProviderMessage:
            raise Permanent("auth", code="20003") from KeyError(provider_id)

    world.log = Refuses(world.bot.channel)
    world.say("hello")
    world.bot.channel.log.clear()
    with pytest.raises(Permanent):
        world.compare()


def test_a_long_log_is_compared_page_by_page(world: World) -> None:
    world.page = 3
    people = [f"whatsapp:+4917000001{number:02}" for number in range(10)]
    for person in people:
        world.say("hello", sender=person, received_at=datetime.now(UTC) - timedelta(minutes=10))
    twice = world.send_again(4)
    lost = world.bot.rows("DELETE FROM messages WHERE direction = 'in' AND mod(id, 3) = 0 RETURNING provider_id")
    gone = world.bot.channel.log.pop(6).provider_id
    comparison = world.compare()
    assert comparison.lost == sorted(row["provider_id"] for row in lost)
    assert len(comparison.lost) >= 2
    assert (comparison.doubled, comparison.missing, comparison.foreign) == ([twice], [gone], [])
