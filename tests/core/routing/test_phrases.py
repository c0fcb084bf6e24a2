from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.routing.phrases import load_phrases


def problems(directory: Path, text: str) -> list[str]:
    (directory / "routing.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_phrases(directory)
    return caught.value.problems


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"routing\.toml"):
        load_phrases(tmp_path)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path):
    assert "routing.toml" in problems(tmp_path, "x = [")[0]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[thresholds]\nsure = 1", "thresholds.sure"),
        ("[thresholds]\nrest_h = 0", "thresholds.rest_h"),
        ("[address.en]\ngreeting = ['hi']", "address.en.greeting"),
        ("[address.en]\nrequests = ['talk to her']", "address.en.requests"),
        ("[neutral]\nen = 'one'", "neutral.en"),
        ("[neutral]\nen = ['']", "neutral.en.0"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(tmp_path: Path, text: str, key: str):
    [problem] = problems(tmp_path, text)
    assert "routing.toml" in problem
    assert f": {key}: " in problem


def test_all_mistakes_are_named_at_once(tmp_path: Path):
    assert len(problems(tmp_path, "honor = []\ncompounds = 3")) == 2


def test_an_empty_file_is_a_cast_that_is_never_addressed(tmp_path: Path):
    (tmp_path / "routing.toml").write_text("", encoding="utf-8")
    assert load_phrases(tmp_path).address == {}
