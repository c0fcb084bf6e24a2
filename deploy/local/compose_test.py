"""`make compose-test`: builds the image and answers messages in containers. Needs python3 and Docker only."""

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
_UP_WITHIN_S: Final = 180
_REPLY_WITHIN_S: Final = 60
_PASSED_ON: Final = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_BUILDKIT", "XDG_RUNTIME_DIR")


class Compose:
    """One project of containers with a name of its own, without any .env and without our environment."""

    def __init__(self, empty_env_file: Path) -> None:
        self._ports: Final = {"PORT": str(free_port()), "SIMULATOR_PORT": str(free_port())}
        self._project: Final = f"sisterstest{os.getpid()}"
        self._command: Final = [*_compose(), "-p", self._project, "--env-file", str(empty_env_file)]
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
        while sick := [status for status in self._statuses() if "starting" in status or "unhealthy" in status]:
            if time.monotonic() > end:
                raise StartFailed(f"not healthy after {_UP_WITHIN_S} s: {len(sick)} containers")
            time.sleep(1)

    def _statuses(self) -> list[str]:
        label = f"label=com.docker.compose.project={self._project}"
        command = ["docker", "ps", "--filter", label, "--format", "{{.Status}}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603

    def converse(self, text: str) -> None:
        """Writes a message and waits for its reply. Raises: StartFailed."""
        seen = len(self.phone.replies(PERSON))
        started = time.monotonic()
        self.phone.write(PERSON, text)
        while len(replies := self.phone.replies(PERSON)) == seen:
            if time.monotonic() - started > _REPLY_WITHIN_S:
                raise StartFailed(f"no reply to {text!r} after {_REPLY_WITHIN_S} s")
            time.sleep(0.1)
        print(f"   {text}\n   {replies[-1]['body']}\n   after {time.monotonic() - started:.1f} s", flush=True)


def main() -> int:
    """Returns the exit code: 0 good, 1 not."""
    try:
        with tempfile.NamedTemporaryFile(suffix=".env") as empty:
            compose = Compose(Path(empty.name))
            compose.run("build")
            try:
                _answer_messages(compose)
            finally:
                compose.run("ps")
                compose.run("logs", "--tail", "20")
                compose.run("down", "-v")
    except (StartFailed, Refused, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    print("compose: a message was answered, also with four workers")
    return 0


def _answer_messages(compose: Compose) -> None:
    compose.run("up", "-d")
    compose.wait_until_up()
    compose.converse("Who knows about music?")
    compose.run("up", "-d", "--scale", "worker=4", "--no-recreate")
    compose.converse("What's a good sci-fi book?")
    compose.wait_until_healthy()


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
