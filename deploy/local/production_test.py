"""`make compose-test ARGS=--production`: the production override for real, with a simulator and plain HTTP at Caddy."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from deploy.local.child import StartFailed, free_port
from deploy.local.compose_test import ROOT, Compose, text_of
from deploy.local.loopback import Refused
from deploy.local.stack import SIMULATED_TWILIO

FILES: Final = ("docker-compose.yml", "deploy/compose/production.yml", "deploy/compose/test.yml")
IMAGE_AT_MOST: Final = 350 * 1000 * 1000
KILLED: Final = ("redis", "postgres", "webhook", "worker", "beat", "backup", "caddy")
OPEN_TO_ALL: Final = {"caddy"}
WRITERS: Final = 8
_SETTLES_WITHIN_S: Final = 240
_BACK_WITHIN_S: Final = 120


class Production(Compose):
    """The three files as one project, its secrets in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        secrets = directory / "secrets"
        token, key = SIMULATED_TWILIO["TWILIO_AUTH_TOKEN"], "simulated"
        made = subprocess.run(  # noqa: S603 - our own script
            ["/bin/sh", str(ROOT / "deploy/compose/secrets.sh")],
            env={"PATH": os.environ["PATH"], "SECRETS_DIR": str(secrets)},
            input=f"{token}\n{key}\n",
            text=True,
            capture_output=True,
            check=False,
        )
        if made.returncode:
            raise StartFailed(f"secrets.sh: {made.stderr}")
        settings = directory / "env"
        given = {
            "TWILIO_ACCOUNT_SID": SIMULATED_TWILIO["TWILIO_ACCOUNT_SID"],
            "TWILIO_WHATSAPP_NUMBER": SIMULATED_TWILIO["TWILIO_WHATSAPP_NUMBER"],
            "TWILIO_BASE_URL": "http://simulator:8099",
            "OPENAI_BASE_URL": "http://simulator:8099/v1",
            "PUBLIC_URL": "http://bot.test",
            "INSPECT_TOKEN": "inspect-token-of-this-test",
            "SECRETS_DIR": str(secrets),
            "CADDY_IMAGE": _caddy(directory),
            "BACKUP_EVERY_S": "10",
            "BACKUP_KEEP": "2",
            "COMPOSE_PROFILES": "simulator",
            "HTTP_PORT": f"127.0.0.1:{free_port()}",
            "HTTPS_PORT": f"127.0.0.1:{free_port()}",
        }
        settings.write_text("".join(f"{name}={value}\n" for name, value in given.items()), encoding="utf-8")
        super().__init__(settings, files=FILES)

    def containers(self) -> Mapping[str, Mapping[str, Any]]:
        """What Docker tells of each running container, by its id."""
        ids = text_of(["docker", "ps", "-q", "--no-trunc", "--filter", self.label]).split()
        return {told["Id"]: told for told in json.loads(text_of(["docker", "inspect", *ids]))} if ids else {}

    def of(self, service: str) -> Sequence[Mapping[str, Any]]:
        """The running containers of a service."""
        return [told for told in self.containers().values() if _service(told) == service]

    def inside(self, service: str, *command: str) -> str:
        """Runs a command in a service's container and returns what it prints. Raises: StartFailed."""
        (told, *_) = self.of(service)
        return text_of(["docker", "exec", told["Id"], *command])

    def audit(self, *more: str) -> dict[str, Any]:
        """What `sisters audit` says, whatever its exit code."""
        (told, *_) = self.of("webhook")
        done = subprocess.run(  # noqa: S603 - our own command
            ["docker", "exec", told["Id"], "sisters", "audit", *more],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise StartFailed(f"sisters audit: {done.stderr or done.stdout}") from None


def check_production() -> None:
    """Raises: StartFailed, Refused, OSError, subprocess.SubprocessError when anything is not as promised."""
    with tempfile.TemporaryDirectory(prefix="sisters-production-") as name:
        production = Production(Path(name))
        production.run("config", "-q")
        production.run("build")
        _check_image()
        try:
            production.run("up", "-d")
            production.wait_until_up()
            production.wait_until_healthy()
            production.converse("Who knows about music?")
            _check_hardening(production)
            for service in KILLED:
                _survive_sigkill(production, service)
            _scale_under_load(production)
            _restore(production)
        finally:
            production.run("ps")
            production.run("logs", "--tail", "20")
            production.run("down", "-v")


def _check_image() -> None:
    size = int(text_of(["docker", "image", "inspect", "--format", "{{.Size}}", "sisters-on-whatsapp"]))
    print(f"   the image has {size / 1e6:.0f} MB", flush=True)
    if size > IMAGE_AT_MOST:
        raise StartFailed(f"the image has {size} bytes, more than {IMAGE_AT_MOST}")
    listed = text_of(["docker", "run", "--rm", "--entrypoint", "ls", "sisters-on-whatsapp", "/app/deploy"]).split()
    if unwanted := {"backup", "compose", "local", "kubernetes"} & set(listed):
        raise StartFailed(f"the image carries {sorted(unwanted)}")


def _check_hardening(production: Production) -> None:
    """As Docker tells it of the running containers, not as the files say."""
    problems: list[str] = []
    for told in production.containers().values():
        service, host = _service(told), told["HostConfig"]
        if service == "simulator":
            continue
        wanted = {
            "a read-only root": host["ReadonlyRootfs"],
            "no capabilities": host["CapDrop"] == ["ALL"],
            "no new privileges": "no-new-privileges:true" in (host["SecurityOpt"] or []),
            "a memory limit": host["Memory"] > 0,
            "a limit of processes": (host["PidsLimit"] or 0) > 0,
            "no secret in its environment": not [
                entry for entry in told["Config"]["Env"] for secret in _SECRETS if secret in entry
            ],
        }
        problems += [f"{service}: {what}" for what, is_so in wanted.items() if not is_so]
        published: list[dict[str, str]] = [to for ports in _bindings(host) for to in ports]
        if service in {"redis", "postgres", "worker", "beat", "backup"} and published:
            problems.append(f"{service}: no published port")
        if service not in OPEN_TO_ALL and any(to["HostIp"] != "127.0.0.1" for to in published):
            problems.append(f"{service}: published on loopback only")
    if problems:
        raise StartFailed("not so: " + "; ".join(sorted(problems)))
    for service in ("webhook", "worker", "beat"):
        if production.inside(service, "id", "-u").strip() == "0":
            raise StartFailed(f"{service} runs as root")
    print("   every container is hardened", flush=True)


_SECRETS: Final = (SIMULATED_TWILIO["TWILIO_AUTH_TOKEN"], "OPENAI_API_KEY=s", "POSTGRES_PASSWORD=s")


def _survive_sigkill(production: Production, service: str) -> None:
    """Kills the main process from outside, as the kernel would; `docker kill` Docker takes for the user's wish."""
    (told, *_) = production.of(service)
    os.kill(told["State"]["Pid"], signal.SIGKILL)
    began = time.monotonic()

    def is_back() -> bool:
        return any(
            now["Id"] == told["Id"] and now["State"]["Pid"] not in (0, told["State"]["Pid"])
            for now in production.of(service)
        )

    _wait(is_back, _BACK_WITHIN_S, f"{service} is back")
    production.converse("What's a good sci-fi book?")
    print(f"   {service}: killed, back, and a message answered after {time.monotonic() - began:.1f} s", flush=True)


def _scale_under_load(production: Production) -> None:
    """One worker, then four, then one again, while people write; afterwards every message is answered or merged."""
    before = production.audit()
    stop = threading.Event()
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(_write, production, f"+1555011{n:04d}", stop) for n in range(WRITERS)]
        try:
            for workers in (4, 1):
                time.sleep(5)
                production.run("up", "-d", "--no-recreate", "--scale", f"worker={workers}", "worker")
                if (there := len(production.of("worker"))) != workers:
                    raise StartFailed(f"{there} workers instead of {workers}")
            time.sleep(5)
        finally:
            stop.set()
        written = sum(writer.result() for writer in writers)

    def ended() -> int:
        now = production.audit()
        return sum(now[end] - before[end] for end in ("answered", "merged"))

    # More than that where one that never arrived was found in Twilio's log meanwhile.
    _wait(lambda: ended() >= written, _SETTLES_WITHIN_S, f"{written} messages answered or merged")
    # What Redis, killed before, kept from arriving is in Twilio's log alone; a worker reads it every two minutes.
    production.inside("worker", "sisters", "catch-up", "--since", "1h")
    bad: dict[str, Any] = {}

    def is_well() -> bool:
        bad.clear()
        bad.update(_breaches(production.audit("--against-provider", "--since", "1h")))
        return not bad

    try:
        _wait(is_well, _SETTLES_WITHIN_S, "sisters audit finds nothing")
    except StartFailed as failed:
        raise StartFailed(f"{failed}: {bad}") from None
    print(f"   scaled to 4 workers and back: all {written} messages written meanwhile ended well", flush=True)


def _breaches(audit: Mapping[str, Any]) -> Mapping[str, Any]:
    counts = ("refused", "failed", "open", "stuck", "out_of_order", "lost", "doubled", "foreign", "missing")
    return {key: audit[key] for key in counts if audit.get(key)}


def _write(production: Production, person: str, stop: threading.Event) -> int:
    written = 0
    while not stop.is_set():
        production.phone.write(person, f"Question {written} about streaming")
        written += 1
        stop.wait(0.7)
    return written


def _restore(production: Production) -> None:
    """All that writes is stopped: the next dump restores into an empty database with the same rows in each table."""
    production.run("stop", "webhook", "worker", "beat")
    production.inside("backup", "sh", "/backup.sh", "once")
    told = production.inside("backup", "sh", "/restore.sh", "latest", "restored")
    counts = dict(line.split() for line in told.splitlines()[1:])
    original = {table: _count(production, table) for table in counts}
    if counts != original or not int(counts.get("messages", "0")):
        raise StartFailed(f"restored {counts} instead of {original}")
    kept = [name for name in production.inside("backup", "ls", "/backups").split() if name.endswith(".dump")]
    if len(kept) != 2:  # noqa: PLR2004 - BACKUP_KEEP
        raise StartFailed(f"{len(kept)} dumps are kept instead of 2")
    try:
        production.inside("backup", "sh", "/restore.sh", "latest", "restored")
    except StartFailed as refused:
        if "is not empty" not in str(refused):
            raise
    else:
        raise StartFailed("a database with rows was restored into")
    print(f"   restored into an empty database: {counts['messages']} messages, {len(counts)} tables alike", flush=True)


def _count(production: Production, table: str) -> str:
    ask = f'SELECT count(*) FROM "{table}"'  # noqa: S608 - names of our own tables
    return production.inside("postgres", "psql", "-U", "sisters", "-d", "sisters", "-XAtc", ask).strip()


def _caddy(directory: Path) -> str:
    """Caddy's own image, or one made of this machine's caddy where there is no registry."""
    if subprocess.run(["docker", "image", "inspect", "caddy:2.10"], capture_output=True, check=False).returncode == 0:  # noqa: S607
        return "caddy:2.10"
    if not (program := shutil.which("caddy")):
        return "caddy:2.10"  # Docker fetches it, or says that it cannot
    context = directory / "caddy"
    context.mkdir()
    shutil.copy(program, context / "caddy")
    (context / "Dockerfile").write_text(
        "FROM python:3.12-slim\nCOPY caddy /usr/bin/caddy\nENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data\n"
        'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]\n',
        encoding="utf-8",
    )
    text_of(["docker", "build", "-q", "-t", "sisters-test-caddy", str(context)])
    return "sisters-test-caddy"


def _bindings(host: Mapping[str, Any]) -> Sequence[Sequence[dict[str, str]]]:
    bindings: Mapping[str, Sequence[dict[str, str]]] = host["PortBindings"] or {}
    return list(bindings.values())


def _service(told: Mapping[str, Any]) -> str:
    return told["Config"]["Labels"]["com.docker.compose.service"]


def _wait(done: Callable[[], bool], within_s: float, what: str) -> None:
    end = time.monotonic() + within_s
    while not _is_done(done):
        if time.monotonic() > end:
            raise StartFailed(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.5)


def _is_done(done: Callable[[], bool]) -> bool:
    try:
        return done()
    except (StartFailed, Refused, OSError, subprocess.SubprocessError):
        return False
