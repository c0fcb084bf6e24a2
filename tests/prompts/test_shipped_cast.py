import re
from pathlib import Path

import pytest

from core.cast.characters import Cast, Character, load_cast, required_texts
from core.cast.files import WHY_KEYS, WHY_PLACEHOLDERS

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "prompts"
LANGUAGES = ("en", "es", "pt", "de", "zh-Hans", "zh-Hant", "ja", "id", "hi-Latn")
VOICE = ("refusal", "failure", "unsupported", "empty", "budget", "why_lead")
OTHER_FOLDERS = {"tests", "build", "dist", "node_modules"}

CAST: Cast = load_cast(PROMPTS)
CHARACTERS = list(CAST.characters.values())
each_character = pytest.mark.parametrize("character", CHARACTERS, ids=[c.id for c in CHARACTERS])
each_language = pytest.mark.parametrize("language", LANGUAGES)


def example(character: Character) -> str:
    return (PROMPTS / f"{character.id}_system_prompt.example.txt").read_text(encoding="utf-8")


def test_the_languages_are_the_promised_ones():
    assert CAST.languages == LANGUAGES


@each_language
def test_every_shared_text_exists_in_every_language(language: str):
    for key in required_texts():
        assert language in CAST.texts[key], key


@each_language
def test_the_reasons_are_told_in_every_language_and_each_by_its_own_words(language: str):
    texts = [CAST.texts[key][language] for key in WHY_KEYS]
    assert len(set(texts)) == len(WHY_KEYS)
    for key, places in WHY_PLACEHOLDERS.items():
        assert all(place in CAST.texts[key][language] for place in places), key
    assert (
        sum(language in tags and CAST.command_words[word] == "why" for word, tags in CAST.command_languages.items()) > 9
    )


@each_language
@each_character
def test_every_character_has_her_own_wording_in_every_language(character: Character, language: str):
    for key in VOICE:
        assert language in character.texts[key], key
        assert character.texts[key][language] != CAST.texts[key][language]


@each_language
def test_no_two_characters_say_the_same(language: str):
    for key in VOICE:
        assert len({character.texts[key][language] for character in CHARACTERS}) == len(CHARACTERS), key


@each_language
def test_the_welcome_is_one_short_line_that_says_who_and_how_to_delete(language: str):
    welcome = CAST.text("welcome", language)
    assert all(f"{character.name} {character.emoji}" in welcome for character in CHARACTERS)
    assert "DELETE" in welcome
    assert "\n" not in welcome
    assert len(welcome) <= 160


@each_language
def test_the_texts_name_the_commands_that_answer_them(language: str):
    assert "START" in CAST.text("stopped", language)
    assert "STOP" in CAST.text("started", language)
    assert "DELETE" in CAST.text("delete_ask", language)
    assert "10" in CAST.text("delete_ask", language)
    assert all(word in CAST.text("help", language) for word in ("STOP", "START", "DELETE", CAST.default.name))


@each_language
def test_the_crisis_text_names_a_helpline_and_guesses_no_number(language: str):
    crisis = CAST.text("crisis", language)
    assert "findahelpline.com" in crisis
    assert not re.search(r"\d", crisis)
    assert len(crisis) <= 600


@each_language
@each_character
def test_a_notice_of_a_character_fits_into_a_glance(character: Character, language: str):
    for key in VOICE:
        text = CAST.text(key, language, character)
        assert len(text) <= 200, key
        assert "\n" not in text, key
        assert not re.search(r"[{}*_~`]", text), key


@each_character
def test_a_persona_has_400_to_900_words(character: Character):
    assert 400 <= len(example(character).split()) <= 900


@each_character
def test_a_persona_shows_six_exchanges(character: Character):
    speakers = re.findall(r"^(\w+): ", example(character), re.MULTILINE)
    assert speakers == ["Person", character.name] * 6


@each_character
def test_a_persona_names_her_sisters_and_what_she_never_does(character: Character):
    text = example(character)
    assert all(other.name in text for other in CHARACTERS)
    assert "What you never do\n- Pretend to be human" in text
    assert re.search(r"doctor|diagnose", text, re.IGNORECASE)
    assert re.search(r"lawyer|legal", text)


@each_character
def test_a_persona_leaves_the_opening_sentence_to_the_code(character: Character):
    assert not example(character).startswith("You are ")
    assert "three AI sisters" not in example(character)


def test_private_prompts_stay_out_of_git():
    assert "prompts/*_system_prompt.txt" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_no_name_of_a_character_stands_in_code():
    names = "|".join(sorted({re.escape(n) for c in CHARACTERS for n in (c.id, c.name, *c.aliases)}))
    name = re.compile(rf"(?<![^\W\d_])(?:{names})(?![^\W\d_])", re.IGNORECASE)
    files = [
        path
        for path in ROOT.rglob("*.py")
        if not any(part in OTHER_FOLDERS or part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    assert ROOT / "core" / "cast" / "characters.py" in files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if name.search(line)
    ]
    assert not found, "a character is data in prompts/: take her name out of\n" + "\n".join(found)
