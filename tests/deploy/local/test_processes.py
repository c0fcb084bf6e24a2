import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.local.child import Child, StartFailed, free_port
from deploy.local.processes import Processes

_SERVER = "import sys; from http.server import *; ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()"  # noqa: E501
_DEAF = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def processes(logs: Path, tmp_path: Path) -> Iterator[Processes]:
    with Processes(directory=tmp_path, logs=logs) as processes:
        yield processes


def test_a_process_is_ready_once_its_url_answers(processes: Processes):
    port = free_port()
    processes.start("server", [sys.executable, "-c", _SERVER, str(port)], {})
    processes.wait_for("server", f"http://127.0.0.1:{port}/")
    assert processes["server"].running


def test_all_end_at_once_and_who_does_not_listen_is_killed(processes: Processes, logs: Path):
    for name in ("one", "two", "three"):
        processes.start(name, [sys.executable, "-c", _DEAF], {})
    children = [processes[name] for name in ("one", "two", "three")]
    while not all("up" in (logs / f"{name}.log").read_text() for name in ("one", "two", "three")):
        time.sleep(0.02)
    started = time.monotonic()
    processes.stop_all(timedelta(seconds=0.5))
    assert time.monotonic() - started < 1.5
    assert not any(child.running for child in children)


def test_leaving_the_block_by_an_exception_ends_everything(tmp_path: Path, logs: Path):
    children: list[Child] = []

    def interrupted() -> None:
        with Processes(directory=tmp_path, logs=logs) as processes:
            children.append(processes.start("sleep", ["sleep", "60"], {"PATH": "/usr/bin:/bin"}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not children[0].running


def test_a_process_that_ended_by_itself_is_named_with_its_log(processes: Processes):
    processes.start("beat", [sys.executable, "-c", "import sys; print('no broker'); sys.exit(2)"], {})
    while processes["beat"].running:
        time.sleep(0.02)
    with pytest.raises(StartFailed, match=r"(?s)beat ended with exit code 2.*no broker"):
        processes.check()


def test_a_process_that_was_stopped_is_not_missed(processes: Processes):
    processes.start("worker", ["sleep", "60"], {"PATH": "/usr/bin:/bin"})
    processes.stop("worker")
    processes.check()


def test_what_somebody_killed_is_started_again_as_it_was(processes: Processes, logs: Path):
    started = processes.start("worker", [sys.executable, "-c", "import os; print(os.environ['A'])"], {"A": "turns"})
    while started.running:
        time.sleep(0.02)
    assert processes.revive(lived=timedelta(0)) == [("worker", 0)]
    processes["worker"].wait_until(
        lambda: (logs / "worker.log").read_text() == "turns\nturns\n", within=timedelta(seconds=20), name="worker"
    )


def test_what_cannot_live_is_not_started_for_ever(processes: Processes):
    processes.start("beat", [sys.executable, "-c", "print('no broker')"], {})
    while processes["beat"].running:
        time.sleep(0.02)
    with pytest.raises(StartFailed, match=r"(?s)beat ended with exit code 0.*no broker"):
        processes.revive()


def test_a_command_that_fails_is_said_and_one_that_works_is_forgotten(processes: Processes):
    with pytest.raises(StartFailed, match="migrate ended with exit code 1"):
        processes.run("migrate", ["false"], {"PATH": "/usr/bin:/bin"}, within=timedelta(seconds=20))
    processes.run("other", ["true"], {"PATH": "/usr/bin:/bin"}, within=timedelta(seconds=20))
    with pytest.raises(KeyError):
        processes["other"]
