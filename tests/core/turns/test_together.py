"""Several asked at once: each answers in her own message, knowing those before her; one reply a sister, one turn."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from core.errors import Permanent, Spent, Transient
from core.operations.audit import recount
from core.operations.timeline import timeline
from tests.core.simulated import Simulated
from tests.core.turns.test_speech import pause_is_over, say_all, simulated_bot
from tests.fakes import Bot, completion

ALL = "All of you, what do you think of tea?"
TURNS = "SELECT * FROM turns ORDER BY id"
SAID = "SELECT character, text FROM messages WHERE direction = 'out' ORDER BY id"
REFUSED = completion("", refused=True)


def send_all(bot: Bot) -> None:
    """Time passes until every piece has gone."""
    for _ in range(10):
        pause_is_over(bot)
        for conversation_id in bot.outbox.due(10):
            bot.outbox.push(conversation_id)


def said(bot: Bot) -> list[tuple[str, str]]:
    return [(row["character"], row["text"]) for row in bot.rows(SAID)]


def names(bodies: Sequence[str]) -> list[str]:
    return [body.split(":")[0].strip("*") for body in bodies]


def test_each_answers_once_in_her_own_message_in_the_order_of_the_cast(bot: Bot) -> None:
    bot.llm.answers = ["Green.", "Black.", "Whatever the book says."]
    bot.say(ALL)
    assert len(bot.channel.sent) == 1  # the next one waits for its report or the pause
    send_all(bot)
    assert names(bot.channel.bodies) == ["Botan🌸", "Kasho🎵", "Yuri📚"]
    assert said(bot) == [("botan", "Green."), ("kasho", "Black."), ("yuri", "Whatever the book says.")]
    deliveries = bot.rows("SELECT reply, piece FROM deliveries ORDER BY id")
    assert [(row["reply"], row["piece"]) for row in deliveries] == [(1, 1), (2, 2), (3, 3)]
    (turn,) = bot.rows(TURNS)
    assert (turn["outcome"], turn["tokens_in"], turn["llm_ms"]) == ("answered", 30, 60)
    assert turn["decision"]["characters"] == ["botan", "kasho", "yuri"]


def test_only_those_who_were_named_answer(bot: Bot) -> None:
    bot.say("Kasho and Yuri, what do you like?")
    assert [who for who, _ in said(bot)] == ["kasho", "yuri"]
    assert len(bot.llm.prompts) == 2


def test_each_knows_what_those_before_her_said_and_the_persons_words_stay_last(bot: Bot) -> None:
    bot.llm.answers = ["Green.", "Black.", "Both."]
    bot.say(ALL)
    first, second, third = bot.llm.prompts
    assert [message.text for message in first[1:]] == [ALL]
    heard = ["[Botan, one of your sisters, answered: Green.]", "[Kasho, one of your sisters, answered: Black.]"]
    assert [(m.role, m.text) for m in second[1:]] == [("user", heard[0]), ("user", ALL)]
    assert [(m.role, m.text) for m in third[1:]] == [("user", heard[0]), ("user", heard[1]), ("user", ALL)]
    assert "answered already" not in first[0].text
    assert "Botan has answered already" in second[0].text
    assert "Botan and Kasho have answered already" in third[0].text


def test_each_is_told_that_several_answer_and_to_be_short_and_nobody_takes_over_or_hands_over(bot: Bot) -> None:
    say_all(bot, "Kasho, hello", "Botan and Yuri, what do you like?")
    for prompt in bot.llm.prompts[1:]:
        assert "Botan and Yuri answer, each in a message of their own" in prompt[0].text
        assert "short" in prompt[0].text
        assert "take over" not in prompt[0].text
    assert bot.llm.choices == [None, None, None]


@pytest.mark.parametrize(
    ("silent", "left"),
    [
        (["Green.", REFUSED, "Both."], ["botan", "yuri"]),
        ([REFUSED, "Black.", "Both."], ["kasho", "yuri"]),
        (["Green.", "flag-me", "Both."], ["botan", "yuri"]),
        (["Green.", Transient("empty"), "Both."], ["botan", "yuri"]),
        (["Green.", "Black.", "\0"], ["botan", "kasho"]),
        (["Green.", Permanent("rejected"), Permanent("rejected")], ["botan"]),
    ],
)
def test_who_has_no_answer_is_left_out_and_the_others_words_stand(
    bot: Bot, silent: list[object], left: list[str]
) -> None:
    bot.llm.answers = list(silent)  # pyright: ignore[reportAttributeAccessIssue]
    bot.say(ALL)
    send_all(bot)
    assert [who for who, _ in said(bot)] == left
    assert len(bot.channel.sent) == len(left)
    assert [turn["outcome"] for turn in bot.rows(TURNS)] == ["answered"]
    assert recount(bot.store).endings["answered"] == 1


def test_what_went_into_the_answer_of_one_who_is_left_out_is_counted(bot: Bot) -> None:
    paid = Spent(tokens_in=100, tokens_out=0, cost_usd=Decimal("0.02"))
    bot.llm.answers = ["Green.", Transient("empty").having_spent(paid), "Both."]
    bot.say(ALL)
    (turn,) = bot.rows(TURNS)
    assert (turn["tokens_in"], turn["cost_usd"]) == (120, Decimal("0.022"))


def test_when_nobody_has_an_answer_it_ends_as_one_alone_would(bot: Bot) -> None:
    bot.llm.answers = [REFUSED, REFUSED, REFUSED]
    bot.say(ALL)
    assert len(bot.channel.sent) == 1
    assert bot.cast.text("refusal", "en", bot.cast.characters["botan"]) in bot.channel.bodies[0]
    bot.llm.answers = [Permanent("auth"), Permanent("auth"), Permanent("auth")]
    say_all(bot, ALL)
    assert [(turn["outcome"], turn["reason"]) for turn in bot.rows(TURNS)] == [
        ("refused", "llm_refused"),
        ("failed", "auth"),
    ]


def test_what_may_pass_is_tried_again_with_all_of_them_and_nothing_was_sent(bot: Bot) -> None:
    bot.llm.answers = ["Green.", Transient("server")]
    bot.say(ALL)
    (turn,) = bot.rows(TURNS)
    assert (turn["failures"], turn["outcome"], turn["tokens_in"]) == (1, None, 10)
    assert bot.channel.sent == []
    bot.change("UPDATE turns SET next_attempt_at = now()")
    for held in bot.turns.claim(1):
        bot.turns.run(held)
    assert [who for who, _ in said(bot)] == ["botan", "kasho", "yuri"]
    assert bot.rows(TURNS)[0]["tokens_in"] == 40


def test_nobody_is_added_when_less_time_is_left_than_a_call_may_take(database_url: str, redis_url: str) -> None:
    bot = Bot(database_url, redis_url, TURN_DEADLINE_S=40)
    bot.say(ALL)
    assert [who for who, _ in said(bot)] == ["botan"]
    assert [turn["outcome"] for turn in bot.rows(TURNS)] == ["answered"]
    bot.close()


def test_what_comes_meanwhile_is_taken_in_and_all_are_asked_once_more(bot: Bot) -> None:
    def one_more(call: int) -> None:
        if call in (2, 5):
            bot.accept("and of coffee?")
            bot.take_in()

    bot.llm.meanwhile = one_more
    bot.say(ALL)
    assert [bot.llm.own_texts(call)[-1] for call in range(6)] == [ALL] * 3 + ["and of coffee?"] * 3
    first, second = bot.rows(TURNS)
    assert first["superseded"]
    assert first["tokens_in"] == 60
    assert [row["turn_id"] for row in bot.rows("SELECT turn_id FROM messages WHERE direction = 'in' ORDER BY id")] == [
        first["id"],
        first["id"],
        second["id"],
    ]
    assert [who for who, _ in said(bot)][:3] == ["botan", "kasho", "yuri"]


def test_a_piece_that_failed_cancels_the_rest_of_its_own_reply_and_no_sisters(bot: Bot) -> None:
    bot.llm.answers = ["Green. " * 500, "Black.", "Both."]
    bot.channel.outcomes = [Permanent("rejected", code="63013")]
    bot.say(ALL)
    send_all(bot)
    rows = bot.rows("SELECT reply, state FROM deliveries ORDER BY id")
    assert [row["state"] for row in rows if row["reply"] == 1] == ["failed", "cancelled", "cancelled"]
    assert [row["state"] for row in rows if row["reply"] > 1] == ["accepted", "accepted"]
    assert recount(bot.store).endings["failed"] == 1


def test_a_reported_failure_cancels_the_rest_of_its_own_reply_and_no_sisters(bot: Bot) -> None:
    bot.llm.answers = ["Green. " * 500, "Black.", "Both."]
    bot.say(ALL)
    (first,) = bot.rows("SELECT id, provider_id FROM deliveries WHERE state = 'accepted'")
    bot.report("failed", delivery_id=first["id"], provider_id=first["provider_id"], error_code="63013")
    send_all(bot)
    rows = bot.rows("SELECT reply, state FROM deliveries ORDER BY id")
    assert [row["state"] for row in rows if row["reply"] == 1] == ["failed", "cancelled", "cancelled"]
    assert [row["state"] for row in rows if row["reply"] > 1] == ["accepted", "accepted"]


def test_a_message_is_answered_only_when_every_sisters_pieces_were_accepted(bot: Bot) -> None:
    bot.say(ALL)
    assert recount(bot.store).endings["answered"] == 0
    send_all(bot)
    recounted = recount(bot.store)
    assert recounted.endings["answered"] == 1
    assert recounted.good


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        (None, ALL, "botan"),
        ("Kasho, hello", ALL, "kasho"),
        ("Botan, hello", "Kasho and Yuri, what do you like?", "kasho"),
        ("Kasho, hello", "Yuri and Botan, what do you like?", "botan"),
    ],
)
def test_the_person_goes_on_with_whoever_was_talking_else_the_default_else_the_first(
    bot: Bot, before: str | None, asked: str, after: str
) -> None:
    say_all(bot, *([before] if before else []), asked)
    assert bot.rows("SELECT character FROM conversations")[0]["character"] == after
    send_all(bot)
    say_all(bot, "thank you")
    assert said(bot)[-1][0] == after


def test_whoever_was_left_out_is_not_the_one_to_go_on_with(bot: Bot) -> None:
    bot.llm.answers = ["Hello!", "Green.", REFUSED, "Both."]
    say_all(bot, "Kasho, hello", ALL)
    assert bot.rows("SELECT character FROM conversations")[0]["character"] == "botan"


def test_later_each_remembers_her_own_words_and_those_of_the_others(bot: Bot) -> None:
    bot.llm.answers = ["Green.", "Black.", "Both.", "Indeed."]
    bot.say(ALL)
    send_all(bot)
    say_all(bot, "Kasho, why?")
    roles = [(m.role, m.text) for m in bot.llm.prompts[-1][1:]]
    assert roles[1][0] == roles[3][0] == "user"
    assert "Green." in roles[1][1]
    assert roles[2] == ("assistant", "Black.")
    assert "Both." in roles[3][1]


def test_a_new_person_is_welcomed_once_below_the_first_of_several_answers(bot: Bot) -> None:
    bot.say(ALL)
    send_all(bot)
    assert ["DELETE" in body for body in bot.channel.bodies] == [True, False, False]


def test_the_timeline_tells_who_replied(bot: Bot) -> None:
    bot.llm.answers = ["Green.", "Black.", "Both."]
    bot.say(ALL)
    events = timeline(bot.store, "t1", channels=["twilio"], texts=True)
    assert events is not None
    (replied,) = [event for event in events if event.event == "replied"]
    assert replied.facts["characters"] == ["botan", "kasho", "yuri"]
    assert replied.facts["text"] == "Green.\n\nBlack.\n\nBoth."


def test_on_the_wire_each_simulated_sister_is_short_and_says_whom_she_heard(
    simulated: Simulated, database_url: str, redis_url: str
) -> None:
    with simulated_bot(simulated, database_url, redis_url) as bot:
        bot.say(ALL)
        texts = [text for _, text in said(bot)]
    assert [text.split(":")[0] for text in texts] == [
        "Botan in short",
        "Kasho in short, after Botan",
        "Yuri in short, after Botan and Kasho",
    ]
    assert all("what do you think of tea?" in text for text in texts)
