"""The production override as far as it goes without Docker; the rest is `make compose-test ARGS=--production`."""

import fcntl
import os
import pty
import signal
import stat
import subprocess
import termios
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from core import config
from deploy.local import postgres
from deploy.local.postgres import Postgres
from tests.fakes import Bot

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "compose"
BASE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OVERRIDE = yaml.safe_load((HERE / "production.yml").read_text())
OURS = {"migrate", "webhook", "worker", "beat"}
STARTED = {name for name, service in OVERRIDE["services"].items() if "profiles" not in service}


def test_nothing_starts_that_the_override_does_not_speak_of():
    assert OVERRIDE["services"].keys() >= BASE["services"].keys()
    assert {"redis", "postgres", "backup", "caddy", *OURS} == STARTED


@pytest.mark.parametrize("name", sorted(OVERRIDE["services"].keys() - {"simulator", "inspect"}))
def test_a_service_is_hardened(name: str):
    service = OVERRIDE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["networks"]
    assert ("ports" in service) == (name in {"caddy", "grafana"})
    image = {**BASE["services"].get(name, {}), **service}["image"]
    assert name in OURS or ":" in image
    assert set(service.get("secrets", [])) <= OVERRIDE["secrets"].keys()


def test_however_busy_the_workers_are_the_webhook_acknowledges():
    assert BASE["services"]["webhook"]["cpu_shares"] >= 4096
    assert not {"cpu_shares"} & {*BASE["services"]["worker"], *OVERRIDE["services"]["worker"]}  # Docker's 1024


def test_alerts_have_a_way_out():
    assert OVERRIDE["services"]["prometheus"]["networks"] == ["data", "outside"]


def test_databases_have_no_way_out_and_no_port():
    assert OVERRIDE["networks"]["data"] == {"internal": True}
    for name in ("redis", "postgres", "backup"):
        assert OVERRIDE["services"][name]["networks"] == ["data"]
        assert "ports" not in BASE["services"].get(name, {})


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_processes_reach_a_database_that_stands_elsewhere(name: str):
    assert {"front", "outside"} & set(OVERRIDE["services"][name]["networks"])
    assert [OVERRIDE["networks"][network] for network in ("front", "outside")] == [None, None]


def test_bundled_databases_stay_away_where_one_has_others_and_their_dumps_with_them():
    services = OVERRIDE["services"] | BASE["services"]
    scales = {name: services[name]["scale"] for name in ("redis", "postgres", "backup")}
    assert scales == {
        "redis": "${BUNDLED_REDIS:-1}", "postgres": "${BUNDLED_POSTGRES:-1}", "backup": "${BUNDLED_POSTGRES:-1}",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_processes_read_secrets_from_files_and_know_every_variable(name: str):
    environment: dict[str, Any] = OVERRIDE["services"][name]["environment"]
    mounted = {f"/run/secrets/{secret}" for secret in OVERRIDE["services"][name]["secrets"]}
    files = {key: value for key, value in environment.items() if key.endswith("_FILE")}
    assert set(files.values()) == mounted
    for key in files:
        variable = key.removesuffix("_FILE")
        assert variable in config.SECRETS
        assert environment[variable] == ""  # what .env still holds is not passed on
    assert environment["SIMULATOR_INTERNAL_URL"] == ""


@pytest.mark.parametrize("name", sorted(OURS | {"inspect"}))
def test_the_cast_is_mounted_because_no_image_holds_private_personas(name: str):
    assert "prompts/*_system_prompt.txt" in (ROOT / ".dockerignore").read_text().splitlines()
    service = BASE["services"][name]
    assert service["volumes"] == ["${PROMPTS_DIR:-./prompts}:/app/prompts:ro"]
    assert "PROMPTS_DIR" not in service["environment"]  # a path of the host


@pytest.mark.parametrize("name", sorted(OURS | {"inspect"}))
def test_every_secret_may_be_a_file_beside_those_that_are_asked_for(name: str):
    assert OVERRIDE["services"][name]["volumes"] == [
        "${SECRETS_DIR:-./deploy/compose/secrets}/further:/run/secrets/further:ro"
    ]
    environment = {**BASE["services"][name]["environment"], **OVERRIDE["services"][name]["environment"]}
    assert {f"{secret}_FILE" for secret in config.SECRETS} - environment.keys() == {"BACKUP_DATABASE_URL_FILE"}


def secrets(directory: Path, given: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "SECRETS_DIR": str(directory)}
    return subprocess.run(
        ["sh", str(HERE / "secrets.sh")], env=environ, input=given, text=True, capture_output=True, check=False
    )


def test_secrets_are_made_once_and_lie_behind_a_closed_directory(tmp_path: Path):
    directory = tmp_path / "secrets"
    assert secrets(directory, "twilio's token\nsk-key\n").returncode == 0
    further = directory / "further"
    (further / "database_url").touch(mode=0o600)
    made = {path.name: path.read_text() for path in directory.iterdir() if path != further}
    assert made.keys() == OVERRIDE["secrets"].keys()
    assert (made["twilio_auth_token"], made["openai_api_key"]) == ("twilio's token", "sk-key")
    assert len(made["postgres_password"]) == 64
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE((directory / name).stat().st_mode) for name in made} == {0o444}
    assert secrets(directory, "").returncode == 0
    assert {name: (directory / name).read_text() for name in made} == made
    assert [stat.S_IMODE(path.stat().st_mode) for path in (further, further / "database_url")] == [0o755, 0o644]


def test_a_secret_that_was_not_given_is_asked_for(tmp_path: Path):
    done = secrets(tmp_path, "token alone\n")
    assert done.returncode == 1
    assert done.stderr.startswith("openai_api_key: nothing given")


def test_an_interrupt_at_a_question_leaves_a_terminal_that_shows_what_one_types(tmp_path: Path):
    ours, its = pty.openpty()
    environment = os.environ | {"SECRETS_DIR": str(tmp_path)}
    with subprocess.Popen(
        [str(HERE / "secrets.sh")], env=environment, stdin=its, stderr=its, stdout=its, start_new_session=True
    ) as asking:
        asked = b""
        while b"auth token" not in asked or termios.tcgetattr(its)[3] & termios.ECHO:
            asked += os.read(ours, 4096) if b"auth token" not in asked else b""
        os.killpg(asking.pid, signal.SIGINT)
        assert asking.wait(timeout=20) == 130
    assert termios.tcgetattr(its)[3] & termios.ECHO
    os.close(ours)
    os.close(its)


class Backups:
    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory / "backups"
        self.directory.mkdir()
        where = conninfo_to_dict(url)
        password = directory / "password"
        password.write_text(str(where["password"]))
        self.environ = {
            "PATH": f"{postgres.programs()}:{os.environ['PATH']}",
            "PGHOST": str(where["host"]), "PGPORT": str(where["port"]), "PGUSER": str(where["user"]),
            "PGDATABASE": str(where["dbname"]), "POSTGRES_PASSWORD_FILE": str(password),
            "BACKUP_DIR": str(self.directory), "BACKUP_KEEP": "2", "BACKUP_EVERY_S": "60", "BACKUP_TIMEOUT_S": "60",
        }  # fmt: skip

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(HERE.parent / "backup" / script), *arguments],
            env=self.environ | more,
            capture_output=True,
            text=True,
            check=False,
        )

    def drop(self, database: str) -> None:
        environ = self.environ | {"PGPASSWORD": Path(self.environ["POSTGRES_PASSWORD_FILE"]).read_text()}
        subprocess.run(["dropdb", "--if-exists", "--force", database], env=environ, check=True)

    def dumps(self) -> list[Path]:
        return sorted(self.directory.glob("*.dump*"))


@pytest.fixture
def backups(tmp_path: Path, database_url: str) -> Backups:
    return Backups(tmp_path, database_url)


def counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT relname FROM pg_stat_user_tables").fetchall()
        found = {
            table: connection.execute(f'SELECT count(*) FROM "{table}"'.encode()).fetchone() for (table,) in tables
        }
    return {table: row[0] for table, row in found.items() if row}


def test_a_dump_restores_into_an_empty_database_and_into_no_other(
    database_url: str, redis_url: str, tmp_path: Path, postgres_server: Postgres
):
    backups = Backups(tmp_path, database_url)
    with closing(Bot(database_url, redis_url)) as bot:
        bot.say("hello")
    made = backups.run("backup.sh", "once")
    assert made.returncode == 0, made.stderr
    try:
        restored = backups.run("restore.sh", "latest", "restored")
        assert restored.returncode == 0, restored.stderr
        told = {name: int(number) for name, number in map(str.split, restored.stdout.splitlines()[1:])}
        assert told == counts(database_url) == counts(postgres_server.database_url("restored"))
        assert told["messages"] >= 1
        again = backups.run("restore.sh", "latest", "restored")
        assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    finally:
        backups.drop("restored")


def test_the_newest_dumps_are_kept_and_no_half_of_one(backups: Backups):
    for name in ("20200101T000000Z.dump", "20200102T000000Z.dump", "20200103T000000Z.dump.partial"):
        (backups.directory / f"{backups.environ['PGDATABASE']}-{name}").touch()
    assert backups.run("backup.sh", "once").returncode == 0
    kept = [path.name for path in backups.dumps()]
    assert len(kept) == 2
    assert kept[0].endswith("-20200102T000000Z.dump")
    assert stat.S_IMODE(backups.dumps()[1].stat().st_mode) == 0o600


def test_a_database_without_tables_is_not_dumped(tmp_path: Path, empty_database_url: str):
    backups = Backups(tmp_path, empty_database_url)
    made = backups.run("backup.sh", "once")
    assert (made.returncode, "has no tables" in made.stderr) == (1, True)
    assert backups.dumps() == []


def test_under_another_name_of_the_database_the_newest_stay_and_are_the_latest(backups: Backups):
    old = [backups.directory / f"zzz-before-2020010{day}T000000Z.dump" for day in (1, 2, 3)]
    own = backups.directory / "before-upgrade.dump"  # made by hand: nobody's business
    for file in (*old, own):
        file.touch()
    assert backups.run("backup.sh", "once").returncode == 0
    assert backups.run("backup.sh", "check").returncode == 0
    (new,) = backups.directory.glob("test_*.dump")
    assert backups.dumps() == sorted([own, new, old[2]])
    try:
        restored = backups.run("restore.sh", "latest", "restored_anew")
        assert restored.stdout.startswith(f"restored {new.name} into"), restored.stderr
    finally:
        backups.drop("restored_anew")


def test_a_dump_made_by_hand_waits_for_the_one_that_runs(backups: Backups):
    half = backups.directory / f"{backups.environ['PGDATABASE']}-20200101T000000Z.dump.partial"
    half.touch()
    with (backups.directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = backups.run("backup.sh", "once", BACKUP_TIMEOUT_S="1")
        assert (refused.returncode, "another dump" in refused.stderr) == (1, True)
        assert half.exists()
    assert backups.run("backup.sh", "once").returncode == 0
    assert not half.exists()


def test_a_dump_that_fails_leaves_the_older_ones_and_says_so(backups: Backups):
    assert backups.run("backup.sh", "once").returncode == 0
    before = backups.dumps()
    assert backups.run("backup.sh", "once", PGPORT="1").returncode != 0
    assert [path for path in backups.dumps() if path.suffix == ".dump"] == before


def test_the_check_says_no_without_a_dump_and_with_an_old_one(backups: Backups):
    assert backups.run("backup.sh", "check").returncode == 1
    assert backups.run("backup.sh", "once").returncode == 0
    assert backups.run("backup.sh", "check").returncode == 0
    (dump,) = backups.dumps()
    os.utime(dump, (0, 0))
    assert backups.run("backup.sh", "check").returncode == 1
