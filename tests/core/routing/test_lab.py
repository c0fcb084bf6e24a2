from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.adapters.model_files import model_of
from core.cast.characters import Topics, load_cast
from core.config import DEFAULT_PROMPTS
from core.routing.lab import NONE, Lab, Line, tally
from core.routing.phrases import load_phrases
from core.routing.route import Router
from core.routing.words import Vocabulary
from tests.core.small_cast import small_cast


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    prompts = small_cast(tmp_path_factory.mktemp("prompts"))
    return lab_of(prompts)


def lab_of(prompts: Path) -> Lab:
    cast, phrases = load_cast(prompts), load_phrases(prompts)
    return Lab(cast, phrases, model_of(cast, phrases, Vocabulary(cast, phrases), prompts=prompts, cache=None))


def test_it_routes_as_the_router_itself_does(shipped: Router):
    lab = lab_of(DEFAULT_PROMPTS)
    texts = ["Who knows about music?", "Yuri, hi", "hello", "ich will streamen", "i cannot sleep since he left"]
    for text in texts:
        for current in (None, "yuri"):
            assert lab.route(Line(text=text, current=current)) == shipped.route(text, current=current)


def test_edited_words_count_and_all_else_stays(lab: Lab):
    text = "where do i put the quark"
    assert lab.route(Line(text=text)).character != "cook"
    edited = lab.edited({"cook": {"en": Topics(keywords=(), triggers=("quark",))}})
    decision = edited.route(Line(text=text))
    assert (decision.character, decision.evidence[0].term) == ("cook", "quark")
    assert edited.route(Line(text="a boat")).character == "sailor"
    assert edited.route(Line(text="Sailor, hi")).tier == "addressed"
    assert lab.route(Line(text=text)).character != "cook"
    with pytest.raises(KeyError):
        lab.edited({"nobody": {}})


def test_what_would_change_the_outcome_was_tried(lab: Lab):
    line = Line(text="a recipe for the boat")
    edited = lab.edited({"sailor": {"en": Topics(keywords=("boat",), triggers=())}})
    decision = edited.route(line)
    assert decision.character == "cook"
    changes = edited.changes(line, decision)
    assert {(each.change, each.terms, each.character) for each in changes} >= {("remove", ("recipe",), "sailor")}
    added = [each for each in changes if each.change == "add"]
    assert [(each.to, each.character) for each in added] == [("sailor", "sailor")]
    assert all(each.character != "cook" for each in changes)
    assert edited.route(line) == decision, "trying leaves nothing behind"


def test_who_was_talking_before_may_change_it(lab: Lab):
    line = Line(text="ok thanks")
    decision = lab.route(line)
    assert decision.character == "sailor"
    assert [
        (each.change, each.to, each.character) for each in lab.changes(line, decision) if each.change == "current"
    ] == [("current", "cook", "cook")]


def test_what_one_thread_tries_no_other_sees(lab: Lab):
    line = Line(text="my soup tastes of nothing")
    expected = lab.route(line)

    def work(number: int) -> bool:
        if number % 2:
            lab.changes(line, expected)
        return lab.route(line) == expected

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(200)))


def test_a_labelled_file_is_counted_by_label_and_by_tier(lab: Lab):
    judged = lab.judge([("soup recipe", "cook"), ("anchor", "cook"), ("ok thanks", NONE), ("boat anchor", "sailor")])
    assert [each.right for each in judged] == [True, False, True, True]
    assert [each.number for each in judged] == [1, 2, 3, 4]
    told = tally(judged, tuple(lab.cast.characters))
    assert (told["count"], told["right"], told["accuracy"]) == (4, 3, 0.75)
    assert told["confusion"]["cook"] == {"cook": 1, "sailor": 1}
    assert told["confusion"][NONE]["sailor"] == 1
    assert told["by_label"]["cook"] == {"count": 2, "right": 1}
    assert sum(each["count"] for each in told["by_tier"].values()) == 4
    assert tally([], ("cook",))["accuracy"] is None
