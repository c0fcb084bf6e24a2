"""One turn per conversation; a burst gets one reply; what fails is a row; what is lost is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

from core.errors import Permanent, Transient
from core.intake import HeldTurn
from core.retry import ATTEMPTS_AT_MOST, backoff, given_up
from tests.core.counted import counted
from tests.fakes import SOMEBODY, Bot, RunsHere, completion

TURNS = "SELECT * FROM turns ORDER BY id"
INBOUND = "SELECT * FROM messages WHERE direction = 'in' ORDER BY id"


def test_a_message_is_answered_once_by_the_sister_whose_subject_it_is(bot: Bot) -> None:
    bot.llm.answers = ["Lots of it!"]
    bot.say("Who knows about music?")
    assert len(bot.channel.sent) == 1
    assert bot.channel.bodies[0].startswith("*Kasho🎵*: Lots of it!")
    assert bot.channel.sent[0].recipient == SOMEBODY
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["character"], turn["model"]) == ("answered", "kasho", "fake-1")
    assert turn["decision"]["character"] == "kasho"
    assert [m["character"] for m in bot.rows(INBOUND)] == ["kasho"]


def test_a_burst_during_the_call_is_answered_together_by_one_more_call(bot: Bot) -> None:
    def two_more(call: int) -> None:
        if call == 1:
            for text in ("second", "third"):
                bot.accept(text)
            bot.take_in()

    bot.llm.meanwhile = two_more
    bot.say("first")
    assert len(bot.llm.prompts) == 2
    assert bot.llm.own_texts() == ["first", "second", "third"]
    assert len(bot.channel.sent) == 1
    (turn,) = bot.rows(TURNS)
    assert turn["superseded"]
    assert {m["turn_id"] for m in bot.rows(INBOUND)} == {turn["id"]}
    assert turn["tokens_in"] == 20  # the answer thrown away was paid for


def test_what_comes_after_the_second_call_began_is_the_next_turn(bot: Bot) -> None:
    def one_more(call: int) -> None:
        if call <= 2:
            bot.accept(f"more {call}")
            bot.take_in()

    bot.llm.meanwhile = one_more
    bot.say("first")
    assert [bot.llm.own_texts(call) for call in range(3)] == [["first"], ["first", "more 1"], ["more 2"]]
    assert len(bot.channel.sent) == 1  # the second reply waits for the first one's report or its pause
    bot.change("UPDATE deliveries SET accepted_at = now() - interval '2 seconds' WHERE state = 'accepted'")
    for conversation_id in bot.outbox.due(10):
        bot.outbox.push(conversation_id)
    assert len(bot.channel.sent) == 2
    assert len(bot.rows(TURNS)) == 2


def test_who_finds_the_turn_taken_leaves(bot: Bot) -> None:
    bot.slots.places = 0
    bot.say("one")
    bot.say("two")
    assert len(bot.rows("SELECT * FROM turns WHERE finished_at IS NULL")) == 1
    assert bot.channel.sent == []
    bot.slots.places = 1
    for turn in bot.turns.claim(10):
        bot.turns.run(turn)
    assert bot.llm.own_texts() == ["one", "two"]
    assert len(bot.channel.sent) == 1


def test_a_worker_that_lost_its_turn_writes_nothing_and_sends_nothing(bot: Bot) -> None:
    def another_takes_it(_: int) -> None:
        bot.change("UPDATE turns SET worker_id = %(other)s, claims = claims + 1", other=uuid4())

    bot.llm.meanwhile = another_takes_it
    bot.say("hello")
    assert bot.channel.sent == []
    (turn,) = bot.rows(TURNS)
    assert turn["finished_at"] is None
    assert bot.rows("SELECT * FROM deliveries") == []


def test_a_turn_whose_call_failed_after_it_was_lost_is_lost_and_not_postponed(bot: Bot) -> None:
    def another_takes_it(_: int) -> None:
        bot.change("UPDATE turns SET worker_id = %(other)s, claims = claims + 1", other=uuid4())

    bot.llm.meanwhile = another_takes_it
    bot.llm.answers = [Transient("rate")]
    with counted("sisters_turns", "sisters_turn_retries") as counts:
        bot.say("hello")
    assert counts() == {'sisters_turns_total{outcome="lost"}': 1}
    (turn,) = bot.rows(TURNS)
    assert (turn["worker_id"] is not None, turn["failures"]) == (True, 0)


def test_a_turn_released_while_it_ran_is_lost_even_to_the_same_claim(bot: Bot) -> None:
    bot.llm.meanwhile = lambda _: bot.change("UPDATE turns SET worker_id = NULL")
    bot.say("hello")
    assert bot.channel.sent == []


def test_a_failed_call_is_a_row_that_says_when_to_try_again(bot: Bot) -> None:
    bot.llm.answers = [Transient("rate", after=timedelta(seconds=30)), "Here I am."]
    bot.say("hello")
    (turn,) = bot.rows(TURNS)
    assert turn["worker_id"] is None
    assert turn["failures"] == 1
    assert turn["next_attempt_at"] > datetime.now(UTC) + timedelta(seconds=25)
    assert bot.turns.claim(10) == []
    bot.change("UPDATE turns SET next_attempt_at = now()")
    for held in bot.turns.claim(10):
        bot.turns.run(held)
    assert "Here I am." in bot.channel.bodies[0]


def test_after_the_greatest_age_a_notice_ends_the_turn(bot: Bot) -> None:
    bot.llm.answers = [Transient("server"), Transient("server")]
    bot.say("hello")
    bot.change("UPDATE turns SET next_attempt_at = now(), created_at = now() - interval '2 hours'")
    for held in bot.turns.claim(10):
        bot.turns.run(held)
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["reason"]) == ("failed", "server")
    assert len(bot.channel.sent) == 1


def test_a_third_answer_that_shows_nothing_is_the_last_and_a_notice_ends_the_turn(bot: Bot) -> None:
    bot.llm.answers = [Transient("empty"), "\0", Transient("empty")]
    bot.say("Answer with one zero-width space only.")
    for _ in range(2):
        bot.change("UPDATE turns SET next_attempt_at = now()")
        for held in bot.turns.claim(10):
            bot.turns.run(held)
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["reason"], len(bot.llm.prompts)) == ("failed", "empty", 3)
    assert len(bot.channel.sent) == 1


def test_an_answer_that_shows_nothing_after_an_outage_is_not_the_last(bot: Bot) -> None:
    bot.llm.answers = [Transient("server"), Transient("server"), Transient("empty"), "Here I am."]
    bot.say("hello")
    for _ in range(3):
        bot.change("UPDATE turns SET next_attempt_at = now()")
        for held in bot.turns.claim(10):
            bot.turns.run(held)
    assert "Here I am." in bot.channel.bodies[0]


def test_a_person_is_told_at_once_when_the_vendor_asks_for_more_time_than_the_greatest_age(bot: Bot) -> None:
    bot.llm.answers = [Transient("rate", after=timedelta(seconds=3601))]
    bot.say("hello")
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["reason"], len(bot.channel.sent)) == ("failed", "rate", 1)


def test_the_count_of_attempts_does_not_end_a_turn_before_its_greatest_age() -> None:
    random, waited = Random(1), timedelta(0)
    for failures in range(ATTEMPTS_AT_MOST):
        waited += backoff(failures, after=None, left=timedelta(hours=1), random=random)
    assert waited > timedelta(hours=1)


def test_one_notice_covers_an_outage_and_an_answer_ends_it(bot: Bot) -> None:
    bot.llm.answers = [Permanent("auth"), Permanent("auth"), "Back again.", Permanent("auth")]
    for text in ("one", "two", "three", "four"):
        bot.change("UPDATE deliveries SET accepted_at = now() - interval '2 seconds'")
        bot.say(text)
    outcomes = [turn["outcome"] for turn in bot.rows(TURNS)]
    assert outcomes == ["failed", "failed", "answered", "failed"]
    assert len(bot.channel.sent) == 3


def test_a_crash_of_our_own_gives_the_turn_back(bot: Bot) -> None:
    bot.llm.answers = [ZeroDivisionError()]
    bot.say("hello")
    (turn,) = bot.rows(TURNS)
    assert (turn["worker_id"], turn["failures"], turn["reason"]) == (None, 1, "crash")


def test_a_turn_that_ends_every_worker_that_runs_it_is_given_up_with_a_notice(bot: Bot) -> None:
    bot.slots.places = 0
    bot.say("hello")
    bot.change("UPDATE turns SET claims = 10")  # as if each claim had ended with its worker
    for held in bot.turns.claim(1):
        bot.turns.run(held)
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["reason"]) == ("failed", "ends_workers")
    assert len(bot.channel.sent) == 1


def test_an_answer_that_cannot_be_stored_ends_in_a_notice_and_not_in_endless_calls(bot: Bot) -> None:
    bot.llm.answers = [completion("Sure.", model="a\0b"), completion("Sure.", model="a\0b")]
    bot.say("hello")
    assert bot.rows("SELECT reason FROM turns")[0]["reason"] == "crash"
    bot.change("UPDATE turns SET next_attempt_at = now(), created_at = now() - interval '2 hours'")
    for held in bot.turns.claim(1):
        bot.turns.run(held)
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["reason"]) == ("failed", "crash")
    assert len(bot.channel.sent) == 1


def test_a_command_that_came_while_an_answer_could_not_be_stored_is_answered_at_once(bot: Bot) -> None:
    bot.llm.answers = [completion("Sure.", model="a\0b")]
    bot.slots.places = 0
    bot.say("hello")

    def stop_comes(_: int) -> None:
        bot.accept("STOP")
        bot.take_in()

    bot.llm.meanwhile = stop_comes
    bot.change("UPDATE turns SET created_at = now() - interval '2 hours'")
    for held in bot.turns.claim(1):
        bot.turns.run(held)
    assert [turn["outcome"] for turn in bot.rows(TURNS)] == ["failed", "answered"]


def test_a_nul_in_an_answer_is_left_out(bot: Bot) -> None:
    bot.llm.answers = ["Su\0re."]
    bot.say("hello")
    assert "Sure." in bot.channel.bodies[0]


def test_a_turn_that_is_ours_by_its_row_alone_is_freed(bot: Bot) -> None:
    held: list[HeldTurn] = []
    bot.slots = RunsHere(held.append)  # the thread that should run it never starts
    bot.say("hello")
    assert bot.turns.release_unrun() == 0
    bot.change("UPDATE turns SET claimed_at = now() - interval '6 seconds'")
    assert bot.turns.release_unrun() == 1
    assert len(bot.turns.claim(1)) == 1


def test_a_turn_that_runs_is_not_freed_by_its_own_worker(bot: Bot) -> None:
    freed: list[int] = []

    def look(_: int) -> None:
        bot.change("UPDATE turns SET claimed_at = now() - interval '6 seconds'")
        freed.append(bot.turns.release_unrun())

    bot.llm.meanwhile = look
    bot.say("hello")
    assert freed == [0]
    assert len(bot.channel.sent) == 1


def test_a_turn_that_begins_while_its_worker_waits_for_a_connection_is_not_freed(bot: Bot) -> None:
    held: list[HeldTurn] = []
    bot.slots = RunsHere(held.append)
    bot.say("hello")
    bot.change("UPDATE turns SET claimed_at = now() - interval '6 seconds'")

    def wait_for(requests: int) -> None:
        while pool.get_stats()["requests_waiting"] < requests:
            time.sleep(0.01)

    pool = bot.store._pool  # pyright: ignore[reportPrivateUsage]
    with ThreadPoolExecutor(2) as threads:
        with ExitStack() as all_taken:
            for _ in range(pool.max_size):
                all_taken.enter_context(bot.store.alone())
            freed = threads.submit(bot.turns.release_unrun)
            wait_for(1)
            run = threads.submit(bot.turns.run, held[0])
            wait_for(2)
        run.result()
    assert freed.result() == 0
    assert len(bot.channel.sent) == 1


def test_a_claim_that_was_lost_does_not_end_the_one_that_came_after_it(bot: Bot) -> None:
    held: list[HeldTurn] = []
    bot.slots = RunsHere(held.append)
    bot.say("hello")
    bot.change("UPDATE turns SET worker_id = NULL")
    (anew,) = bot.turns.claim(1)
    freed: list[int] = []

    def the_first_ends_meanwhile(_: int) -> None:
        bot.turns.run(held[0])
        bot.change("UPDATE turns SET claimed_at = now() - interval '6 seconds'")
        freed.append(bot.turns.release_unrun())

    bot.llm.meanwhile = the_first_ends_meanwhile
    bot.turns.run(anew)
    assert freed == [0]
    assert len(bot.channel.sent) == 1


def test_a_worker_that_stops_gives_back_what_begins_anew_or_follows(bot: Bot) -> None:
    def more(call: int) -> None:
        bot.accept(f"more {call}")
        bot.take_in()
        if call != 2:
            bot.turns.stop()

    bot.llm.meanwhile = more
    bot.say("one")
    (turn,) = bot.rows(TURNS)
    assert (turn["worker_id"], turn["finished_at"], turn["superseded"]) == (None, None, True)
    assert bot.channel.sent == []
    (held,) = bot.turns.claim(10)
    bot.turns.run(held)
    assert bot.llm.own_texts() == ["one", "more 1"]
    (answered, following) = bot.rows(TURNS)
    assert (answered["outcome"], following["worker_id"], following["claims"]) == ("answered", None, 1)
    assert following["next_attempt_at"] <= datetime.now(UTC)
    assert len(bot.channel.sent) == 1


def test_a_worker_that_stops_hands_back_what_it_holds(bot: Bot) -> None:
    held: list[HeldTurn] = []
    bot.slots = RunsHere(held.append)
    bot.say("hello")
    assert bot.turns.hand_back() == 1
    assert [turn.turn_id for turn in bot.turns.claim(10)] == [held[0].turn_id]


def test_history_holds_what_was_said_before_and_by_whom(bot: Bot) -> None:
    bot.llm.answers = ["Chopin!", "Dostoevsky!"]
    bot.say("Who knows about music?")
    bot.say("What's a good novel?")
    prompt = bot.llm.prompts[1]
    assert prompt[0].text.startswith("You are Yuri, one of three AI sisters.")
    texts = [message.text for message in prompt[1:]]
    assert texts[0] == "Who knows about music?"
    assert "Chopin!" in texts[1]
    assert "Kasho" in texts[1]
    assert prompt[2].role == "user"  # another sister's words are never the assistant's
    assert texts[-1] == "What's a good novel?"


def test_a_quoted_text_is_given_with_the_reply_to_it(bot: Bot) -> None:
    bot.llm.answers = ["I like Chopin."]
    bot.say("Who knows about music?")
    (delivery,) = bot.rows("SELECT provider_id FROM deliveries")
    bot.say("why him?", quoted_id=delivery["provider_id"])
    assert "I like Chopin." in bot.llm.own_texts()[-1]


def test_a_refused_answer_becomes_a_kind_refusal_and_leaves_no_trace_in_history(bot: Bot) -> None:
    bot.llm.answers = [completion("", refused=True)]
    bot.say("tell me something awful")
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["reason"]) == ("refused", "llm_refused")
    assert len(bot.channel.sent) == 1
    bot.say("hello again")
    assert "tell me something awful" not in [m.text for m in bot.llm.prompts[-1]]


def test_an_answer_cut_by_length_ends_with_its_last_whole_sentence(bot: Bot) -> None:
    bot.llm.answers = [completion("One. Two. And thr", cut=True)]
    bot.say("count")
    assert "One. Two." in bot.channel.bodies[0]
    assert "thr" not in bot.channel.bodies[0]
    assert bot.rows(TURNS)[0]["cut"]


def test_waits_double_up_to_a_minute_and_never_undercut_the_vendor() -> None:
    waits = [backoff(n, after=None, left=timedelta(hours=1), random=Random(1)) for n in range(10)]
    assert timedelta(seconds=0.5) <= waits[0] <= timedelta(seconds=1)
    assert max(waits) <= timedelta(seconds=60)
    asked = timedelta(seconds=90)
    assert backoff(0, after=asked, left=timedelta(hours=1), random=Random(1)) == asked


def test_a_vendor_who_asks_for_hours_does_not_put_off_the_notice() -> None:
    left = timedelta(minutes=5)
    assert backoff(0, after=timedelta(hours=24), left=left, random=Random(1)) == left + timedelta(seconds=1)


def test_retries_are_bounded_by_count_and_by_age() -> None:
    hour = timedelta(hours=1)
    assert not given_up(ATTEMPTS_AT_MOST - 1, age=hour, max_age=hour)
    assert given_up(ATTEMPTS_AT_MOST, age=timedelta(0), max_age=hour)
    assert given_up(0, age=hour + timedelta(seconds=1), max_age=hour)
