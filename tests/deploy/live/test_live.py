"""`make live`: the whole way with a stand-in for ngrok and for Twilio's list of senders."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from core.config import SANDBOX_NUMBER, TwilioSettings
from core.errors import ConfigurationError
from deploy.live import __main__ as live
from deploy.live.ngrok import open_tunnel
from deploy.live.sender import addresses
from deploy.live.settings import twilio_of, with_dotenv
from deploy.local.child import StartFailed, free_port
from deploy.local.processes import Processes
from deploy.local.stack import ROOT
from tests.deploy.live.twilio_senders import LIST, SID, Senders, sender, serving
from tests.webhook.posting import ACCOUNT, TOKEN, message_form, sign

NUMBER = "whatsapp:+15551230000"
RETRIES = "#rc=3&rp=5xx,ct,rt&ct=2000&rt=4000&tt=15000"
TO = addresses("https://bot.example.com/")


@pytest.fixture
def twilio() -> Iterator[Senders]:
    with serving(sender("whatsapp:+15550000001") | {"sid": "XE" + "2" * 32}, sender(NUMBER)) as state:
        yield state


def settings(twilio: Senders, number: str = NUMBER) -> TwilioSettings:
    names = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_WHATSAPP_NUMBER": number}
    return TwilioSettings.model_validate(names | {"TWILIO_BASE_URL": twilio.url})


def test_both_addresses_carry_twilios_retries():
    assert TO.message == f"https://bot.example.com/whatsapp{RETRIES}"
    assert TO.status == f"https://bot.example.com/whatsapp/status{RETRIES}"


def test_with_a_yes_the_senders_addresses_are_set_and_nothing_else(twilio: Senders, capsys: pytest.CaptureFixture[str]):
    live.tell_twilio(settings(twilio), TO, agreed=True)
    [(path, body)] = twilio.updates
    assert path == f"{LIST}/{SID}"
    assert body == {
        "webhook": {
            "callback_url": TO.message, "callback_method": "POST",
            "status_callback_url": TO.status, "status_callback_method": "POST",
            "fallback_url": "https://spare.example.com",
        }
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "https://old.example.com/in" in said
    assert "Set." in said


def test_without_a_yes_nothing_is_set(
    twilio: Senders, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
    live.tell_twilio(settings(twilio), TO, agreed=False)
    sys.stdin.close()
    assert twilio.updates == []
    assert "nothing was changed" in capsys.readouterr().out


def test_what_is_set_already_is_left_alone(twilio: Senders):
    twilio.senders[1] = sender(NUMBER, callback_url=TO.message, status_callback_url=TO.status)
    live.tell_twilio(settings(twilio), TO, agreed=True)
    assert twilio.updates == []


@pytest.mark.parametrize("case", ["sandbox", "no such sender", "refused", "away"])
def test_what_cannot_be_set_is_told_to_be_pasted(twilio: Senders, capsys: pytest.CaptureFixture[str], case: str):
    ours = settings(twilio, SANDBOX_NUMBER if case == "sandbox" else NUMBER)
    if case == "no such sender":
        twilio.senders.clear()
    if case == "refused":
        twilio.fails_with = 401
    if case == "away":
        ours = ours.model_copy(update={"base_url": f"http://127.0.0.1:{free_port()}"})
    live.tell_twilio(ours, TO, agreed=True)
    said = capsys.readouterr().out
    assert twilio.updates == []
    assert TO.message in said
    assert TO.status in said
    assert TOKEN not in said


def test_the_environment_wins_over_the_file(tmp_path: Path):
    (tmp_path / ".env").write_text("# A=1\nA=\"two words\"\nB=\n export C=3\nD=x=y\nE='q'\n")
    read = with_dotenv({"D": "ours", "E": ""}, tmp_path / ".env")
    assert read == {"A": "two words", "C": "3", "D": "ours", "E": "q"}


def test_a_missing_account_or_model_is_told_by_name():
    with pytest.raises(ConfigurationError) as error:
        twilio_of({})
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "LLM_PROVIDERS", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_WHATSAPP_NUMBER",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "problem"),
    [({}, "NGROK_AUTHTOKEN: missing"), ({"NGROK_AUTHTOKEN": "2abc", "PATH": "/nowhere"}, "ngrok: not found")],
)
def test_without_ngrok_or_its_token_it_says_where_to_get_them(tmp_path: Path, environ: dict[str, str], problem: str):
    with Processes(directory=tmp_path, logs=tmp_path) as processes, pytest.raises(StartFailed, match=problem):
        open_tunnel(processes, environ, port=8000)


def test_from_ngrok_to_a_message_that_is_acknowledged(twilio: Senders, tmp_path: Path):
    port, api = free_port(), f"http://127.0.0.1:{free_port()}"
    (tmp_path / "ngrok").symlink_to(Path(__file__).with_name("fake_ngrok.py"))
    (tmp_path / ".env").write_text(
        f"TWILIO_ACCOUNT_SID={ACCOUNT}\nTWILIO_AUTH_TOKEN={TOKEN}\nTWILIO_WHATSAPP_NUMBER={NUMBER}\n"
        f"TWILIO_BASE_URL={twilio.url}\nOPENAI_API_KEY=k\nOPENAI_BASE_URL=http://127.0.0.1:9/v1\nNGROK_AUTHTOKEN=2abc\n"
    )
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("TWILIO_", "OPENAI_", "LLM_"))}
    environ = outside | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "DOTENV": str(tmp_path / ".env"), "PORT": str(port),
        "NGROK_API_URL": api,
    }  # fmt: skip
    said = tmp_path / "said"
    with said.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "deploy.live", "--yes"], cwd=ROOT, env=environ, stdout=log)
    try:
        end = time.monotonic() + 100
        while "Set." not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.1)
        assert twilio.updates[0][1]["webhook"]["callback_url"] == f"https://1234.ngrok-free.app/whatsapp{RETRIES}"
        form = message_form(To=NUMBER)
        headers = {"X-Twilio-Signature": sign("https://1234.ngrok-free.app/whatsapp", form)}
        request = Request(f"http://127.0.0.1:{port}/whatsapp", urlencode(form).encode(), headers)
        with urlopen(request, timeout=10) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(80) == 0, said.read_text()
