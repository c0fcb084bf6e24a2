import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ENTRYPOINT = Path(__file__).resolve().parents[2] / "deploy" / "entrypoint.sh"
COMPOSED = {
    "PATH": "/usr/bin:/bin",
    "SIMULATOR_INTERNAL_URL": "http://simulator:8099",
    "WEBHOOK_INTERNAL_URL": "http://webhook:8000",
}
REAL_TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "real",
    "TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155238886",
    "PUBLIC_URL": "https://bot.example.com",
}


def _run(environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ENTRYPOINT), *(command or ("env",))], env=environ, capture_output=True, text=True, check=False
    )


def _environment(**environ: str) -> dict[str, str]:
    run = _run(COMPOSED | environ)
    assert run.returncode == 0, run.stderr
    return dict(line.split("=", 1) for line in run.stdout.splitlines())


def test_a_cast_that_its_user_cannot_read_is_told_with_what_to_do():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in (root, root / "deploy", root / "prompts"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        entrypoint = shutil.copy(ENTRYPOINT, root / "deploy")
        persona = root / "prompts/a_system_prompt.txt"
        persona.touch()
        command, nobody = ["sh", str(entrypoint), "true"], 65534 if os.geteuid() == 0 else None
        for mode, code in ((0o644, 0), (0o000, 2)):
            persona.chmod(mode)
            run = subprocess.run(command, env={"PATH": os.defpath}, user=nobody, capture_output=True, check=False)
            assert (run.returncode, b"chmod -R a+rX prompts" in run.stderr) == (code, code == 2)


def test_with_nothing_set_everything_is_simulated():
    given = _environment(TWILIO_ACCOUNT_SID="", OPENAI_API_KEY="", PUBLIC_URL="")
    assert given["TWILIO_BASE_URL"] == "http://simulator:8099"
    assert given["OPENAI_BASE_URL"] == "http://simulator:8099/v1"
    assert given["PUBLIC_URL"] == "http://webhook:8000"
    assert all(given[name] for name in REAL_TWILIO)


def test_with_a_key_only_the_model_is_real():
    given = _environment(OPENAI_API_KEY="sk-real", OPENAI_BASE_URL="")
    assert given["OPENAI_API_KEY"] == "sk-real"
    assert given["OPENAI_BASE_URL"] == ""
    assert given["TWILIO_BASE_URL"] == "http://simulator:8099"


def test_with_twilio_and_a_model_nothing_is_simulated():
    given = _environment(**REAL_TWILIO, OPENAI_API_KEY="sk-real", TWILIO_BASE_URL="")
    assert {name: given[name] for name in REAL_TWILIO} == REAL_TWILIO
    assert given["TWILIO_BASE_URL"] == ""


@pytest.mark.parametrize("model", [{}, {"OPENAI_API_KEY": ""}])
def test_real_twilio_with_a_simulated_model_is_refused_in_one_line(model: dict[str, str]):
    run = _run(COMPOSED | REAL_TWILIO | model)
    assert run.returncode == 2
    assert run.stderr.startswith("OPENAI_API_KEY: missing")
    assert len(run.stderr.splitlines()) == 1


def test_a_token_without_its_account_is_refused_and_not_silently_simulated():
    run = _run(COMPOSED | {"TWILIO_AUTH_TOKEN": "real"})
    assert run.returncode == 2
    assert run.stderr.startswith("TWILIO_ACCOUNT_SID: missing")


def test_without_a_simulator_beside_it_the_image_changes_nothing():
    run = _run({"PATH": "/usr/bin:/bin", "TWILIO_ACCOUNT_SID": ""})
    assert run.returncode == 0
    assert "TWILIO_BASE_URL" not in run.stdout


def test_only_where_all_is_simulated_the_inspector_has_a_published_token():
    assert _environment(INSPECT_TOKEN="")["INSPECT_TOKEN"] == "simulated-inspect-token"
    assert _environment(INSPECT_TOKEN="mine")["INSPECT_TOKEN"] == "mine"
    assert _environment(**REAL_TWILIO, OPENAI_API_KEY="sk-real", INSPECT_TOKEN="")["INSPECT_TOKEN"] == ""


def test_with_a_real_account_and_no_token_the_inspector_ends_in_peace():
    run = _run(COMPOSED | REAL_TWILIO | {"OPENAI_API_KEY": "sk-real"}, "sisters", "inspect")
    assert run.returncode == 0
    assert run.stdout.startswith("INSPECT_TOKEN: not set")
