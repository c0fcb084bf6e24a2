""" "Why you?": the true reason of the last decision, in the character's voice, without the LLM."""
# ruff: noqa: RUF001 - full-width marks are what people type

from typing import Any

import pytest

from core.reasons import told
from tests.core.turns.test_speech import say_all
from tests.core.turns.test_together import ALL, send_all
from tests.fakes import Bot, completion, shipped_cast

CAST = shipped_cast()
TURNS = "SELECT * FROM turns ORDER BY id"


def reason(character: str, tier: str, *, language: str = "en", **changes: Any) -> str:
    decision = {"character": character, "characters": [character], "tier": tier, "evidence": []} | changes
    return told(CAST, CAST.characters[character], language, decision)


def term(text: str, character: str, points: float = 5) -> dict[str, Any]:
    return {"term": text, "character": character, "points": points}


def test_words_are_told_strongest_first_and_only_those_that_spoke_for_her() -> None:
    evidence = [
        term("book", "yuri", 1),
        term("song", "kasho", 9),
        term("novel", "yuri", 5),
        term("game", "yuri", -2),
        term("comics", "yuri", 5),
        term("plot", "yuri", 1),
    ]
    text = reason("yuri", "words", evidence=evidence)
    assert "“novel”, “comics” and “book”" in text
    assert not any(word in text for word in ("song", "game", "plot"))


def test_a_word_that_spoke_against_her_is_no_reason() -> None:
    assert "game" not in reason("yuri", "words", evidence=[term("novel", "yuri"), term("game", "yuri", -2)])


@pytest.mark.parametrize("language", CAST.languages)
@pytest.mark.parametrize("tier", ["addressed", "words", "likeness", "embeddings", "model", "stay", "default"])
def test_each_tier_has_its_own_reason_in_each_language(tier: str, language: str) -> None:
    changes = {"took_over_from": "kasho"} if tier == "model" else {}
    evidence = [term("comics", "yuri")] if tier == "words" else []
    text = reason("yuri", tier, language=language, evidence=evidence, **changes)
    assert text.startswith(CAST.characters["yuri"].texts["why_lead"][language])
    assert ("comics" in text) == (tier == "words")
    assert ("Kasho" in text) == (tier == "model")
    assert "{" not in text
    others = [reason("yuri", other, language=language) for other in ("stay", "default", "likeness") if other != tier]
    assert text not in others


@pytest.mark.parametrize("tier", ["addressed", "words", "likeness", "embeddings"])
def test_who_took_over_says_from_whom(tier: str) -> None:
    evidence = [term("yuri", "yuri", 10)]
    assert reason("yuri", tier, evidence=evidence, took_over_from="kasho").endswith("I took over from Kasho.")
    assert "took over" not in reason("yuri", tier, evidence=evidence)


def test_who_was_called_by_name_is_told_apart_from_who_came_instead_of_another() -> None:
    named = reason("yuri", "addressed", evidence=[term("ゆり", "yuri", 10)], took_over_from="kasho")
    instead = reason("yuri", "addressed", took_over_from="kasho")
    assert "by name" in named
    assert "rather not have Kasho" in instead
    assert "took over" not in instead


@pytest.mark.parametrize(
    "decision",
    [
        {},
        {"character": "yuri"},
        {"tier": 7, "character": "yuri"},
        {"tier": "words", "character": "yuri", "evidence": 3},
    ],
)
def test_a_decision_that_cannot_be_read_counts_as_none(decision: dict[str, Any]) -> None:
    assert told(CAST, CAST.characters["yuri"], "en", decision) == CAST.text("why_new", "en", CAST.characters["yuri"])


@pytest.mark.parametrize(
    "changes",
    [{"tier": "of tomorrow"}, {"character": "mika", "tier": "words"}, {"tier": "model", "took_over_from": "mika"}],
)
def test_what_is_no_longer_known_is_not_made_up(changes: dict[str, Any]) -> None:
    text = told(CAST, CAST.characters["yuri"], "en", {"character": "yuri", "tier": "stay"} | changes)
    assert text.endswith(CAST.text("why_stay", "en"))


def test_an_emoji_is_no_mark_that_stands_without_a_space() -> None:
    lead = CAST.characters["botan"].texts["why_lead"]["en"]
    assert lead.endswith("🌸")
    assert reason("botan", "stay", language="en").startswith(f"{lead} ")


def test_sentences_of_full_width_scripts_stand_without_a_space() -> None:
    text = reason("yuri", "stay", language="ja")
    assert text == CAST.characters["yuri"].texts["why_lead"]["ja"] + CAST.text("why_stay", "ja")


def test_the_answer_is_fixed_true_and_changes_nothing_about_who_is_talking(bot: Bot) -> None:
    say_all(bot, "who knows about comics?", "Why you?", "why you", "thank you")
    lead = CAST.characters["yuri"].texts["why_lead"]["en"]
    assert bot.channel.bodies[1] == f"*Yuri📚*: {lead} What decided it was “comics”: that is one of my subjects."
    assert bot.channel.bodies[2] == bot.channel.bodies[1]
    assert [(t["outcome"], t["reason"], t["character"]) for t in bot.rows(TURNS)[1:3]] == [
        ("answered", "why", "yuri")
    ] * 2
    assert [t["decision"] is None for t in bot.rows(TURNS)] == [False, True, True, False]
    assert len(bot.llm.prompts) == 2
    assert bot.channel.bodies[3].startswith("*Yuri📚*")


def test_a_command_between_does_not_hide_the_reason(bot: Bot) -> None:
    say_all(bot, "Kasho, hello", "HELP", "why you?")
    assert "by name" in bot.channel.bodies[2]


def test_a_handing_over_a_change_and_staying_are_told_as_they_were(bot: Bot) -> None:
    bot.llm.answers = [completion("", chosen="kasho"), "Here."]
    say_all(bot, "hello", "why you?")
    assert "Botan thought that this was for me" in bot.channel.bodies[1]
    say_all(bot, "Yuri, your turn", "why you?")
    assert "by name" in bot.channel.bodies[3]
    assert "I took over from Kasho" in bot.channel.bodies[3]
    say_all(bot, "thank you", "why you?")
    assert "so I stayed" in bot.channel.bodies[5]


def test_after_all_of_them_whoever_goes_on_says_that_several_were_asked(bot: Bot) -> None:
    bot.say(ALL)
    send_all(bot)
    say_all(bot, "why you?")
    assert "several of us" in bot.channel.bodies[-1]


def test_before_anything_was_decided_the_default_introduces_herself(bot: Bot) -> None:
    bot.say("why you?")
    assert bot.channel.bodies[0].startswith("*Botan🌸*: We haven't talked yet! I'm Botan")
    assert bot.llm.prompts == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Why are you answering?", "en"),
        ("why not Kasho?", "en"),
        ("why isn\u2019t Yuri answering", "en"),
        ("¿Por qué tú?", "es"),
        ("por que você?", "pt"),
        ("Warum du?", "de"),
        ("warum nicht Botan", "de"),
        ("为什么是你？", "zh-Hans"),
        ("为什么不是 Kasho", "zh-Hans"),
        ("為什麼是你", "zh-Hant"),
        ("なんであなたなの？", "ja"),
        ("どうしてユリじゃないの", "ja"),
        ("kenapa kamu?", "id"),
        ("tum kyun?", "hi-Latn"),
    ],
)
def test_it_is_answered_in_the_language_of_the_question(bot: Bot, text: str, language: str) -> None:
    say_all(bot, "Yuri, hello", text)
    character = CAST.characters["yuri"]
    assert bot.channel.bodies[1] == f"*Yuri📚*: {reason('yuri', 'addressed', language=language)}"
    assert character.texts["why_lead"][language] in bot.channel.bodies[1]


@pytest.mark.parametrize(
    "text", ["why", "why me?", "why is the sky blue?", "why you think so", "why not", "tell me why you like it"]
)
def test_an_ordinary_why_is_no_question_about_her(text: str) -> None:
    assert CAST.command(text) is None


def test_asked_behind_another_message_it_tells_of_the_answer_to_that_one(bot: Bot) -> None:
    bot.slots.places = 0
    for text in ("who knows about comics?", "why you?"):
        bot.accept(text)
    bot.take_in()
    for turn in bot.turns.claim(1):
        bot.turns.run(turn)
    send_all(bot)
    assert [turn["reason"] for turn in bot.rows(TURNS)] == ["llm", "why"]
    assert "“comics”" in bot.channel.bodies[1]
