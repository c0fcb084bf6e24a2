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
