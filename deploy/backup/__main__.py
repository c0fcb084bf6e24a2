"""`python -m deploy.backup` becomes backup.sh, told where the database is by the bot's own environment and secrets.

A password stands in the environment of pg_dump, never among its arguments, which everybody may read.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from psycopg.pq import Conninfo

from core.config import DatabaseSettings, Environment
from core.errors import ConfigurationError

SCRIPT: Final = Path(__file__).with_name("backup.sh")


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns PG*, as libpq's programs read them, for DATABASE_URL or POSTGRES_*. Raises: ConfigurationError."""
    given = Environment(environ)
    given.prefer("BACKUP_DATABASE_URL", instead_of="DATABASE_URL")
    settings = given.read(DatabaseSettings)
    given.check()
    if settings.pooler and not any(environ.get(f"BACKUP_DATABASE_URL{ending}") for ending in ("", "_FILE")):
        raise ConfigurationError([
            "BACKUP_DATABASE_URL: missing, and pg_dump must not go through a pooler; set it to Postgres' own address"
        ])  # fmt: skip
    options = Conninfo.parse(settings.conninfo.encode())
    said = {option.envvar.decode(): option.val.decode() for option in options if option.envvar and option.val}
    return {"PGDATABASE": said.get("PGUSER", "sisters"), "PGPASSWORD": ""} | said


def main(arguments: list[str]) -> NoReturn:
    """Becomes backup.sh; ends with 2 when it cannot."""
    try:
        told = variables(os.environ)
    except ConfigurationError as error:
        sys.exit(_cannot(str(error)))
    if not shutil.which("pg_dump"):
        sys.exit(_cannot("pg_dump is missing: no backup is made; Debian: apt-get install postgresql-client"))
    os.execve("/bin/sh", ["sh", str(SCRIPT), *arguments], dict(os.environ) | told)  # noqa: S606 - this is its shell


def _cannot(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main(sys.argv[1:])
