import socket
from pathlib import Path

import pytest

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from deploy.local.child import free_port
from deploy.local.demo import CONVERSATION, Line, main, read_conversation
from deploy.local.stack import ROOT


def test_the_conversation_expects_every_member_of_the_shipped_cast():
    person, lines = read_conversation(CONVERSATION)
    assert person.startswith("+")
    assert {line.expect for line in lines} == set(load_cast(DEFAULT_PROMPTS).characters)


def test_a_conversation_is_read_from_its_file(tmp_path: Path):
    file = tmp_path / "conversation.toml"
    file.write_text('person = "+15550100009"\n[[lines]]\nsay = "hi"\nexpect = "rosa"\n', encoding="utf-8")
    assert read_conversation(file) == ("+15550100009", [Line(say="hi", expect="rosa")])


def test_a_taken_simulator_port_is_said_before_anything_starts(capsys: pytest.CaptureFixture[str]):
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert main(["--once"], {"SIMULATOR_PORT": str(port)}) == 1
    assert capsys.readouterr().err.strip().startswith("SIMULATOR_PORT: something listens")


@pytest.mark.parametrize("wrong", ["web", "0", "65536", "-1", "\u0663"])
def test_a_port_that_is_no_port_number_is_said(wrong: str, capsys: pytest.CaptureFixture[str]):
    assert main(["--once"], {"PORT": wrong}) == 1
    assert capsys.readouterr().err.strip() == "PORT: should be a port number, 1 to 65535"


def test_wrong_usage_is_said(capsys: pytest.CaptureFixture[str]):
    assert main(["--twice"], {}) == 2
    assert "usage:" in capsys.readouterr().err


def test_no_characters_name_stands_in_its_code():
    names = {name.lower() for c in load_cast(DEFAULT_PROMPTS).characters.values() for name in (c.id, c.name)}
    code = {path: path.read_text(encoding="utf-8").lower() for path in (ROOT / "deploy").rglob("*.py")}
    assert not [(path.name, name) for path, text in code.items() for name in names if name in text]
