import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import core


def told(root: Path) -> str:
    command = [sys.executable, "-c", "import core; print(core.__version__)"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_a_release_is_told_with_its_id_and_a_checkout_without(tmp_path: Path):
    (tmp_path / "core").mkdir()
    shutil.copy(core.__file__, tmp_path / "core")
    assert told(tmp_path) == version("sisters")
    (tmp_path / "RELEASE").write_text("20261125-154108-12adeff\n")
    assert told(tmp_path) == f"{version('sisters')}+20261125-154108-12adeff"
