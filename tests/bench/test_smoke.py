"""Each benchmark runs from end to end, for seconds: what it measures then says nothing, that it measures does."""

import os

import pytest

from tests.bench.__main__ import PARTS, main


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
def test_the_benchmark_runs(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = os.sched_getaffinity(0)
    assert main(["--smoke", part]) == 0
    table = capsys.readouterr().out
    assert "| figure | measured | limit |" in table
    assert table.count("\n| ") > 2
    assert os.sched_getaffinity(0) == before


def test_an_unknown_part_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert "acknowledge" in capsys.readouterr().err
