"""What tells backup.sh on a server where the database is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from deploy.backup.__main__ import variables
from deploy.local import postgres

ROOT = Path(__file__).resolve().parents[2]


def test_an_address_becomes_variables_of_libpq():
    assert variables({"DATABASE_URL": "postgresql://u:p%40w@h:6543/d?sslmode=require"}) == {
        "PGUSER": "u", "PGPASSWORD": "p@w", "PGHOST": "h", "PGPORT": "6543", "PGDATABASE": "d", "PGSSLMODE": "require",
    }  # fmt: skip
    assert variables({"DATABASE_URL": "postgresql://u@h"}) == {
        "PGUSER": "u", "PGPASSWORD": "", "PGHOST": "h", "PGDATABASE": "u",
    }  # fmt: skip


def test_a_password_in_a_file_and_parts_are_known(tmp_path: Path):
    (tmp_path / "password").write_text("hush\n")
    given = variables({"POSTGRES_HOST": "h", "POSTGRES_PASSWORD_FILE": str(tmp_path / "password")})
    assert given == {"PGHOST": "h", "PGDATABASE": "sisters", "PGUSER": "sisters", "PGPASSWORD": "hush"}


def test_a_pooler_is_not_dumped_through(tmp_path: Path):
    behind = {"DATABASE_URL": "postgresql://pooler/d", "DATABASE_POOLER": "transaction"}
    with pytest.raises(ConfigurationError, match="BACKUP_DATABASE_URL"):
        variables(behind)
    assert variables(behind | {"BACKUP_DATABASE_URL": "postgresql://straight/d"})["PGHOST"] == "straight"
    (tmp_path / "url").write_text("postgresql://of-a-file/d")
    assert variables(behind | {"BACKUP_DATABASE_URL_FILE": str(tmp_path / "url")})["PGHOST"] == "of-a-file"


def backup(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.backup", "once"]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_it_dumps_what_the_bot_writes_to(tmp_path: Path, database_url: str):
    path = f"{postgres.programs()}:{os.environ['PATH']}"
    done = backup({"PATH": path, "DATABASE_URL": database_url, "BACKUP_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (dump,) = tmp_path.glob("*.dump")
    assert f"dumped {dump.name}, " in done.stdout


def test_without_pg_dump_it_says_what_to_install(tmp_path: Path):
    done = backup({"PATH": str(tmp_path), "DATABASE_URL": "postgresql://h/d", "BACKUP_DIR": str(tmp_path)})
    assert (done.returncode, "apt-get install postgresql-client" in done.stderr) == (2, True)
