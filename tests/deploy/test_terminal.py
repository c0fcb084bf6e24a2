import sys

import pytest

from deploy import terminal


def test_no_message_commands_the_terminal(capsys: pytest.CaptureFixture[str]):
    terminal.said_by_person("red \x1b[31malert\x07 \u202eback\x9b2J")
    terminal.said_by_bot("clear \x1b[2J\tand\rbell\x00")
    shown = capsys.readouterr().out
    assert not {char for char in shown if char != "\n" and (char < " " or "\x7f" <= char <= "\x9f")}
    assert "\u241b[31malert\u2407" in shown
    assert "\u202e" not in shown


def test_bold_is_bold_where_a_person_watches_and_as_it_came_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    reply = "*Name\U0001f3b5*: 2*3*4 and *two words* but * not this *"
    terminal.said_by_bot(reply)
    assert capsys.readouterr().out == f"\n{reply}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal.said_by_bot(reply)
    assert capsys.readouterr().out == (
        "\n\x1b[1mName\U0001f3b5\x1b[0m: 2*3*4 and \x1b[1mtwo words\x1b[0m but * not this *\n"
    )
