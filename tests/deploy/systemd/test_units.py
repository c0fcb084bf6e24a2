"""The unit files as systemd itself reads them: valid, never root, stopped in time, shut off from the rest."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[3] / "deploy" / "systemd"
OURS = (
    "sisters-webhook.service",
    "sisters-worker@1.service",
    "sisters-beat.service",
    "sisters-migrate.service",
    "sisters-trial.service",
    "sisters-proof@live.service",
    "sisters-backup.service",
)
LASTING = OURS[:3]
EXPOSURE_AT_MOST = 20
"""In tenths: systemd counts 2.0 so."""
pytestmark = pytest.mark.debian("systemd-analyze")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory with our units beside Debian's own, and a file wherever a unit names a program."""
    root = tmp_path_factory.mktemp("root")
    etc = root / "etc/systemd/system"
    shutil.copytree(UNITS, etc, ignore=shutil.ignore_patterns("sysusers.conf"))
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    for unit in etc.glob("*.service"):
        for program in re.findall(r"^Exec\w+=(/\S+)", unit.read_text(), re.MULTILINE):
            stand_in = root / program.removeprefix("/")
            stand_in.parent.mkdir(parents=True, exist_ok=True)
            stand_in.touch(mode=0o755)
    return root


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    environ = os.environ | {"SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_COLORS": "0"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def setting(host: Path, unit: str, name: str) -> list[str]:
    """Every value of a setting, those of the drop-in that all share included."""
    etc = host / "etc/systemd/system"
    files = [etc / re.sub(r"@\w+\.", "@.", unit), *sorted((etc / "sisters-.service.d").glob("*.conf"))]
    return [value for file in files for value in re.findall(rf"^{name}=(.*)$", file.read_text(), re.MULTILINE)]


def test_systemd_finds_nothing_to_say_about_them(host: Path):
    names = [str(path) for path in sorted((host / "etc/systemd/system").glob("*.*")) if path.is_file()]
    assert len(names) == 11
    verified = analyze("verify", "--man=no", f"--root={host}", *names)
    about_ours = [line for line in verified.stderr.splitlines() if "sisters" in line]
    assert (verified.returncode, about_ours) == (0, []), verified.stderr


def test_a_wrong_line_is_noticed(host: Path):
    wrong = host / "etc/systemd/system/sisters-wrong.service"
    wrong.write_text("[Service]\nExecStart=/no/such/program\nRestrt=always\n")
    verified = analyze("verify", "--man=no", f"--root={host}", str(wrong))
    wrong.unlink()
    assert "Restrt" in verified.stderr
    assert verified.returncode != 0


@pytest.mark.parametrize("unit", [*OURS, "settle-sisters.service"])
def test_their_exposure_is_two_at_most(host: Path, unit: str):
    asked = ("security", "--offline=true", f"--root={host}", f"--threshold={EXPOSURE_AT_MOST}", unit)
    score = analyze(*asked)
    assert score.returncode == 0, score.stdout
    assert "exposure" in score.stdout
    # The threshold itself can refuse.
    assert analyze(*asked[:-2], "--threshold=5", unit).returncode != 0


@pytest.mark.parametrize("unit", OURS)
def test_none_runs_as_root(host: Path, unit: str):
    table = analyze("security", "--offline=true", f"--root={host}", "--json=short", unit)
    [identity] = [row for row in json.loads(table.stdout) if row["json_field"] == "UserOrDynamicUser"]
    assert identity["set"] is True
    assert setting(host, unit, "User") == ["sisters"]


@pytest.mark.parametrize("unit", LASTING)
def test_what_lasts_comes_back_after_two_seconds_and_stops_in_time(host: Path, unit: str):
    assert setting(host, unit, "Restart") == ["always"]
    assert setting(host, unit, "RestartSec") == ["2"]
    assert setting(host, unit, "StartLimitIntervalSec") == ["0"]
    assert setting(host, unit, "TimeoutStopSec") == ["55"]  # LLM_TIMEOUT_S is 45 unless set
    assert setting(host, unit, "WantedBy") == ["sisters.target"]
    assert {"postgresql.service", "redis-server.service"} <= set(" ".join(setting(host, unit, "After")).split())


def test_however_busy_the_workers_are_the_webhook_acknowledges(host: Path):
    (webhook,) = setting(host, "sisters-webhook.service", "CPUWeight")
    assert int(webhook) >= 1000
    assert setting(host, "sisters-worker@1.service", "CPUWeight") == []  # systemd's 100


def test_the_user_has_neither_shell_nor_home(tmp_path: Path):
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "sysusers.conf")], check=True, timeout=30)
    name, _, uid, _, _, home, shell = (tmp_path / "etc/passwd").read_text().splitlines()[-1].split(":")
    assert (name, home, shell) == ("sisters", "/", "/usr/sbin/nologin")
    assert 0 < int(uid) < 1000
