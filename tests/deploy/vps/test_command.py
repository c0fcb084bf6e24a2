"""What a command on the server is given: the processes' environment, and their secrets out of the files."""

from pathlib import Path

from deploy.vps.command import environment


def test_lines_quotes_comments_and_secrets_are_read(tmp_path: Path):
    file, secrets = tmp_path / "env", tmp_path / "secrets"
    file.write_text(
        "# a comment\n\n; another\nPORT=8000\n HOST = 127.0.0.1 \n"
        "PUBLIC_URL=\"https://bot.example.com\"\nOPENAI_MODEL='m'\nEMPTY=\nDATABASE_URL=postgresql://u:p=w@h/d\n"
        'LLM_PROVIDERS=[{"name": "a", "model": "m"}]\n'
    )
    secrets.mkdir()
    (secrets / "TWILIO_AUTH_TOKEN").write_text("hush\n")
    assert environment(file, secrets) == {
        "PORT": "8000",
        "HOST": "127.0.0.1",
        "PUBLIC_URL": "https://bot.example.com",
        "OPENAI_MODEL": "m",
        "EMPTY": "",
        "DATABASE_URL": "postgresql://u:p=w@h/d",
        "LLM_PROVIDERS": '[{"name": "a", "model": "m"}]',
        "TWILIO_AUTH_TOKEN": "hush",
    }


def test_no_directory_of_secrets_is_no_secret(tmp_path: Path):
    (tmp_path / "env").write_text("PORT=8000\n")
    assert environment(tmp_path / "env", tmp_path / "secrets") == {"PORT": "8000"}
