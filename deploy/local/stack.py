"""The whole system on one machine: which processes there are, how each finds the others, and how they start."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.phone import Phone
from deploy.local.processes import Processes

ROOT: Final = Path(__file__).resolve().parents[2]
SIMULATED_TWILIO: Final = {
    "TWILIO_ACCOUNT_SID": "AC51573251573251573251573251573251",
    "TWILIO_AUTH_TOKEN": "simulated-auth-token",
    "TWILIO_WHATSAPP_NUMBER": "whatsapp:+15550006000",
}
"""What the simulator takes when it is told nothing else; published on purpose, it opens nothing."""
_REPLACED: Final = ("TWILIO_", "POSTGRES_", "DATABASE_", "REDIS_", "BROKER_", "PUBLIC_", "SIMULATOR_", "INSPECT_")
_KEPT: Final = ("TWILIO_BASE_URL", "SIMULATOR_LLM_LATENCY_MS", "SIMULATOR_ALLOWED_HOSTS")
_MODEL_NAMES: Final = ("OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "LLM_PROVIDERS", "LLM_PROVIDERS_FILE")


def has_real_model(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a model of its own: then that is asked, and everything else stays simulated."""
    return any(environ.get(name, "").strip() for name in _MODEL_NAMES)


def local_environment(
    environ: Mapping[str, str],
    *,
    database_url: str,
    redis_url: str,
    webhook_port: int,
    simulator_port: int,
    inspect_port: int = 8001,
    inspect_token: str = "simulated-inspect-token",  # noqa: S107 - published; who shows texts to nobody else makes one
) -> dict[str, str]:
    """The environment of all processes: `environ`, but Twilio is always the simulator, whatever account it names.

    TWILIO_BASE_URL and OPENAI_BASE_URL stay when given, so that a proxy can stand between the bot and the simulator.
    Simulator and inspector share their token.
    """
    simulator = f"http://127.0.0.1:{simulator_port}"
    kept = {k: v for k, v in environ.items() if k in _KEPT or not k.startswith(_REPLACED)}
    model = {} if has_real_model(environ) else {"OPENAI_BASE_URL": f"{simulator}/v1", "OPENAI_API_KEY": "simulated"}
    defaults = {"TWILIO_BASE_URL": simulator, **model}
    fixed = {
        **SIMULATED_TWILIO,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOST": "127.0.0.1",
        "PORT": str(webhook_port),
        "PUBLIC_URL": f"http://127.0.0.1:{webhook_port}",
        "SIMULATOR_HOST": "127.0.0.1",
        "SIMULATOR_PORT": str(simulator_port),
        "INSPECT_PORT": str(inspect_port),
        "INSPECT_URL": f"http://127.0.0.1:{inspect_port}",
        "INSPECT_TOKEN": inspect_token,
        "NO_PROXY": ",".join(filter(None, [environ.get("NO_PROXY", ""), "127.0.0.1,localhost"])),
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **{k: v for k, v in kept.items() if v}, **fixed}


class Stack:
    """Simulator, webhook, workers, beat and inspector, each a real process. Everything stops with the `with` block."""

    def __init__(self, environ: Mapping[str, str], *, logs: Path) -> None:
        self.environ: Final = dict(environ)
        self.processes: Final = Processes(directory=ROOT, logs=logs)
        self.webhook_url: Final = f"http://127.0.0.1:{environ['PORT']}"
        self.phone: Final = Phone(f"http://127.0.0.1:{environ['SIMULATOR_PORT']}")

    def __enter__(self) -> Self:
        self.processes.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.__exit__(kind, error, trace)

    def migrate(self) -> None:
        """Brings the database to this release's schema."""
        self.processes.run("migrate", [_sisters(), "migrate"], self.environ, within=timedelta(seconds=90))

    def start_simulator(self) -> None:
        """Starts Twilio's and OpenAI's stand-in; `wait_until_ready` waits for it."""
        self.processes.start("simulator", [sys.executable, "-m", "deploy.simulator"], self.environ)

    def start_webhook(self) -> None:
        """Starts gunicorn; `wait_until_ready` waits for it."""
        self.processes.start("webhook", [_sisters(), "webhook"], self.environ)

    def start_worker(self, name: str = "worker", *, concurrency: int = 50) -> None:
        """Starts a worker. It need not be waited for: what comes before it is up waits in the inboxes."""
        self.processes.start(name, [_sisters(), "worker", "--concurrency", str(concurrency)], self.environ)

    def start_beat(self) -> None:
        """Starts the timer."""
        self.processes.start("beat", [_sisters(), "beat"], self.environ)

    def start_inspect(self) -> None:
        """Starts what the simulator's page looks behind the chat with; the page does without until it is up."""
        self.processes.start("inspect", [_sisters(), "inspect"], self.environ)

    def operate(self, *arguments: str) -> tuple[int, str]:
        """Runs one of the operator's commands to its end; returns its exit code and what it printed."""
        done = subprocess.run(  # noqa: S603 - our own command
            [_sisters(), *arguments],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout or done.stderr

    def wait_until_ready(self) -> None:
        """Returns once simulator and webhook answer.

        Raises: StartFailed.
        """
        self.processes.wait_for("simulator", f"{self.phone.url}/healthz")
        self.processes.wait_for("webhook", f"{self.webhook_url}/readyz")

    def start(self, *, workers: int = 1, concurrency: int = 50) -> None:
        """Starts everything with `workers` workers ("worker", "worker-2", ...) and waits until it is ready."""
        self.migrate()
        self.start_simulator()
        self.start_webhook()
        for number in range(1, workers + 1):
            self.start_worker("worker" if number == 1 else f"worker-{number}", concurrency=concurrency)
        self.start_beat()
        self.wait_until_ready()


def _sisters() -> str:
    """The command of the environment that this runs in."""
    return str(Path(sys.executable).with_name("sisters"))
