import json

import pytest

from core.routing.batch import explain, route_line
from core.routing.route import Router


def ask(router: Router, **line: object) -> dict[str, object]:
    answer, readable = route_line(router, json.dumps(line))
    assert readable
    return json.loads(answer)


def test_a_line_is_answered_with_the_promised_keys_only(shipped: Router):
    answer = ask(shipped, text="who knows about comics?", current=None)
    promised = {"character", "characters", "tier", "confidence", "scores", "why", "state"}
    assert set(answer) == promised | {"margins", "evidence", "switched"}
    assert (answer["character"], answer["characters"], answer["tier"]) == ("yuri", ["yuri"], "words")


def test_without_a_state_a_conversation_is_hers_who_is_named_as_current(shipped: Router):
    stray = "yuri told me that there is a novel"
    assert ask(shipped, text=stray, current="kasho")["character"] == "kasho"
    assert ask(shipped, text=stray, current="kasho", state="")["character"] == "yuri"  # the default had begun it


def test_a_dialogue_is_carried_by_current_and_state(shipped: Router):
    first = ask(shipped, text="what a novel", current=None)
    second = ask(shipped, text="hm, really", current=first["character"], state=first["state"], idle_s=30)
    assert (second["character"], second["tier"]) == ("yuri", "stay")
    assert ask(shipped, text="hm, really", current="yuri", idle_s=86400)["tier"] == "default"


def test_a_labelled_line_may_carry_its_labels_along(shipped: Router):
    assert ask(shipped, id="x1", text="hello", label="none", lang="en")["tier"] == "default"


@pytest.mark.parametrize(
    "line",
    [
        *("", "{", "[]", "null", "{}", '{"text": 1, "current": null}', '{"text": "a", "current": 5}'),
        *('{"text": "a", "current": null, "idle_s": -1}', '{"text": "a", "idle_s": NaN}', '{"text": "a", "state": {}}'),
        *('{"text": "\\ud800", "current": null}', "\ud800"),
    ],
)
def test_an_unreadable_line_gives_an_error_that_does_not_repeat_it(shipped: Router, line: str):
    answer, readable = route_line(shipped, line)
    assert not readable
    assert set(json.loads(answer)) == {"error"}


def test_the_error_names_the_key(shipped: Router):
    answer, _ = route_line(shipped, '{"text": ["secret"]}')
    assert "text" in json.loads(answer)["error"]
    assert "secret" not in answer


def test_an_explanation_says_who_how_sure_and_why(shipped: Router):
    lines = explain(shipped.route("recommend me a sci-fi novel", current="botan")).splitlines()
    assert lines[0].startswith("yuri by words, confidence 0.9")
    assert lines[1].startswith("scores: botan 0, kasho 0, yuri ")
    assert lines[2].startswith("leads: botan ")
    assert lines[-1].startswith("asked words: yuri 0.9")
    assert '  "novel" ~ yuri +5' in lines
