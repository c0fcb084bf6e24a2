import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.eval.__main__ import HELD_OUT, held_out, main
from tests.eval.article import article
from tests.eval.bounds import problems
from tests.eval.score import Dialogue, Message, Report, Tally, Turn, read, score
from tests.fakes import shipped_cast, shipped_router


def message(text: str, label: str) -> Message:
    return Message(text=text, label=label, language="en", kind="plain")


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("Who knows about music?", "kasho"),
        ("who knows about comics?", "yuri"),
        ("How do I start streaming?", "botan"),
        ("fresh bread", "yuri"),
        ("hello", "none"),
        ("a song about a video", "botan"),
    ],
)
def test_the_article_finds_its_words_anywhere_and_the_first_of_equals(text: str, who: str):
    assert article(text) == who


def test_the_one_whose_label_it_bears_has_to_answer():
    default = shipped_cast().default.id
    messages = [
        message("kasho, hi", "kasho"),
        message("yuri, hi", "kasho"),
        message("hello", "none"),
        message("hello", default),
    ]
    report = score(shipped_router(), default, messages, [])
    assert report.groups["all"] == Tally(right=3, of=4)
    assert report.groups["label kasho"] == Tally(right=1, of=2)
    assert report.tiers == {"addressed": Tally(right=1, of=2), "default": Tally(right=2, of=2)}
    assert report.confusion == {("kasho", "kasho"): 1, ("kasho", "yuri"): 1, ("none", "none"): 1, (default, "none"): 1}


def test_a_dialogue_is_held_when_each_of_its_turns_is():
    def dialogue(*turns: tuple[str, str]) -> Dialogue:
        return Dialogue(
            turns=[Turn(text=text, label=label, idle=timedelta(seconds=9)) for text, label in turns],
            language="en",
            kind="plain",
        )

    held = dialogue(("yuri, hello", "yuri"), ("ok", "none"))
    lost = dialogue(("yuri, hello", "yuri"), ("kasho, hello", "yuri"))
    report = score(shipped_router(), shipped_cast().default.id, [], [held, lost])
    assert (report.dialogues, report.turns) == (Tally(right=1, of=2), Tally(right=3, of=4))


def test_a_file_may_hold_messages_and_dialogues(tmp_path: Path):
    rows = [
        {"text": "hi", "label": "none", "lang": "en", "kind": "short", "id": 1},
        {"messages": [{"text": "hi", "expect": "none", "idle_s": 60}], "lang": "ja"},
    ]
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    messages, dialogues = read(file)
    assert [(each.text, each.kind) for each in messages] == [("hi", "short")]
    assert [(each.language, each.turns[0].idle) for each in dialogues] == [("ja", timedelta(minutes=1))]


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"all": (80, 100)}, []),
        ({"all": (79, 100)}, ["all: 79.0 % right of 100, the bound is 80 %"]),
        ({"language ja": (14, 20)}, ["language ja: 70.0 % right of 20, the bound is 72 %"]),
        ({"language ja": (0, 19)}, []),
        ({"kind trap": (61, 100), "kind typo": (82, 100)}, ["kind trap: 61.0 % right of 100, the bound is 62 %"]),
    ],
)
def test_a_figure_more_than_three_points_too_low_is_told(groups: dict[str, tuple[int, int]], told: list[str]):
    tallies = {group: Tally(right=right, of=of) for group, (right, of) in groups.items()}
    assert problems(Report(groups=tallies, tiers={}, confusion={})) == told


def test_the_command_takes_any_labelled_file(tmp_path: Path):
    file = tmp_path / "some.jsonl"
    file.write_text(json.dumps({"text": "who knows about comics?", "label": "yuri", "lang": "en", "kind": "plain"}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.eval", str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "all                      1     100.0     100.0     100.0" in done.stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [("not json", ":2: JSONDecodeError"), ('{"text": "a"}', ":2: KeyError: 'label'"), ("[]", ":2: AttributeError")],
)
def test_a_line_that_cannot_be_read_is_named(
    tmp_path: Path, content: str, told: str, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "some.jsonl"
    file.write_text('{"text": "hi", "label": "none"}\n' + content)
    assert main([str(file)]) == 2
    assert f"{file}{told}" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_the_held_out_messages_are_routed_as_promised():
    """The figures of `make eval`, which prints them in full."""
    report = score(shipped_router(), shipped_cast().default.id, *held_out(HELD_OUT))
    assert problems(report) == []
