from pathlib import Path

import pytest

from core.cast.characters import load_cast
from core.errors import ConfigurationError
from tests.core.small_cast import small_cast, write


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return small_cast(tmp_path / "prompts")


def test_each_line_is_an_example_with_its_owner_and_place(prompts: Path):
    write(prompts, "examples/cook.en.txt", "# food\n\n  is it done?  \r\n! my boat shaped cake\n")
    examples = [each for each in load_cast(prompts).examples if each.character == "cook"]
    assert [(each.text, each.line, each.meant) for each in examples] == [
        ("is it done?", 3, False),
        ("my boat shaped cake", 4, True),
    ]
    assert examples[0].file == prompts / "examples/cook.en.txt"
    assert examples[0].language == "en"


def test_examples_of_nobody_have_no_owner(prompts: Path):
    assert {each.character for each in load_cast(prompts).examples} == {"cook", "sailor", ""}


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("examples/baker.en.txt", "belongs to no character: there is no baker.toml, and it is not nobody.*"),
        ("examples/routing.en.txt", "belongs to no character: there is no routing.toml, and it is not nobody.*"),
        ("examples/cook.fr.txt", "file name: unknown language fr: cast.toml does not list it"),
        ("nobody.toml", "the id nobody is taken: examples/nobody.* are messages without a subject"),
    ],
)
def test_a_file_that_fits_nowhere_is_named(prompts: Path, file: str, problem: str):
    write(prompts, file, 'name = "X"\nemoji = "x"\nsummary = "x"\n')
    with pytest.raises(ConfigurationError) as caught:
        load_cast(prompts)
    assert f"{prompts / file}: {problem}" in caught.value.problems


def test_examples_that_are_no_text_are_named(prompts: Path):
    (prompts / "examples/cook.en.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"cook\.en\.txt: is not UTF-8"):
        load_cast(prompts)
