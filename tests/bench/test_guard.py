"""A driver or stand-in without time left fails its part, and no other."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.figures import Figure
from tests.bench.guard import SHARE_AT_MOST, Guard, Look, NotMeasured


def before(guard: Guard, *, standin_s: float, driver_s: float, seconds: float = 10) -> Look:
    """A look so many seconds ago, since when these have used so much."""
    now = guard.look()
    used = {"stand-in": now.cpu_s["stand-in"] - standin_s, "driver": now.cpu_s["driver"] - driver_s}
    return replace(now, at=now.at - seconds, cpu_s=used)


def test_who_had_no_time_left_was_what_was_measured() -> None:
    guard = Guard(os.getpid())
    guard.judge(before(guard, standin_s=3, driver_s=4))
    with pytest.raises(NotMeasured, match="the stand-in used"):
        guard.judge(before(guard, standin_s=9, driver_s=0))
    with pytest.raises(NotMeasured, match="the driver used"):
        guard.judge(before(guard, standin_s=0, driver_s=9))
    with pytest.raises(NotMeasured, match="the driver used"):
        guard.tell("driver", SHARE_AT_MOST + 0.01)
    guard.judge(before(guard, standin_s=0, driver_s=9), drives=False)


def test_what_is_too_short_to_judge_is_judged_with_what_follows() -> None:
    guard = Guard(os.getpid())
    guard.judge(before(guard, standin_s=0.01, driver_s=0, seconds=0.001))
    assert not guard.rows("peer")
    guard.judge(before(guard, standin_s=0.3, driver_s=0, seconds=0.6))
    standin, _ = guard.rows("peer")
    assert standin.value == pytest.approx(52, abs=2)
    guard.judge(before(guard, standin_s=0.3, driver_s=0, seconds=0.3))
    with pytest.raises(NotMeasured, match="the stand-in used"):
        guard.judge(before(guard, standin_s=0.3, driver_s=0, seconds=0.3))


def test_the_rows_tell_the_most_that_each_used() -> None:
    guard = Guard(os.getpid())
    for share in (0.2, 0.5, 0.3):
        guard.tell("driver", share)
    (row,) = guard.rows("burst")
    assert (row.name, row.value) == ("burst: of its core the driver used at most", 50)


def test_a_part_that_fails_takes_no_other_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def guarded() -> Sequence[Figure]:
        raise NotMeasured("the stand-in used 93% of its core")

    def broken() -> Sequence[Figure]:
        raise ConnectionError("gone")

    def good() -> Sequence[Figure]:
        return [Figure(name="rate", unit="1/s", rounds=[5.0])]

    assert main([], parts={"guarded": guarded, "broken": broken, "good": good}, out=tmp_path) == 1
    told = capsys.readouterr()
    assert "| rate | 5 1/s |" in told.out
    assert "- guarded: the stand-in used 93% of its core\n- broken: ConnectionError: gone\n" in told.out
    assert "Traceback" in told.err
    kept = json.loads((tmp_path / "latest.json").read_text())
    assert [figure["name"] for figure in kept["figures"]] == ["rate"]
    assert set(kept["failed"]) == {"guarded", "broken"}
    assert main(["good"], parts={"good": good}, out=tmp_path) == 0
