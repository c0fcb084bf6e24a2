import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core.adapters.model_files import SHIPPED, cache_directory, model_of, ship
from core.cast.characters import Cast, load_cast
from core.config import DEFAULT_PROMPTS, EmbeddingSettings, PromptSettings
from core.routing.learning import Weights
from core.routing.likeness import Likeness
from core.routing.model import Model, from_bytes, key_of, see, to_bytes, train
from core.routing.phrases import Phrases, load_phrases
from core.routing.route import Situation
from core.routing.text import fold
from core.routing.words import Vocabulary
from core.wiring.router import routing_of
from tests.core.small_cast import COOK, small_cast, write


class World:
    """A small cast, read anew whenever its files were changed."""

    def __init__(self, prompts: Path, cache: Path | None) -> None:
        self.prompts = prompts
        self.cache = cache

    @property
    def kept(self) -> list[Path]:
        return list(self.cache.iterdir()) if self.cache and self.cache.exists() else []

    @property
    def cast(self) -> Cast:
        return load_cast(self.prompts)

    @property
    def phrases(self) -> Phrases:
        return load_phrases(self.prompts)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.cast, self.phrases)

    @property
    def key(self) -> str:
        return key_of(self.cast, self.phrases)

    def model(self) -> Model:
        return model_of(self.cast, self.phrases, self.vocabulary, prompts=self.prompts, cache=self.cache)

    def likeness(self) -> Likeness:
        return Likeness(self.cast, self.phrases, self.model(), self.vocabulary)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(small_cast(tmp_path / "prompts"), tmp_path / "cache" / "sisters")


def situation(text: str) -> Situation:
    return Situation(folded=fold(text), current=None, leanings={})


def test_who_is_meant_without_a_word_of_hers_is_found(world: World):
    opinion = world.likeness()(situation("the onions burnt in the pan"))
    assert opinion is not None
    assert (opinion.characters, opinion.tier, opinion.sure) == (("cook",), "likeness", True)
    assert set(opinion.scores) == {"cook", "sailor"}


def test_what_sounds_like_nobody_is_left_to_nobody(world: World):
    assert world.likeness()(situation("see you on the bus, good night")) is None


def test_what_is_not_sure_enough_says_so(world: World):
    write(world.prompts, "routing.toml", "[likeness]\nsure_at = 1\n")
    opinion = world.likeness()(situation("the onions burnt in the pan"))
    assert opinion is not None
    assert not opinion.sure


def test_the_evidence_is_made_of_the_casts_own_words(world: World):
    said = "my grandmother Ottilie's secret soup with burnt onions at 12 Elm Road"
    opinion = world.likeness()(situation(said))
    assert opinion is not None
    folder = world.prompts / "examples"
    known = " ".join(path.read_text() for path in folder.iterdir()) + (world.prompts / "cook.topics.toml").read_text()
    assert [each.term for each in opinion.evidence if each.term not in known] == []
    assert "soup" in [each.term for each in opinion.evidence]
    assert "ottilie" not in opinion.why


def test_the_same_cast_gives_the_same_model(world: World):
    one, other = (to_bytes(train(world.cast, world.phrases, world.vocabulary), world.key) for _ in range(2))
    assert one == other


def test_a_model_survives_being_written_and_read(world: World):
    model = train(world.cast, world.phrases, world.vocabulary)
    read = from_bytes(to_bytes(model, "key"), "key")
    assert read is not None
    for text in ("my soup", "the anchor drags", "hello"):
        seen = see(world.vocabulary, text)
        before, after = model.probabilities(seen), read.probabilities(seen)
        assert after == pytest.approx(before, abs=0.02)
        assert sum(after.values()) == pytest.approx(1)


def test_a_spoilt_file_is_no_model(world: World):
    content = to_bytes(train(world.cast, world.phrases, world.vocabulary), "key")
    assert from_bytes(content, "key") is not None
    assert from_bytes(content, "another key") is None
    spoilt = (b"", content[:-200], content[:40] + b"x" + content[41:], b"other" + content)
    for each in (*spoilt, content.replace(b'"largest"', b'"smallest"')):
        assert from_bytes(each, "key") is None


def test_what_was_learnt_is_kept_and_read_at_the_next_start(world: World):
    world.model()
    (kept,) = world.kept
    assert kept.stat().st_size < 1_000_000
    kept.write_bytes(to_bytes(Model(classes=("", "marked"), weights=_two(world.model())), world.key))
    assert world.model().classes == ("", "marked")


def _two(model: Model) -> Weights:
    weights = model.weights
    return replace(weights, pieces=weights.pieces[:2], hints=weights.hints[:2], bias=weights.bias[:2])


@pytest.mark.parametrize(
    ("file", "content", "changes"),
    [
        ("examples/cook.en.txt", "something else\n", True),
        ("examples/cook.en.txt", "! " + COOK.replace("\n", "\n# a comment\n! "), False),
        ("cook.topics.toml", '[en]\ntriggers = ["cake"]\n', True),
        ("routing.toml", '[neutral]\nen = ["soup kitchen"]\n', True),
        ("routing.toml", '[endings]\nen = ["", "s", "ing"]\n[likeness]\nsure_at = 0.9\n', False),
    ],
)
def test_only_what_is_learnt_from_has_the_cast_learnt_anew(world: World, file: str, content: str, *, changes: bool):
    before = world.key
    write(world.prompts, file, content)
    assert (world.key != before) == changes


def test_without_a_place_to_keep_it_the_model_is_learnt_all_the_same(world: World):
    write(world.prompts.parent, "cache", "a file where the directory would be")
    assert world.model().classes == ("", "cook", "sailor")
    world.cache = None
    assert world.model().classes == ("", "cook", "sailor")


def test_several_processes_that_start_at_once_leave_one_good_file(world: World):
    with ThreadPoolExecutor(4) as pool:
        models = [each.result() for each in [pool.submit(world.model) for _ in range(4)]]
    assert len({tuple(model.weights.bias) for model in models}) == 1
    assert [from_bytes(path.read_bytes(), world.key) is not None for path in world.kept] == [True]


def test_models_of_casts_that_are_gone_are_thrown_away(world: World):
    for number in range(6):
        write(world.prompts, "examples/cook.en.txt", f"soup number {number}\n")
        world.model()
    assert len(world.kept) == 4


def test_a_shipped_model_spares_the_learning(world: World):
    ship(world.cast, world.phrases, world.vocabulary, prompts=world.prompts)
    world.model()
    assert (world.prompts / SHIPPED).exists()
    assert world.kept == []


def test_the_cache_is_the_users_own():
    assert cache_directory({"HOME": "/home/x"}) == Path("/home/x/.cache/sisters")
    assert cache_directory({"HOME": "/home/x", "XDG_CACHE_HOME": "/c"}) == Path("/c/sisters")
    assert cache_directory({}) is None


def test_a_cast_without_examples_is_routed_by_its_words_alone(world: World):
    for path in (world.prompts / "examples").iterdir():
        path.unlink()
    router = routing_of(
        PromptSettings.model_validate({"PROMPTS_DIR": world.prompts}), EmbeddingSettings(), cache=None
    ).router
    decision = router.route("is the oven on", current=None)
    assert (decision.character, decision.tier) == ("cook", "words")


def test_the_shipped_model_is_the_shipped_casts():
    """Otherwise every first start learns anew: `.venv/bin/sisters cast learn` writes it."""
    cast, phrases = load_cast(DEFAULT_PROMPTS), load_phrases(DEFAULT_PROMPTS)
    assert from_bytes((DEFAULT_PROMPTS / SHIPPED).read_bytes(), key_of(cast, phrases)) is not None


def test_the_shipped_cast_is_learnt_within_20_s_and_gives_the_shipped_model():
    """Where they differ the code has changed: raise the version in core/routing/model.py, `sisters cast learn`."""
    cast, phrases = load_cast(DEFAULT_PROMPTS), load_phrases(DEFAULT_PROMPTS)
    vocabulary = Vocabulary(cast, phrases)
    started = time.process_time()
    learnt = train(cast, phrases, vocabulary)
    assert time.process_time() - started < 20
    kept = from_bytes((DEFAULT_PROMPTS / SHIPPED).read_bytes(), key_of(cast, phrases))
    assert kept is not None
    for example in cast.examples[::50]:
        seen = see(vocabulary, example.text)
        assert kept.probabilities(seen) == pytest.approx(learnt.probabilities(seen), abs=0.05)
