import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from deploy.local.child import free_port
from deploy.local.demo import CONVERSATION, LOGS, read_conversation
from deploy.local.phone import Phone
from deploy.local.stack import ROOT


def _descendants(pid: int) -> set[int]:
    children = {int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()}
    return children.union(*(_descendants(child) for child in children))


def _alive(pids: set[int]) -> set[int]:
    alive: set[int] = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        alive |= {pid} if state != "Z" else set()
    return alive


@contextmanager
def _demo(port: int, *arguments: str) -> Generator[subprocess.Popen[str]]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "LLM_", "DATABASE_", "REDIS_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local.demo", *arguments],
        env=environ | {"SIMULATOR_PORT": str(port), "PORT": str(free_port()), "SIMULATOR_LLM_LATENCY_MS": "50"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _read_until(output: IO[str] | None, text: str) -> str:
    """The demo ends by itself when something is wrong, so this ends too."""
    assert output is not None
    read = ""
    for line in output:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} was not said in:\n{read}")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_demo_plays_its_conversation_shows_what_others_write_and_leaves_no_process_behind(how: signal.Signals):
    port = free_port()
    _, lines = read_conversation(CONVERSATION)
    with _demo(port) as demo:
        shown = _read_until(demo.stdout, "Ctrl-C")
        assert "simulated" in shown.splitlines()[1]
        assert [f"    {line.expect} by " in shown for line in lines] == [True] * len(lines)
        Phone(f"http://127.0.0.1:{port}").write("+15550100077", "Is anybody there who reads along?")
        _read_until(demo.stdout, "Is anybody there who reads along?")
        kept = LOGS / str(port) / "env"
        assert kept.stat().st_mode & 0o777 == 0o600  # it holds what opens the demo's database
        asked = f". {shlex.quote(str(kept))}; {shlex.quote(str(Path(sys.executable).with_name('sisters')))} audit"
        audit = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
        assert json.loads(audit.stdout)["answered"] >= len(lines)
        family = _descendants(demo.pid)
        assert len(family) > 6
        demo.send_signal(how)
        code = demo.wait(timeout=30)
    assert code == (0 if how == signal.SIGINT else -signal.SIGKILL)
    end = time.monotonic() + 30
    while _alive(family) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _alive(family)


def test_a_demo_that_ends_by_itself_plays_its_conversation_and_sends_nobody_to_a_browser():
    _, lines = read_conversation(CONVERSATION)
    with _demo(free_port(), "--once") as demo:
        shown = _read_until(demo.stdout, "were answered by whom they were meant for")
        assert demo.wait(timeout=30) == 0
    assert [f"    {line.expect} by " in shown for line in lines] == [True] * len(lines)
    assert "browser" not in shown.lower()
