"""Each benchmark runs from end to end, for seconds: what it measures then says nothing, that it measures does."""

import subprocess
import sys

import pytest

from deploy.local.stack import ROOT
from tests.bench.__main__ import PARTS, main


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
def test_the_benchmark_runs(part: str) -> None:
    """In a process of its own, as `make bench` runs it: it pins itself to a core and keeps connections."""
    command = [sys.executable, "-m", "tests.bench", "--smoke", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    assert "| figure | measured | limit |" in done.stdout
    assert done.stdout.count("\n| ") > 2


def test_an_unknown_part_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert "acknowledge" in capsys.readouterr().err
