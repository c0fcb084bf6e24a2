from pathlib import Path

import pytest

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from core.routing.check import (
    Finding,
    Verdict,
    doubled_examples,
    judge,
    missing_languages,
    parts_of,
    shared_words,
    shares_of,
    strayed_examples,
)
from core.routing.model import lessons_of
from core.routing.phrases import load_phrases
from core.routing.words import Vocabulary
from tests.core.small_cast import COOK, NOBODY, SAILOR, small_cast, write


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    directory = small_cast(tmp_path / "prompts")
    for owner, examples in (("cook", COOK), ("sailor", SAILOR), ("nobody", NOBODY)):
        more = "\n".join(f"{line} now\n{line} then" for line in examples.splitlines())
        write(directory, f"examples/{owner}.en.txt", f"{examples}\n{more}\n")
    return directory


def told(found: list[Finding], prompts: Path) -> list[str]:
    return [str(each).replace(f"{prompts}/", "") for each in found]


def verdicts(prompts: Path) -> list[Verdict]:
    cast, phrases = load_cast(prompts), load_phrases(prompts)
    return [each for part in parts_of(cast, phrases, Vocabulary(cast, phrases)) for each in judge(part)]


def strayed(prompts: Path) -> list[str]:
    return told(strayed_examples(load_cast(prompts), verdicts(prompts)), prompts)


def asked(prompts: Path) -> list[set[str]]:
    """By part, the texts of its examples."""
    cast, phrases = load_cast(prompts), load_phrases(prompts)
    parts = parts_of(cast, phrases, Vocabulary(cast, phrases))
    return [{cast.examples[number].text for number in part.asked} for part in parts]


def test_a_trigger_that_is_anothers_word_is_named_with_its_line(prompts: Path):
    write(prompts, "cook.topics.toml", '[en]\nkeywords = ["oven"]\ntriggers = [\n  "soup",\n  "Röpe",\n]\n')
    assert told(shared_words(load_cast(prompts), prompts), prompts) == [
        'cook.topics.toml:5: [en] "rope" is a word of sailor too: leave it to one of them'
    ]


def test_a_keyword_that_two_share_is_no_mistake(prompts: Path):
    write(prompts, "cook.topics.toml", '[en]\ntriggers = ["soup"]\nkeywords = ["rope"]\n')
    assert shared_words(load_cast(prompts), prompts) == []


def test_the_same_word_of_two_languages_is_no_mistake(prompts: Path):
    write(prompts, "cast.toml", 'family = "friends"\nlanguages = ["en", "de"]\nsafety = "x"\n')
    write(prompts, "texts/de.toml", 'function_words = ["das"]\n')
    write(prompts, "cook.topics.toml", '[en]\ntriggers = ["soup"]\n[de]\ntriggers = ["boat"]\n')
    assert shared_words(load_cast(prompts), prompts) == []


def test_languages_without_words_or_with_few_examples_are_named(prompts: Path):
    write(prompts, "cook.topics.toml", "")
    write(prompts, "examples/sailor.en.txt", "one knot\n")
    (prompts / "examples/nobody.en.txt").unlink()
    assert told(missing_languages(load_cast(prompts), prompts), prompts) == [
        "cook.topics.toml: no words in en",
        "examples/sailor.en.txt: 1 examples, 20 or more are needed",
        "examples/nobody.en.txt: no examples, 20 or more are needed",
    ]


def test_an_example_that_two_have_is_named(prompts: Path):
    write(prompts, "examples/sailor.en.txt", f"{SAILOR}\nMy soup tastes of nothing\n")
    assert told(doubled_examples(load_cast(prompts)), prompts) == [
        "examples/sailor.en.txt:9: stands in cook.en.txt:2 too: leave it to one of them"
    ]


def test_an_example_that_reaches_another_is_named_unless_it_is_meant(prompts: Path):
    assert strayed(prompts) == []
    wrong = "the sauce and the onions burnt in the pan, the soup tastes of nothing"
    write(prompts, "examples/sailor.en.txt", f"{(prompts / 'examples/sailor.en.txt').read_text()}{wrong}\n")
    (line,) = strayed(prompts)
    assert line.startswith("examples/sailor.en.txt:25: reaches cook (")
    write(
        prompts, "examples/sailor.en.txt", (prompts / "examples/sailor.en.txt").read_text().replace(wrong, f"! {wrong}")
    )
    assert strayed(prompts) == []


def test_an_example_that_strays_concerns_whose_it_is_and_whom_it_reaches(prompts: Path):
    text = (prompts / "examples/nobody.en.txt").read_text()
    write(prompts, "examples/nobody.en.txt", f"{text}the sauce and the onions burnt in the pan, the soup too\n")
    (finding,) = strayed_examples(load_cast(prompts), verdicts(prompts))
    assert finding.concerns == {"nobody", "cook"}


def test_each_example_is_judged_once_by_a_model_that_learnt_all_the_others(prompts: Path):
    cast, phrases = load_cast(prompts), load_phrases(prompts)
    vocabulary = Vocabulary(cast, phrases)
    lessons, parts = lessons_of(cast, phrases, vocabulary), parts_of(cast, phrases, vocabulary)
    assert sorted(number for part in parts for number in part.asked) == list(range(len(cast.examples)))
    for part in parts:
        assert [each for number, each in enumerate(lessons) if number not in part.asked] == part.learnt
        assert part.asked == {number: lessons[number].features for number in part.asked}


def test_whatever_else_is_written_an_example_stays_in_its_part(prompts: Path):
    """Else a new sister's examples would have other examples stray that have nothing to do with her."""
    before = asked(prompts)
    write(prompts, "examples/cook.en.txt", f"what else is there\n{(prompts / 'examples/cook.en.txt').read_text()}")
    after = asked(prompts)
    assert [new - old for old, new in zip(before, after, strict=True) if new != old] == [{"what else is there"}]


def test_the_shares_tell_how_many_reach_their_character_unseen(prompts: Path):
    shares = shares_of(load_cast(prompts), verdicts(prompts))
    assert [(each.character, each.language, each.of) for each in shares] == [
        ("nobody", "en", 24),
        ("cook", "en", 24),
        ("sailor", "en", 24),
    ]
    assert all(each.right / each.of > 0.8 for each in shares)


def test_the_shipped_cast_has_nothing_to_mend():
    """In what is told at once; the rest, a minute of work, is held where the command is tested."""
    cast = load_cast(DEFAULT_PROMPTS)
    found = [
        *shared_words(cast, DEFAULT_PROMPTS),
        *missing_languages(cast, DEFAULT_PROMPTS),
        *doubled_examples(cast),
    ]
    assert [str(each) for each in found] == []
