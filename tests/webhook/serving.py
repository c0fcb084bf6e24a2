"""The webhook as it runs, for tests: gunicorn by its own configuration, and whoever calls it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from deploy.local.child import free_port
from tests.webhook.posting import ACCOUNT, NUMBER, PUBLIC_URL, TOKEN, sign

ROOT = Path(__file__).resolve().parents[2]
FORM = "application/x-www-form-urlencoded"


@dataclass
class Answer:
    status: int
    body: str


@dataclass
class Served:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        whole = Answer(answer.status, answer.read().decode())
        connection.close()
        return whole

    def post(self, path: str, form: dict[str, str]) -> tuple[int, float]:
        headers = {"Content-Type": FORM, "X-Twilio-Signature": sign(PUBLIC_URL + path, form)}
        began = time.monotonic()
        return self.request("POST", path, urlencode(form).encode(), headers).status, time.monotonic() - began

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 10) as wire:
            wire.sendall(data)
            answer = b""
            while chunk := wire.recv(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    return answer
        return answer


def environ(redis_url: str, port: int, **more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"} | {
        "PUBLIC_URL": PUBLIC_URL, "PORT": str(port), "REDIS_URL": redis_url, "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_WHATSAPP_NUMBER": NUMBER, **more,
    }  # fmt: skip


COMMAND = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "deploy/gunicorn.conf.py")]


@contextmanager
def serving(redis_url: str, directory: Path, **more: str) -> Generator[Served]:
    port, log = free_port(), directory / "webhook.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=environ(redis_url, port, **more), stdout=output, stderr=output
        )
    served = Served(port, process, log)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                served.request("GET", "/healthz")
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
        yield served
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, log.read_text()
