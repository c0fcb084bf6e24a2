import os
import stat
import subprocess
import sys
from pathlib import Path

from deploy.local.scratch import fresh_directory

_MAKE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from deploy.local.scratch import fresh_directory
print(fresh_directory("server", Path(sys.argv[1])), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _left_by_a_killed_run(parent: Path) -> Path:
    run = subprocess.run([sys.executable, "-c", _MAKE_AND_DIE, str(parent)], capture_output=True, check=False)
    return Path(run.stdout.decode().strip())


def test_a_directory_is_fresh_and_private(tmp_path: Path):
    directory = fresh_directory("server", tmp_path)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert fresh_directory("server", tmp_path) != directory
    assert directory.exists()


def test_what_a_killed_run_left_goes_when_the_next_one_starts(tmp_path: Path):
    old = _left_by_a_killed_run(tmp_path)
    assert old.exists()
    fresh_directory("server", tmp_path)
    assert not old.exists()


def test_a_pid_that_another_process_bears_now_does_not_keep_it(tmp_path: Path):
    old = _left_by_a_killed_run(tmp_path)
    (old / "owner").write_text(f"{os.getpid()} 1")
    fresh_directory("server", tmp_path)
    assert not old.exists()


def test_what_is_not_ours_stays(tmp_path: Path):
    others = [tmp_path / "sisters-server-mine", tmp_path / "sisters-other-x", tmp_path / "server-y"]
    for other in others:
        other.mkdir()
    (others[1] / "owner").write_text("999999999 1")
    fresh_directory("server", tmp_path)
    assert all(other.exists() for other in others)
