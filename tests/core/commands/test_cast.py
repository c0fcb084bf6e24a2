"""The cast's commands as a writer types them; and a fourth sister, made in the way that README tells."""

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from core.config import DEFAULT_PROMPTS
from tests.core.small_cast import COOK, NOBODY, SAILOR, small_cast, write
from tests.core.test_cli import SISTERS, sisters

STRAYED = "which knot for the anchor, and the tide drags it every night"

ROSE = {
    "rose.toml": """
name = "Rose"
emoji = "🌹"
order = 4
summary = "gardens, cooking and the seasons"
""",
    "rose.topics.toml": """
[en]
keywords = ["soil", "recipe", "watering can"]
triggers = ["garden", "cooking", "compost", "tomato plant"]
""",
    "rose_system_prompt.example.txt": "You love soil under your nails and say so.\n",
    "examples/rose.en.txt": """
how often do i water basil on a windowsill
slugs ate every lettuce in one night
when is it too late to plant garlic
my roses have black spots on the leaves
the tomatoes split before they are ripe
what grows in the shade of a wall
can i prune the apple tree in autumn
my compost smells awful
which herbs come back every year
how deep do tulip bulbs go
something digs up my seedlings at night
the hydrangea will not bloom
do worms like coffee grounds
what do i cook with far too many courgettes
how do i keep aphids off the beans
is my cactus dead or only sleeping
the hedge turned brown after the frost
which soil for blueberries
can i save seeds from a bell pepper
my lawn is more moss than grass
""",
}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a cast of four: the shipped one with Rose's files beside it."""
    directory = tmp_path_factory.mktemp("four") / "prompts"
    shutil.copytree(DEFAULT_PROMPTS, directory)
    for file, content in ROSE.items():
        write(directory, file, content)
    return {"PROMPTS_DIR": str(directory), "XDG_CACHE_HOME": str(directory.parent / "cache")}


def test_a_fourth_sister_answers_what_is_hers(four: dict[str, str]):
    texts = ["slugs ate my lettuce, the leaves have black spots", "rose, hello", "which soil for my tomato plant"]
    done = sisters("route", "--batch", given="".join(f"{json.dumps({'text': t})}\n" for t in texts), environment=four)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["character"], each["tier"]) for each in answers] == [
        ("rose", "likeness"),
        ("rose", "addressed"),
        ("rose", "words"),
    ]


@pytest.mark.parametrize(
    ("text", "character"),
    [("recommend me a novel", "yuri"), ("how do i start streaming on twitch", "botan"), ("teach me guitar", "kasho")],
)
def test_a_fourth_sister_takes_nothing_from_the_others(four: dict[str, str], text: str, character: str):
    assert sisters("route", text, environment=four).stdout.startswith(f"{character} by ")


def test_what_was_learnt_once_is_read_at_the_next_start(four: dict[str, str]):
    sisters("route", "hello", environment=four)
    assert "likeness_learning" not in sisters("route", "hello", environment=four).stderr


def test_a_fourth_sister_is_told_what_she_lacks(four: dict[str, str]):
    done = sisters("cast", "check", "--fast", environment=four)
    assert done.returncode == 1
    assert f"{four['PROMPTS_DIR']}/rose.topics.toml: no words in es" in done.stdout
    assert f"{four['PROMPTS_DIR']}/examples/rose.de.txt: no examples, 20 or more are needed" in done.stdout


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A cast of two with enough examples to be judged by."""
    directory = small_cast(tmp_path / "prompts")
    for owner, examples in (("cook", COOK), ("sailor", SAILOR), ("nobody", NOBODY)):
        more = "\n".join(f"{line} now\n{line} then" for line in examples.splitlines())
        write(directory, f"examples/{owner}.en.txt", f"{examples}\n{more}\n")
    return directory


def test_a_good_cast_passes_and_a_strayed_example_is_named_with_its_line(two: Path):
    done = sisters("cast", "check", environment={"PROMPTS_DIR": str(two)})
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "nothing to mend")
    file = two / "examples/nobody.en.txt"
    file.write_text(f"{file.read_text()}{STRAYED}\n")
    done = sisters("cast", "check", environment={"PROMPTS_DIR": str(two)})
    assert done.returncode == 1
    assert f"{file}:25: reaches sailor" in done.stdout


@pytest.mark.timeout(300)
def test_the_shipped_cast_has_nothing_to_mend():
    """Judges 10,000 examples, which takes most of a minute of CPU.

    A line that is named here and right as it stands gets ! before it. One that fails after a change elsewhere was
    near to it before: those that strayed at 0.8 and more, in two ways to cut the parts, have theirs already.
    """
    done = sisters("cast", "check", timeout_s=280)
    assert done.stdout.splitlines()[-1] == "nothing to mend", done.stdout
    assert done.returncode == 0


def test_what_takes_long_is_said_first_and_not_among_what_was_found(two: Path):
    done = sisters("cast", "check", environment={"PROMPTS_DIR": str(two)})
    assert done.stderr == "judging 72 examples (10,000 take about a minute)\n"
    assert "judging" not in done.stdout
    assert sisters("cast", "check", "--fast", environment={"PROMPTS_DIR": str(two)}).stderr == ""


def test_in_a_terminal_it_shows_how_far_it_is(two: Path):
    ours, its = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "PROMPTS_DIR": str(two), "TERM": "xterm"}
    with subprocess.Popen([SISTERS, "cast", "check"], env=environment, stdout=subprocess.DEVNULL, stderr=its) as check:
        os.close(its)
        shown = ""
        with suppress(OSError):  # EIO: nobody writes any more
            while read := os.read(ours, 4096):
                shown += read.decode()
    os.close(ours)
    assert check.returncode == 0
    assert "  0%" in shown
    assert "100%" in shown


def test_an_interrupt_ends_it_and_the_processes_it_started_at_once():
    environment = {"PATH": os.environ["PATH"]}
    command = [SISTERS, "cast", "check"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True) as check:
        assert check.stderr is not None
        try:
            assert check.stderr.readline().startswith("judging")
            time.sleep(4)  # the shipped cast takes longer
            os.killpg(check.pid, signal.SIGINT)
            assert check.wait(timeout=20) == 1
            assert check.stderr.read().split() == ["Aborted!"]  # at its end: nobody else holds it open
        finally:
            with suppress(ProcessLookupError):
                os.killpg(check.pid, signal.SIGKILL)


def test_of_one_character_only_what_concerns_her_is_shown(two: Path):
    write(two, "sailor.topics.toml", '[en]\ntriggers = ["boat", "anchor", "soup"]\n')
    write(two, "cook.topics.toml", '[en]\ntriggers = ["soup"]\n')
    (two / "examples/cook.en.txt").write_text(f"{COOK}\n")
    file = two / "examples/nobody.en.txt"
    file.write_text(f"{file.read_text()}{STRAYED}\n")

    def shown(*characters: str) -> list[str]:
        done = sisters("cast", "check", *characters, environment={"PROMPTS_DIR": str(two)})
        assert done.returncode == 1
        return [line.replace(f"{two}/", "").split(" (")[0] for line in done.stdout.splitlines() if str(two) in line]

    shared = 'cook.topics.toml:2: [en] "soup" is a word of sailor too: leave it to one of them'
    few, strayed = "examples/cook.en.txt: 8 examples, 20 or more are needed", f"{file.name}:25: reaches sailor"
    assert shown("cook") == [shared, few]
    assert shown("sailor") == [shared, f"examples/{strayed}"]
    assert shown("nobody") == [f"examples/{strayed}"]
    assert shown("cook", "nobody") == shown() == [shared, few, f"examples/{strayed}"]


def test_what_concerns_others_does_not_fail_the_check_of_one(two: Path):
    (two / "examples/cook.en.txt").write_text(f"{COOK}\n")
    done = sisters("cast", "check", "sailor", environment={"PROMPTS_DIR": str(two)})
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "nothing to mend")
    table = [line.split()[0] for line in done.stdout.splitlines()[2:-1]]
    assert table == ["sailor"]


def test_an_unknown_character_is_a_wrong_use_that_lists_the_known_ones(two: Path):
    done = sisters("cast", "check", "rose", environment={"PROMPTS_DIR": str(two)})
    assert done.returncode == 2
    assert "rose is none of cook, sailor, nobody" in done.stderr


def test_a_cast_is_learnt_beside_its_files(tmp_path: Path):
    directory = small_cast(tmp_path / "prompts")
    environment = {"PROMPTS_DIR": str(directory), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert sisters("cast", "learn", environment=environment).returncode == 0
    sisters("route", "hello", environment=environment)
    assert not (tmp_path / "cache").exists()


def test_a_cast_without_examples_has_nothing_to_learn(tmp_path: Path):
    directory = small_cast(tmp_path / "prompts")
    shutil.rmtree(directory / "examples")
    done = sisters("cast", "learn", environment={"PROMPTS_DIR": str(directory)})
    assert done.returncode == 1
    assert "holds no examples" in done.stderr
