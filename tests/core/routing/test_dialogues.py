"""Whole dialogues, each line put to the router as `--batch` is asked; the dialogues stand in dialogues.toml."""

import json
import tomllib
from pathlib import Path

import pytest

from core.routing.batch import route_line
from core.routing.route import Router

Line = tuple[str, str, float]
CAST = ["botan", "kasho", "yuri"]
A_MINUTE = 60


def _read() -> dict[str, list[Line]]:
    tables = tomllib.loads(Path(__file__).with_name("dialogues.toml").read_text(encoding="utf-8"))
    return {
        f"{language}: {name}": [(text, who, rest[0] * 3600 if rest else A_MINUTE) for text, who, *rest in lines]
        for language, dialogues in tables.items()
        for name, lines in dialogues.items()
    }


DIALOGUES = _read()


def test_there_are_40_dialogues_in_all_languages():
    assert len(DIALOGUES) >= 40
    assert len({name.split(":")[0] for name in DIALOGUES}) == 9


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_dialogue_is_held_together_line_by_line(shipped: Router, name: str):
    current, state, answered = None, "", list[tuple[str, str]]()
    for text, _, idle_s in DIALOGUES[name]:
        line = json.dumps({"text": text, "current": current, "state": state, "idle_s": idle_s})
        answer = json.loads(route_line(shipped, line)[0])
        current, state = answer["character"], answer["state"]
        whole = answer["characters"] == CAST
        answered.append((text, "all" if whole else " ".join(answer["characters"])))
    assert answered == [(text, who) for text, who, _ in DIALOGUES[name]]
