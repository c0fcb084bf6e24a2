import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([ROOT / ".ci/run", *ROOT.glob("deploy/**/*.sh"), *ROOT.glob("tests/**/*.sh")])


@pytest.mark.debian("shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_shellcheck_finds_nothing(script: Path):
    checked = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--env"], "--env needs a value"),
        (["--prompts"], "--prompts needs a value"),
        (["--ssh-config", ""], "--ssh-config needs a value"),
        (["--keep", "all"], "--keep: should be a number from 1 to 999"),
        (["--workers", "2", "bot"], "--workers goes with --setup"),
        (["--env", "/nowhere", "bot"], "/nowhere cannot be read"),
        (["bot", "other"], "one HOST only"),
        (["--never"], "unknown option --never"),
        ([], "usage: deploy.sh"),
    ],
)
def test_wrong_use_of_deploy_sh_ends_with_2_and_says_why(arguments: list[str], told: str):
    command = [str(ROOT / "deploy/vps/deploy.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert told in done.stderr


def test_what_ci_installs_beside_the_rest_is_installed_into_a_checkout_that_is_ready(tmp_path: Path):
    makefile = shutil.copy(ROOT / "Makefile", tmp_path)
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", Path(makefile).read_text(), re.MULTILINE)
    for name in ("pyproject.toml", "uv.lock", f".cache/uv-{version}/bin/uv", ".venv/.installed"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    make = ["make", "--dry-run", "-C", str(tmp_path), "install"]
    ready, more = (
        subprocess.run([*make, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout
        for arguments in ([], ["SYNC=--group manifests"])
    )
    assert "sync" not in ready
    assert "sync --frozen --quiet --compile-bytecode --group manifests" in more
