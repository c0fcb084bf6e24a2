"""What a turn answers besides the LLM's words: commands, notices, refusals, welcome, silence."""

from core.model import Location, Media
from tests.fakes import SOMEBODY, Bot

PHOTO = (Media(url="https://api.twilio.com/x", content_type="image/jpeg"),)


def pause_is_over(bot: Bot) -> None:
    bot.change("UPDATE deliveries SET accepted_at = accepted_at - interval '2 seconds'")


def test_the_first_answer_carries_one_line_of_welcome_and_the_second_does_not(bot: Bot) -> None:
    bot.say("hello")
    pause_is_over(bot)
    bot.say("hello again")
    assert "DELETE" in bot.channel.bodies[0]
    assert all(name in bot.channel.bodies[0] for name in ("Botan", "Kasho", "Yuri"))
    assert "DELETE" not in bot.channel.bodies[1]


def test_stop_silences_until_start(bot: Bot) -> None:
    for text in ("STOP", "hello?", "help", "Start", "hello!"):
        pause_is_over(bot)
        bot.say(text)
    reasons = [turn["reason"] for turn in bot.rows("SELECT reason FROM turns ORDER BY id")]
    assert reasons == ["stop", "silenced", "silenced", "start", "llm"]
    assert len(bot.channel.sent) == 3
    assert len(bot.llm.prompts) == 1


def test_a_command_within_a_burst_keeps_its_place(bot: Bot) -> None:
    bot.slots.places = 0
    for text in ("one", "two", "stop", "three"):
        bot.accept(text)
    bot.take_in()
    for turn in bot.turns.claim(1):
        bot.turns.run(turn)
    turns = bot.rows("SELECT reason FROM turns ORDER BY id")
    assert [turn["reason"] for turn in turns] == ["llm", "stop", "silenced"]
    assert bot.llm.own_texts() == ["one", "two"]


def test_help_is_answered_without_the_llm_in_the_persons_language(bot: Bot) -> None:
    bot.say("ayuda")
    assert bot.llm.prompts == []
    assert bot.rows("SELECT reason FROM turns")[0]["reason"] == "help"


def test_a_command_word_does_not_change_the_language_of_a_chat(bot: Bot) -> None:
    bot.say("Wie werde ich eigentlich eine gute Streamerin?")
    pause_is_over(bot)
    bot.say("HELP")
    assert bot.rows("SELECT language FROM conversations")[0]["language"] == "de"


def test_a_sentence_with_a_command_word_is_no_command(bot: Bot) -> None:
    bot.say("how do I delete a track")
    assert bot.rows("SELECT reason FROM turns")[0]["reason"] == "llm"


def test_delete_asks_once_then_erases_everything(bot: Bot) -> None:
    for text in ("hello", "DELETE", "delete"):
        pause_is_over(bot)
        bot.say(text)
    pause_is_over(bot)
    for conversation_id in bot.outbox.due(10):
        bot.outbox.push(conversation_id)
    assert len(bot.channel.sent) == 3
    for delivery in bot.rows("SELECT provider_id FROM deliveries"):
        bot.report("delivered", provider_id=delivery["provider_id"])
    assert bot.eraser.erase_settled() == 1
    for table in ("people", "identities", "conversations", "messages", "turns", "deliveries", "reports"):
        assert bot.rows(f"SELECT * FROM {table}") == [], table


def test_an_erased_message_never_comes_back(bot: Bot) -> None:
    message = bot.say("hello")
    assert bot.eraser.forget(SOMEBODY)
    bot.door.accept(message)
    assert bot.take_in() == 0
    assert bot.rows("SELECT * FROM messages") == []


def test_delete_said_once_erases_nothing(bot: Bot) -> None:
    bot.say("DELETE")
    pause_is_over(bot)
    bot.say("no, wait")
    bot.eraser.erase_settled()
    assert len(bot.rows("SELECT * FROM messages WHERE direction = 'in'")) == 2


def test_a_second_delete_after_the_question_has_lapsed_asks_again(bot: Bot) -> None:
    bot.say("DELETE")
    bot.change("UPDATE conversations SET delete_asked_at = now() - interval '11 minutes'")
    bot.say("DELETE")
    reasons = [turn["reason"] for turn in bot.rows("SELECT reason FROM turns ORDER BY id")]
    assert reasons == ["delete_ask", "delete_ask"]


def test_who_writes_after_the_second_delete_is_new(bot: Bot) -> None:
    for text in ("DELETE", "DELETE", "hello"):
        pause_is_over(bot)
        bot.say(text)
    bot.eraser.erase_settled()
    assert len(bot.rows("SELECT * FROM people")) == 2 or [
        m["text"] for m in bot.rows("SELECT text FROM messages WHERE direction = 'in'")
    ] == ["hello"]
    assert len(bot.rows("SELECT * FROM people WHERE erase_requested_at IS NULL")) == 1


def test_what_was_said_before_a_delete_is_not_known_to_whoever_answers_what_came_with_it(bot: Bot) -> None:
    bot.say("my name is Rumpelstiltskin")
    bot.say("DELETE")
    bot.slots.places = 0
    for text in ("DELETE", "what is my name?"):
        bot.accept(text)
    bot.take_in()
    (held,) = bot.turns.claim(10)
    bot.turns.run(held)
    assert bot.llm.own_texts() == ["what is my name?"]
    assert "Rumpelstiltskin" not in str(bot.llm.prompts[-1])


def test_forget_erases_by_a_bare_number_too_and_says_no_to_strangers(bot: Bot) -> None:
    bot.say("hello")
    assert not bot.eraser.forget("+490000000")
    assert bot.eraser.forget(SOMEBODY.removeprefix("whatsapp:"))
    assert bot.rows("SELECT * FROM people") == []


def test_a_voice_note_gets_the_kind_notice_in_character(bot: Bot) -> None:
    bot.say("", media=(Media(url="https://api.twilio.com/x", content_type="audio/ogg"),))
    assert bot.llm.prompts == []
    assert bot.channel.bodies[0].startswith("*Botan🌸*: ")


def test_a_caption_is_answered_and_the_picture_is_not_passed_over(bot: Bot) -> None:
    bot.llm.answers = ["Nice caption."]
    bot.say("what chord is this?", media=PHOTO)
    assert "Nice caption." in bot.channel.bodies[0]
    notice = bot.cast.text("unsupported", "en", bot.cast.characters["kasho"])
    assert notice in bot.channel.bodies[0]


def test_a_place_gets_the_notice_and_an_empty_message_a_kind_word(bot: Bot) -> None:
    bot.say("", location=Location(latitude="1", longitude="2"))
    pause_is_over(bot)
    bot.say("")
    assert [turn["reason"] for turn in bot.rows("SELECT reason FROM turns")] == ["fixed", "fixed"]
    assert len(bot.channel.sent) == 2


def test_a_flagged_message_gets_a_kind_refusal_and_never_reaches_the_llm(bot: Bot) -> None:
    bot.say("please flag-me")
    assert bot.llm.prompts == []
    (turn,) = bot.rows("SELECT outcome, reason FROM turns")
    assert (turn["outcome"], turn["reason"]) == ("refused", "moderation_in")


def test_self_harm_gets_the_casts_crisis_text(bot: Bot) -> None:
    bot.say("crisis-me please")
    assert bot.cast.text("crisis", "en") in bot.channel.bodies[0]


def test_a_flagged_answer_is_not_sent(bot: Bot) -> None:
    bot.llm.answers = ["Something flag-me."]
    bot.say("hello")
    assert "flag-me" not in bot.channel.bodies[0]
    assert bot.rows("SELECT reason FROM turns")[0]["reason"] == "moderation_out"


def test_a_name_in_front_of_an_answer_is_not_said_twice(bot: Bot) -> None:
    bot.llm.answers = ["**Kasho**: Of course."]
    bot.say("Kasho, help")
    assert bot.channel.bodies[0].startswith("*Kasho🎵*: Of course.")


def test_what_cannot_be_stored_is_left_out_of_an_answer(bot: Bot) -> None:
    bot.llm.answers = ["Hel\0lo\x1b there."]
    bot.say("hello")
    assert bot.channel.bodies[0].startswith("*Botan🌸*: Hello there.")
    assert [turn["outcome"] for turn in bot.rows("SELECT outcome FROM turns")] == ["answered"]


def test_who_is_talking_stays_without_a_topic_and_across_restarts(bot: Bot) -> None:
    bot.say("Who knows about music?")
    pause_is_over(bot)
    bot.say("thank you!")
    assert bot.channel.bodies[1].startswith("*Kasho🎵*")
    assert bot.rows("SELECT character FROM conversations")[0]["character"] == "kasho"
