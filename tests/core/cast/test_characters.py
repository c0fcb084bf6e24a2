# ruff: noqa: RUF001  (messages stand as people type them)

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cast.characters import Cast, load_cast, normalise, required_texts
from core.cast.files import WHY_KEYS
from core.errors import ConfigurationError

PROMPTS = Path(__file__).parents[3] / "prompts"

CAST = """
family = "cousins"
languages = ["en", "de"]
safety = "Be kind."
"""
ENGLISH = """
function_words = ["the"]
last_name_separator = " and "
[commands]
stop = ["stop"]
start = ["start"]
delete = ["delete", "delete my data"]
help = ["help"]
[texts]
""" + "\n".join(f'{key} = "{key} of {{names}}"' for key in required_texts())
GERMAN = """
function_words = ["das"]
[commands]
stop = ["stop", "stopp"]
[texts]
failure = "Kaputt, sagt {name}."
"""
ANA = """
name = "Ana"
emoji = "🌙"
default = true
summary = "the night"
[texts.en]
refusal = "No, says {name}."
"""
BEA = """
name = "Bea"
emoji = "🔥"
summary = "the fire"
aliases = ["Béa", "ベア"]
"""


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A small cast of two, without a mistake."""
    directory = tmp_path / "prompts"
    (directory / "texts").mkdir(parents=True)
    write(directory, "cast.toml", CAST)
    write(directory, "texts/en.toml", ENGLISH)
    write(directory, "texts/de.toml", GERMAN)
    write(directory, "ana.toml", ANA)
    write(directory, "bea.toml", BEA)
    write(directory, "ana_system_prompt.example.txt", "You like the night.\n")
    write(directory, "bea_system_prompt.example.txt", "You like the fire.\n")
    return directory


def write(directory: Path, file: str, content: str) -> None:
    (directory / file).write_text(content, encoding="utf-8")


def problems(directory: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_cast(directory)
    return [problem.replace(f"{directory.parent}/", "") for problem in caught.value.problems]


Change = Callable[[Path], object]


def writes(file: str, content: str) -> Change:
    return lambda directory: write(directory, file, content)


def replaces(file: str, old: str, new: str) -> Change:
    def change(directory: Path) -> None:
        content = (directory / file).read_text(encoding="utf-8")
        assert old in content
        write(directory, file, content.replace(old, new))

    return change


def removes(file: str) -> Change:
    return lambda directory: (directory / file).unlink()


def becomes_a_directory(file: str) -> Change:
    """Nobody can read a directory as a file, root included."""

    def change(directory: Path) -> None:
        (directory / file).unlink()
        (directory / file).mkdir()

    return change


MISTAKES: list[tuple[str, Change, str]] = [
    (
        "unknown key",
        replaces("bea.toml", "summary", 'colour = "red"\nsummary'),
        "prompts/bea.toml: colour: unknown key",
    ),
    ("unknown key of the cast", replaces("cast.toml", "family", "x = 1\nfamily"), "prompts/cast.toml: x: unknown key"),
    (
        "unknown key of topics",
        writes("bea.topics.toml", '[en]\nkeyword = ["fire"]'),
        "prompts/bea.topics.toml: en.keyword: unknown key",
    ),
    (
        "unknown text of her own",
        replaces("ana.toml", "refusal", "welcome"),
        "prompts/ana.toml: texts.en.welcome: unknown key",
    ),
    (
        "unknown shared text",
        replaces("texts/de.toml", "failure", "farewell"),
        "prompts/texts/de.toml: texts.farewell: unknown key",
    ),
    (
        "unknown command",
        replaces("texts/de.toml", "stop =", "halt ="),
        "prompts/texts/de.toml: commands.halt: unknown key",
    ),
    ("missing key", replaces("bea.toml", 'emoji = "🔥"', ""), "prompts/bea.toml: emoji: missing key"),
    ("empty value", replaces("bea.toml", '"the fire"', '"  "'), "prompts/bea.toml: summary: is empty"),
    ("a number for a text", replaces("bea.toml", '"Bea"', "7"), "prompts/bea.toml: name: must be a text in quotes"),
    (
        "a text for a list",
        replaces("bea.toml", '["Béa", "ベア"]', '"Béa"'),
        "prompts/bea.toml: aliases: must be a list",
    ),
    ("no language", replaces("cast.toml", '["en", "de"]', "[]"), "prompts/cast.toml: languages: is empty"),
    (
        "two defaults",
        replaces("bea.toml", "summary", "default = true\nsummary"),
        "prompts/bea.toml: default: ana.toml is the default already",
    ),
    (
        "no default",
        replaces("ana.toml", "default = true", ""),
        "prompts: nobody is the default: one <id>.toml must say default = true",
    ),
    (
        "bad TOML",
        writes("bea.toml", "name = Bea"),
        "prompts/bea.toml: is not TOML: Invalid value (at line 1, column 8)",
    ),
    (
        "not UTF-8",
        lambda directory: (directory / "bea.toml").write_bytes(b'name = "B\xe9a"'),
        "prompts/bea.toml: is not UTF-8 (byte 9)",
    ),
    (
        "unreadable file",
        becomes_a_directory("texts/de.toml"),
        "prompts/texts/de.toml: cannot be read: Is a directory",
    ),
    ("no cast.toml", removes("cast.toml"), "prompts/cast.toml: cannot be read: No such file or directory"),
    (
        "a language without file",
        removes("texts/de.toml"),
        "prompts/texts/de.toml: cannot be read: No such file or directory",
    ),
    (
        "one name for two",
        replaces("ana.toml", "summary", 'aliases = ["BEA"]\nsummary'),
        "prompts/bea.toml: aliases: 'bea' names ana.toml already",
    ),
    ("one emoji for two", replaces("bea.toml", "🔥", "🌙"), "prompts/bea.toml: emoji: 🌙 is ana.toml's already"),
    (
        "a name of signs",
        replaces("bea.toml", '"Béa"', '"!!"'),
        "prompts/bea.toml: aliases: one of them holds no letter",
    ),
    (
        "a missing fallback text",
        replaces("texts/en.toml", "crisis", "#"),
        "prompts/texts/en.toml: texts.crisis: missing key (every language falls back to this file)",
    ),
    (
        "a missing command",
        replaces("texts/en.toml", "help = [", "#"),
        "prompts/texts/en.toml: commands.help: missing key (every language falls back to this file)",
    ),
    (
        "unknown language of a text",
        replaces("ana.toml", "texts.en", "texts.fr"),
        "prompts/ana.toml: texts.fr: unknown language fr: cast.toml does not list it",
    ),
    (
        "unknown language of topics",
        writes("bea.topics.toml", '[fr]\nkeywords = ["feu"]'),
        "prompts/bea.topics.toml: fr: unknown language fr: cast.toml does not list it",
    ),
    (
        "unknown language file",
        writes("texts/fr.toml", ""),
        "prompts/texts/fr.toml: unknown language fr: cast.toml does not list it",
    ),
    (
        "a language listed twice",
        replaces("cast.toml", '"en", "de"', '"en", "de", "de"'),
        "prompts/cast.toml: languages: de is listed twice",
    ),
    ("empty prompt", writes("bea_system_prompt.txt", " \n"), "prompts/bea_system_prompt.txt: is empty"),
    (
        "no prompt",
        removes("bea_system_prompt.example.txt"),
        "prompts/bea.toml: has no prompt: there is neither bea_system_prompt.txt nor bea_system_prompt.example.txt",
    ),
    (
        "a private prompt for nobody",
        writes("beatrice_system_prompt.txt", "You like order."),
        "prompts/beatrice_system_prompt.txt: belongs to nobody: there is no beatrice.toml",
    ),
    (
        "topics for nobody",
        writes("beatrice.topics.toml", ""),
        "prompts/beatrice.topics.toml: belongs to nobody: there is no beatrice.toml",
    ),
    (
        "unknown placeholder",
        replaces("texts/de.toml", "{name}", "{nmae}"),
        "prompts/texts/de.toml: texts.failure: unknown placeholder {nmae}, known here: {name}, {names}",
    ),
    (
        "a placeholder that is not for her own texts",
        replaces("ana.toml", "{name}", "{names}"),
        "prompts/ana.toml: texts.en.refusal: unknown placeholder {names}, known here: {name}",
    ),
    (
        "a word for two commands",
        replaces("texts/de.toml", "[texts]", 'start = ["Stop!"]\n[texts]'),
        "prompts/texts/de.toml: commands.start: 'Stop!' already means stop",
    ),
    (
        "a command of signs",
        replaces("texts/de.toml", '"stopp"', '"!!!"'),
        "prompts/texts/de.toml: commands.stop: '!!!' holds no letter",
    ),
]


@pytest.mark.parametrize(("change", "problem"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named_by_file_and_key_and_no_other_is_made_of_it(prompts: Path, change: Change, problem: str):
    change(prompts)
    assert problems(prompts) == [problem]


def test_an_id_that_does_not_fit_is_named(prompts: Path):
    for file in prompts.glob("bea*"):
        file.rename(file.with_name(file.name.replace("bea", "Bea-1")))
    assert problems(prompts) == [
        "prompts/Bea-1.toml: an id has lower-case letters, digits and underscores, a letter first"
    ]


def test_an_empty_cast_is_one_mistake(prompts: Path):
    for file in (*prompts.glob("ana*"), *prompts.glob("bea*")):
        file.unlink()
    assert problems(prompts) == ["prompts: the cast is empty: there is no <id>.toml beside cast.toml"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path):
    assert problems(tmp_path / "prompts") == ["prompts: no such directory of prompts"]


def test_all_mistakes_are_named_at_once(prompts: Path):
    write(prompts, "cast.toml", "family = 1")
    write(prompts, "ana.toml", "name = ")
    write(prompts, "bea.toml", BEA + "colour = 1\nsize = 2")
    write(prompts, "bea_system_prompt.txt", "")
    named = {problem.split(": ")[0] + ": " + problem.split(": ")[1] for problem in problems(prompts)}
    assert named == {
        "prompts/cast.toml: family",
        "prompts/cast.toml: languages",
        "prompts/cast.toml: safety",
        "prompts/ana.toml: is not TOML",
        "prompts/bea.toml: colour",
        "prompts/bea.toml: size",
        "prompts/bea_system_prompt.txt: is empty",
    }


def test_what_a_cast_without_mistake_holds(prompts: Path):
    write(prompts, "bea.topics.toml", '[en]\nkeywords = ["Flame", "coal", "coal"]\ntriggers = ["fire"]')
    cast = load_cast(prompts)
    assert list(cast.characters) == ["ana", "bea"]
    assert cast.default is cast.characters["ana"]
    assert (cast.family, cast.safety, cast.languages) == ("cousins", "Be kind.", ("en", "de"))
    bea = cast.characters["bea"]
    assert bea.aliases == ("bea", "béa", "ベア")
    assert bea.prompt == "You like the fire."
    assert bea.topics["en"].keywords == ("flame", "coal")
    assert bea.topics["en"].triggers == ("fire",)
    assert cast.characters["ana"].topics == {}
    assert cast.commands["stop"] == {"stop", "stopp"}


def test_the_order_key_comes_before_the_id(prompts: Path):
    replaces("bea.toml", "summary", "order = -1\nsummary")(prompts)
    assert list(load_cast(prompts).characters) == ["bea", "ana"]


def test_a_text_is_looked_for_in_the_language_before_the_voice(prompts: Path):
    cast = load_cast(prompts)
    ana, bea = cast.characters["ana"], cast.characters["bea"]
    assert cast.text("refusal", "en", ana) == "No, says Ana."
    assert cast.text("refusal", "de", ana) == "No, says Ana."
    assert cast.text("refusal", "en", bea) == "refusal of Ana 🌙 and Bea 🔥"
    assert cast.text("failure", "de", bea) == "Kaputt, sagt Bea."
    assert cast.text("failure", "de") == "Kaputt, sagt Ana."
    assert cast.text("welcome", "de", bea) == "welcome of Ana 🌙 and Bea 🔥"
    assert cast.text("welcome", "tlh") == "welcome of Ana 🌙 and Bea 🔥"
    with pytest.raises(KeyError):
        cast.text("farewell", "en", ana)


def test_a_private_prompt_wins_over_the_example(prompts: Path):
    write(prompts, "ana_system_prompt.txt", "You like secrets.")
    assert load_cast(prompts).characters["ana"].prompt == "You like secrets."
    (prompts / "ana_system_prompt.example.txt").unlink()
    assert load_cast(prompts).characters["ana"].prompt == "You like secrets."


def test_a_private_prompt_that_cannot_be_read_is_never_replaced_by_the_example(prompts: Path):
    (prompts / "ana_system_prompt.txt").symlink_to(prompts / "elsewhere.txt")
    assert problems(prompts) == ["prompts/ana_system_prompt.txt: cannot be read: No such file or directory"]


def test_what_editors_leave_behind_is_no_character(prompts: Path):
    (prompts / ".#bea.toml").symlink_to("someone@somewhere.1")
    write(prompts, "bea.toml~", "colour = 1")
    (prompts / "bea.toml").write_bytes(b"\xef\xbb\xbf" + BEA.replace("\n", "\r\n").encode())
    assert list(load_cast(prompts).characters) == ["ana", "bea"]


def test_a_fourth_character_is_a_matter_of_adding_files(tmp_path: Path):
    directory = tmp_path / "prompts"
    shutil.copytree(PROMPTS, directory, ignore=shutil.ignore_patterns("*_system_prompt.txt"))
    write(directory, "rose.toml", 'name = "Rose"\nemoji = "🌹"\norder = 4\nsummary = "gardens and cooking"')
    write(directory, "rose.topics.toml", '[en]\nkeywords = ["soil"]\ntriggers = ["garden"]')
    write(directory, "rose_system_prompt.txt", "You like gardens.")
    before, cast = load_cast(PROMPTS), load_cast(directory)
    rose = cast.characters["rose"]
    assert list(cast.characters) == [*before.characters, "rose"]
    assert cast.default.id == before.default.id
    assert "Rose 🌹" in cast.text("welcome", "ja")
    for language in cast.languages:
        for key in required_texts():
            assert cast.text(key, language, rose) == cast.texts[key][language].replace("{name}", "Rose")


@pytest.fixture(scope="module")
def shipped() -> Cast:
    return load_cast(PROMPTS)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("STOP", "stop"),
        (" stop. ", "stop"),
        ("Stop!!! 🛑", "stop"),
        ("\u200fSTOP\u200e", "stop"),
        ("\uff33\uff34\uff2f\uff30", "stop"),
        ("*STOP*", "stop"),
        ("/stop", "stop"),
        ("Stopp", "stop"),
        ("停止", "stop"),
        ("退订", "stop"),
        ("配信停止。", "stop"),
        ("band karo", "stop"),
        ("Berhenti", "stop"),
        ("START", "start"),
        ("再開", "start"),
        ("delete", "delete"),
        ("Delete  my\ndata", "delete"),
        ("LÖSCHEN", "delete"),
        ("LO\u0308SCHEN", "delete"),
        ("¡Borrar!", "delete"),
        ("刪除", "delete"),
        ("Help?", "help"),
        ("ヘルプ", "help"),
        ("Ayuda", "help"),
    ],
)
def test_a_command_is_known_however_it_is_written(shipped: Cast, text: str, command: str):
    assert shipped.command(text) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!!",
        "👍",
        "how do I delete a track",
        "stop it",
        "please stop",
        "can you help me with music production?",
        "help me",
        "don't stop",
        "start streaming",
        "STOP STOP",
        "delete" + "!" * 500,
        # ordinary one-word messages in nine languages
        *("no", "end", "cancel", "quit", "bye", "ok", "pause", "go", "clear", "para", "basta", "fin", "espera", "dale"),
        *("chega", "sair", "fim", "espera", "ende", "halt", "weg", "los", "aus", "warte", "quatsch"),
        *("开始", "不要", "别", "取消", "救命", "開始", "不要", "やめて", "だめ", "助けて", "終わり", "いいえ"),
        *(
            "udah",
            "jangan",
            "tolong",
            "mulai",
            "selesai",
            "ruko",
            "ruk jao",
            "bas",
            "nahi",
            "chup",
            "bachao",
            "shuru karo",
        ),
    ],
)
def test_what_people_say_in_passing_is_no_command(shipped: Cast, text: str):
    assert shipped.command(text) is None


def test_english_commands_work_in_a_cast_of_any_language(shipped: Cast):
    assert all({name} <= shipped.commands[name] for name in ("stop", "start", "delete", "help"))


def test_normalised_text_holds_words_alone():
    assert normalise("  ¿Ｑué… TAL?\u200b 🙂 ") == "qué tal"
    assert normalise("👩‍👩‍👧 1️⃣") == "1"
    assert normalise("यह क्या है?") == "यह क्या है"


WHY = "\n".join(f'{key} = "{key}"' for key in WHY_KEYS)
QUESTIONS = 'help = ["help"]\nwhy = ["why you", "why not {name}", "{name}呢"]'


def test_a_phrase_about_a_name_is_understood_with_every_name(prompts: Path):
    write(prompts, "texts/en.toml", ENGLISH.replace('help = ["help"]', QUESTIONS) + f"\n{WHY}\n")
    cast = load_cast(prompts)
    for text in ("why you?", "Why not ANA?", "why not ベア", "ana呢", "Ana 呢？"):
        assert cast.command(text) == "why", text
    assert cast.command("why not {name}") is None
    assert cast.command_languages["why you"] == ("en",)


def test_a_cast_that_understands_the_question_why_needs_its_answers(prompts: Path):
    replaces("texts/de.toml", 'stop = ["stop", "stopp"]', 'why = ["warum du"]')(prompts)
    assert problems(prompts) == [
        f"prompts/texts/en.toml: texts.{key}: missing key (every language falls back to this file)" for key in WHY_KEYS
    ]


def test_a_cast_may_do_without_the_question_why(prompts: Path):
    assert load_cast(prompts).command("why you") is None
