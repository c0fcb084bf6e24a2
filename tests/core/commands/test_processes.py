"""Work spread over processes: every result, and no process left when it is done with, interrupted or broken off."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from multiprocessing import active_children
from pathlib import Path

import click
import pytest

from core.commands.processes import spread

LARGE = "a" * 1_000_000
"""More than a pipe holds."""


def test_each_piece_has_its_result():
    pieces = [f"{number}{LARGE}" for number in range(7)]
    assert sorted(spread(str.upper, pieces)) == [each.upper() for each in pieces]
    assert active_children() == []


def test_no_piece_is_no_work():
    assert list(spread(str.upper, [])) == []


def test_who_has_enough_leaves_no_process_behind():
    with closing(spread(lambda each: time.sleep(each) or each, [0, 60, 60])) as results:
        assert next(results) == 0
        assert active_children() != []
    assert active_children() == []


def test_a_process_that_is_killed_is_told():
    def die(number: int) -> None:
        if number:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    with pytest.raises(click.ClickException, match=r"ended without a result \(exit code -9\)"):
        list(spread(die, [0, 1]))
    assert active_children() == []


def test_what_fails_is_told(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(click.ClickException, match=r"ended without a result \(exit code 1\)"):
        list(spread("kasho".index, ["botan"]))
    assert "ValueError: substring not found" in capfd.readouterr().err


INTERRUPTED = """
import os, signal, sys, time
from multiprocessing.context import ForkProcess
from core.commands.processes import spread

class Interrupted(ForkProcess):
    def start(self):
        if sys.argv[1] == "before":
            os.kill(os.getpid(), signal.SIGINT)
        super().start()
        if sys.argv[1] == "after":
            os.killpg(0, signal.SIGINT)

from multiprocessing.context import ForkContext
ForkContext.Process = Interrupted
try:
    list(spread(time.sleep, [60, 60]))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_while_a_process_starts_is_not_lost_and_ends_it(moment: str):
    command = [sys.executable, "-c", INTERRUPTED, moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0) as its:
        try:
            assert its.communicate(timeout=20)[0] == "interrupted\n"  # at its end: nobody else holds it open
        finally:
            with suppress(ProcessLookupError):
                os.killpg(its.pid, signal.SIGKILL)


def test_an_interrupt_at_any_moment_ends_all(tmp_path: Path):
    """Thirty moments within the 100 ms that it takes."""
    program = tmp_path / "program.py"
    program.write_text(
        "import time\n"
        "from core.commands.processes import spread\n"
        "print('begun', flush=True)\n"
        "list(spread(lambda each: time.sleep(0.02) or each, ['a' * 300_000] * 9))\n"
    )
    for moment in range(30):
        with subprocess.Popen(
            [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
        ) as its:
            try:
                assert its.stdout is not None
                its.stdout.readline()
                time.sleep(0.004 * moment)
                os.killpg(its.pid, signal.SIGINT)
                assert its.wait(timeout=20) in {-signal.SIGINT, 0}
                assert its.stdout.read() == ""
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(its.pid, signal.SIGKILL)
