"""The phone's server side with everything real behind it: what the page is told, and the same thread in a terminal."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.child import free_port
from deploy.local.loopback import Refused, call
from deploy.local.stack import ROOT
from tests.system.conftest import LLM_LATENCY_MS, running_system
from tests.system.running import System

SISTERS = str(Path(sys.executable).with_name("sisters"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    latency = {"SIMULATOR_LLM_LATENCY_MS": str(LLM_LATENCY_MS)}
    with running_system(tmp_path_factory.mktemp("phone"), latency) as system:
        system.stack.start_inspect()
        system.stack.processes.wait_for("inspect", f"{system.stack.environ['INSPECT_URL']}/healthz")
        yield system


def get(system: System, path: str) -> Any:
    return call("GET", f"{system.stack.phone.url}{path}")


def chat(system: System, lines: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SISTERS, "chat", *arguments],
        input=lines,
        env=system.stack.environ | {"SIMULATOR_URL": system.stack.phone.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_story_behind_a_message_reaches_the_page(system: System, person: str):
    sid = system.stack.phone.write(person, "Who knows about music?")
    system.wait_for_replies(person, 1)
    story: dict[str, Any] = {}

    def over() -> bool:
        nonlocal story
        story = get(system, f"/simulator/inspect/timeline/{sid}")
        return story["events"][-1]["event"] == "read"

    system.wait_until(over, within_s=30, what="the report that it was read")
    facts = story["facts"]
    assert (facts["ending"], facts["decision"]["character"], facts["decision"]["tier"]) == (
        "answered",
        "kasho",
        "words",
    )
    assert facts["prompt_messages"] > 1
    assert facts["prompt_characters"] > 500
    assert [check["judgement"] for check in facts["moderation"]] == ["pass", "pass"]
    chats = [c for c in get(system, f"/simulator/calls?about={sid}") if c["endpoint"] == "chat"]
    assert facts["tokens_in"] > 0
    assert [c["signature_ok"] for c in chats] == [True]
    with pytest.raises(Refused, match="404"):
        get(system, "/simulator/inspect/timeline/SM" + "0" * 32)


def test_the_laboratory_of_routing_is_the_bots_own(system: System):
    url = f"{system.stack.phone.url}/simulator/inspect"
    cast = call("GET", f"{url}/cast")
    assert len(cast["characters"]) == 3
    asked = {"lines": [{"text": "What's a good sci-fi book?"}]}
    (result,) = call("POST", f"{url}/route", asked)["results"]
    assert result["character"] == "yuri"
    edited = {"botan": {"en": {"keywords": [], "triggers": ["zzquark"]}}}
    (tried,) = call("POST", f"{url}/route", {"lines": [{"text": "zzquark zzquark?"}], "topics": edited})["results"]
    assert (tried["character"], tried["evidence"][0]["term"]) == ("botan", "zzquark")
    judged = call("POST", f"{url}/evaluate", {"lines": [{"text": "What's a good sci-fi book?", "label": "yuri"}]})
    assert judged["accuracy"] == 1


def test_a_chat_through_a_pipe_answers_line_by_line(system: System):
    system.stack.phone.set_faults({"llm": {"latency_ms": 2500}})  # long enough to be seen typing
    done = chat(system, "Who knows about music?\n/person noor\nWhat's a good sci-fi book?\n/quit\nnever sent\n")
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    first, second = shown.split("writing as Noor")
    assert "*Kasho🎵*: " in first
    assert "kasho by words" in first
    assert "… typing" in first
    assert "*Yuri📚*: " in second
    assert "✓✓" in first
    assert "never sent" not in shown
    system.stack.phone.set_faults({})


def test_a_chat_at_a_terminal_shows_the_answer_and_ends_when_asked(system: System):
    reader, terminal = pty.openpty()
    environ = system.stack.environ | {"SIMULATOR_URL": system.stack.phone.url, "TERM": "xterm"}
    process = subprocess.Popen([SISTERS, "chat", "--person", "bo"], stdin=terminal, stdout=terminal, env=environ)
    os.close(terminal)
    shown = b""

    def read_until(text: str) -> None:
        nonlocal shown
        end = time.monotonic() + 60
        while text.encode() not in shown:
            assert time.monotonic() < end, shown.decode(errors="replace")
            if select.select([reader], [], [], 0.2)[0]:
                shown += os.read(reader, 65536)

    try:
        read_until("Bo >")  # what follows may be told as a movement
        os.write(reader, b"Who knows about music?\r")
        read_until("kasho by words")
        os.write(reader, b"/quit\r")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_without_a_simulator_or_a_person_the_chat_says_what_to_do(system: System):
    environ = {"PATH": os.environ["PATH"], "SIMULATOR_URL": f"http://127.0.0.1:{free_port()}"}
    done = subprocess.run(
        [SISTERS, "chat"], input="", env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr[:29]) == (1, "no simulator answers at http:")
    assert "make demo" in done.stderr
    stranger = chat(system, "", "--person", "xyz")
    assert stranger.returncode == 1
    assert "nobody is called 'xyz'" in stranger.stderr


def test_without_the_inspector_the_chat_goes_on_and_the_page_is_told(system: System):
    system.stack.processes.stop("inspect")
    with pytest.raises(Refused, match=r"502.*sisters inspect"):
        get(system, "/simulator/inspect/cast")
    done = chat(system, "Hello!\n")
    assert done.returncode == 0, done.stderr
    assert "(simulated)" in done.stdout
