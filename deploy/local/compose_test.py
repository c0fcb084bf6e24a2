"""`make compose-test`: builds the image and answers messages in containers. Needs python3 and Docker only.

With ARGS=--production the production override is tried instead (see production_test).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.local.child import StartFailed, free_port
from deploy.local.loopback import Refused, reachable
from deploy.local.phone import Phone

ROOT: Final = Path(__file__).resolve().parents[2]
PERSON: Final = "+15550100002"
_UP_WITHIN_S: Final = 300
_REPLY_WITHIN_S: Final = 240
"""A worker that starts anew needs most of it where the machine is busy."""
_PASSED_ON: Final = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_BUILDKIT", "XDG_RUNTIME_DIR")


class Compose:
    """One project of containers with a name of its own, without any .env and without our environment."""

    def __init__(self, env_file: Path, *, files: Sequence[str] = ()) -> None:
        """`files` instead of docker-compose.yml alone."""
        self._ports: Final = {"PORT": str(free_port()), "SIMULATOR_PORT": str(free_port())}
        self._project: Final = f"sisterstest{os.getpid()}"
        named = [part for file in files for part in ("-f", file)]
        self._command: Final = [*_compose(), "-p", self._project, "--env-file", str(env_file), *named]
        self.label: Final = f"label=com.docker.compose.project={self._project}"
        self.phone: Final = Phone(f"http://127.0.0.1:{self._ports['SIMULATOR_PORT']}")

    def run(self, *arguments: str) -> None:
        """Runs a compose command and lets its output through. Raises: StartFailed."""
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | self._ports
        print(f"-- {' '.join(arguments)}", flush=True)
        if subprocess.run([*self._command, *arguments], cwd=ROOT, env=environ, check=False).returncode:  # noqa: S603
            raise StartFailed(f"compose {' '.join(arguments)} failed")

    def wait_until_up(self) -> None:
        """Returns once the simulator answers and reaches the webhook. Raises: StartFailed."""
        end = time.monotonic() + _UP_WITHIN_S
        while not reachable(f"{self.phone.url}/healthz") or not reachable(
            f"http://127.0.0.1:{self._ports['PORT']}/readyz"
        ):
            if time.monotonic() > end:
                raise StartFailed(f"simulator or webhook does not answer after {_UP_WITHIN_S} s")
            time.sleep(0.5)

    def wait_until_healthy(self) -> None:
        """Returns once every container that has a healthcheck passed it. Raises: StartFailed."""
        end = time.monotonic() + _UP_WITHIN_S
        while sick := self._sick():
            if time.monotonic() > end:
                told = "\n".join(f"{name}: {_last_check(name)}" for name in sick)
                raise StartFailed(f"not healthy after {_UP_WITHIN_S} s:\n{told}")
            time.sleep(1)

    def _sick(self) -> list[str]:
        listed = text_of(["docker", "ps", "--filter", self.label, "--format", "{{.Names}} {{.Status}}"]).splitlines()
        return [line.split()[0] for line in listed if "starting" in line or "unhealthy" in line]

    def converse(self, text: str) -> None:
        """Writes a message and waits for its reply. Raises: StartFailed."""
        seen = len(self.phone.replies(PERSON))
        started = time.monotonic()
        while not self.phone.inbound(PERSON, text)["acknowledged"]:  # refused at once four times: not up yet
            if time.monotonic() - started > _REPLY_WITHIN_S:
                raise StartFailed(f"{text!r} was not acknowledged within {_REPLY_WITHIN_S} s")
            time.sleep(1)
        while len(replies := self.phone.replies(PERSON)) == seen:
            if time.monotonic() - started > _REPLY_WITHIN_S:
                raise StartFailed(f"no reply to {text!r} after {_REPLY_WITHIN_S} s")
            time.sleep(0.1)
        print(f"   {text}\n   {replies[-1]['body']}\n   after {time.monotonic() - started:.1f} s", flush=True)


def main() -> int:
    """Returns the exit code: 0 good, 1 not."""
    try:
        if "--production" in sys.argv[1:]:
            from deploy.local.production_test import check_production  # it builds on this module

            check_production()
        else:
            _check_base()
    except (StartFailed, Refused, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    print("compose: all as promised")
    return 0


def _check_base() -> None:
    with tempfile.NamedTemporaryFile(suffix=".env") as empty:
        compose = Compose(Path(empty.name))
        compose.run("build")
        try:
            _answer_messages(compose)
        finally:
            compose.run("ps")
            compose.run("logs", "--tail", "20")
            compose.run("down", "-v")


def _answer_messages(compose: Compose) -> None:
    compose.run("up", "-d")
    compose.wait_until_up()
    compose.converse("Who knows about music?")
    compose.run("up", "-d", "--scale", "worker=4", "--no-recreate")
    compose.converse("What's a good sci-fi book?")
    compose.wait_until_healthy()


def _last_check(container: str) -> str:
    """What its healthcheck printed the last time."""
    wanted = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}\n{{end}}"
    checks = text_of(["docker", "inspect", "--format", wanted, container]).strip()
    return checks.splitlines()[-1] if checks else "not checked yet"


def text_of(command: Sequence[str]) -> str:
    """Runs a command and returns what it prints. Raises: StartFailed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603
    if done.returncode:
        raise StartFailed(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _compose() -> Sequence[str]:
    docker = shutil.which("docker")
    if docker is None:
        raise StartFailed("docker: not found; make compose-test needs Docker with its compose")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:  # noqa: S603
        return [docker, "compose"]
    if old := shutil.which("docker-compose"):
        return [old]
    raise StartFailed("docker compose: not found; install it (Debian: apt-get install docker-compose)")


if __name__ == "__main__":
    sys.exit(main())
