"""Handing over, taking over, and what becomes of the calls that this costs."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest

from core.adapters.openai import OpenAiLlm
from core.errors import Transient
from tests.core.simulated import Simulated
from tests.fakes import Bot, completion

TURNS = "SELECT * FROM turns ORDER BY id"


def pause_is_over(bot: Bot) -> None:
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")


@contextmanager
def simulated_bot(simulated: Simulated, database_url: str, redis_url: str) -> Generator[Bot]:
    provider = simulated.provider("simulated", "gpt-6-luna")
    with (
        closing(OpenAiLlm(provider, timeout=timedelta(seconds=10), connections=2)) as llm,
        closing(Bot(database_url, redis_url, asks=llm)) as bot,
    ):
        yield bot


def say_all(bot: Bot, *texts: str) -> None:
    for text in texts:
        pause_is_over(bot)
        bot.say(text)


def test_when_nobody_was_sure_the_model_may_name_the_sister_who_answers(bot: Bot) -> None:
    bot.llm.answers = ["Hi!", completion("", chosen="yuri"), "Gladly."]
    say_all(bot, "hello", "hmm, who can say")
    assert bot.channel.bodies[1].startswith("*Yuri📚*: Gladly.")
    assert len(bot.channel.sent) == 2
    choice = bot.llm.choices[1]
    assert choice is not None
    assert list(choice.options) == ["kasho", "yuri"]
    assert "books" in choice.options["yuri"]
    assert "hand_over" in bot.llm.prompts[1][0].text


def test_the_turn_remembers_who_handed_over_and_the_conversation_goes_on_with_the_new_sister(bot: Bot) -> None:
    bot.llm.answers = ["Hi!", completion("", chosen="yuri"), "Gladly.", "You are welcome."]
    say_all(bot, "hello", "hmm, who can say", "thank you")
    decision = bot.rows(TURNS)[1]["decision"]
    assert (decision["tier"], decision["character"], decision["characters"]) == ("model", "yuri", ["yuri"])
    assert (decision["took_over_from"], decision["switched"]) == ("botan", True)
    assert decision["why"].startswith("handed over by botan")
    assert [turn["character"] for turn in bot.rows(TURNS)] == ["botan", "yuri", "yuri"]
    assert bot.channel.bodies[2].startswith("*Yuri📚*")
    assert [m["character"] for m in bot.rows("SELECT * FROM messages WHERE turn_id = 2")] == ["yuri", "yuri"]


def test_both_calls_of_a_handing_over_are_counted(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen="kasho"), "Here."]
    bot.say("hello")
    (turn,) = bot.rows(TURNS)
    assert (turn["tokens_in"], turn["tokens_out"], turn["llm_ms"]) == (20, 10, 40)
    assert turn["cost_usd"] == Decimal("0.002")


def test_nobody_hands_over_twice_in_one_turn(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen="kasho"), "Here."]
    bot.say("hello")
    assert bot.llm.choices[1] is None
    assert "hand_over" not in bot.llm.prompts[1][0].text
    assert len(bot.llm.prompts) == 2


@pytest.mark.parametrize("text", ["Kasho, are you there?", "Who knows about music?"])
def test_who_is_asked_for_or_knows_the_subject_is_not_offered_to_hand_over(bot: Bot, text: str) -> None:
    bot.say(text)
    assert bot.llm.choices == [None]
    assert "hand_over" not in bot.llm.prompts[0][0].text


def test_a_call_that_names_nobody_leaves_her_own_words_standing(bot: Bot) -> None:
    bot.llm.answers = [completion("I am here.", chosen="")]
    bot.say("hello")
    assert bot.channel.bodies[0].startswith("*Botan🌸*: I am here.")
    assert bot.rows(TURNS)[0]["decision"]["tier"] == "default"


def test_a_call_that_names_nobody_and_says_nothing_is_asked_once_more_without_the_choice(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen=""), "I am here."]
    bot.say("hello")
    assert bot.channel.bodies[0].startswith("*Botan🌸*: I am here.")
    assert [choice is None for choice in bot.llm.choices] == [False, True]
    assert bot.rows(TURNS)[0]["tokens_in"] == 20


def test_a_second_call_that_fails_is_an_ordinary_failure_and_the_first_one_was_paid_for(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen="yuri"), Transient("server"), completion("", chosen="yuri"), "Here."]
    bot.say("hello")
    (turn,) = bot.rows(TURNS)
    assert (turn["failures"], turn["reason"], turn["worker_id"], turn["tokens_in"]) == (1, "server", None, 10)
    assert bot.channel.sent == []
    bot.change("UPDATE turns SET next_attempt_at = now()")
    for held in bot.turns.claim(1):
        bot.turns.run(held)
    assert bot.channel.bodies[0].startswith("*Yuri📚*: Here.")
    assert bot.rows(TURNS)[0]["tokens_in"] == 30


def test_a_sister_who_is_refused_after_a_handing_over_refuses_in_her_own_voice(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen="yuri"), completion("", refused=True)]
    bot.say("hello")
    assert bot.cast.text("refusal", "en", bot.cast.characters["yuri"]) in bot.channel.bodies[0]


def test_a_message_that_comes_during_the_second_call_is_taken_in_and_routed_anew(bot: Bot) -> None:
    def one_more(call: int) -> None:
        if call == 2:
            bot.accept("I mean music, the guitar")
            bot.take_in()

    bot.llm.answers = [completion("", chosen="yuri"), "Thrown away.", "Six strings!"]
    bot.llm.meanwhile = one_more
    bot.say("hello")
    assert [body.split(":")[0] for body in bot.channel.bodies] == ["*Kasho🎵*"]
    (turn,) = bot.rows(TURNS)
    assert (turn["decision"]["tier"], turn["tokens_in"]) == ("words", 30)


def test_a_new_sister_is_told_from_whom_she_takes_over_and_nobody_else_is(bot: Bot) -> None:
    say_all(bot, "Who knows about music?", "thanks!", "Yuri, what's a good novel?", "Kasho, back to you", "thanks")
    told = ["You take over from" in prompt[0].text for prompt in bot.llm.prompts]
    assert told == [False, False, True, True, False]
    assert "You take over from Kasho with this answer" in bot.llm.prompts[2][0].text
    assert "You take over from Yuri with this answer" in bot.llm.prompts[3][0].text
    assert [turn["decision"].get("took_over_from") for turn in bot.rows(TURNS)] == [None, None, "kasho", "yuri", None]


def test_the_sister_who_was_handed_the_turn_is_told_by_whom(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen="kasho"), "Here."]
    bot.say("hello")
    assert "You take over from Botan with this answer" in bot.llm.prompts[1][0].text


def test_after_a_day_whoever_begins_takes_over_from_nobody(bot: Bot) -> None:
    say_all(bot, "Who knows about music?")
    bot.change("UPDATE conversations SET last_message_at = now() - interval '25 hours'")
    say_all(bot, "hello again")
    assert bot.channel.bodies[1].startswith("*Botan🌸*")
    assert "You take over from" not in bot.llm.prompts[1][0].text


def test_on_the_wire_the_simulated_model_hands_over_and_the_new_sister_says_so(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    with simulated_bot(simulated, database_url, redis_url) as bot:
        say_all(bot, "Could somebody else answer me today?", "simulate-hand-over-yuri, please")
        turns = bot.rows(TURNS)
        bodies = bot.channel.bodies
    assert [turn["decision"]["tier"] for turn in turns] == ["model", "model"]
    assert bodies[0].startswith("*Kasho🎵*: ")
    assert "Botan" in bodies[0].splitlines()[0]
    assert bodies[1].startswith("*Yuri📚*: ")
    assert "Kasho" in bodies[1].splitlines()[0]


def test_on_the_wire_a_model_that_names_itself_or_nobody_answers_in_the_end(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    with simulated_bot(simulated, database_url, redis_url) as bot:
        say_all(bot, "thanks simulate-hand-over-botan", "thanks simulate-hand-over-mika")
        turns = bot.rows(TURNS)
    assert [(turn["character"], turn["decision"]["tier"]) for turn in turns] == [
        ("botan", "default"),
        ("botan", "stay"),
    ]


def test_on_the_wire_a_model_that_takes_no_tools_answers_herself(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    simulated.faults(llm={"unsupported_parameter": ["tools"]})
    with simulated_bot(simulated, database_url, redis_url) as bot:
        bot.say("Could somebody else answer me today?")
        assert bot.channel.bodies[0].startswith("*Botan🌸*: ")
