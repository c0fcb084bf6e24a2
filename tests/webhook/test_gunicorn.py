"""The webhook as it runs: gunicorn by its own configuration, a real Redis, signed requests over a socket."""

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from core.adapters.redis_inbox import DOOR_THREADS, inboxes, person_key
from core.model import load_inbound
from deploy.local.redis import Redis
from tests.webhook.posting import PERSON, PUBLIC_URL, message_form, report_form, sign
from tests.webhook.serving import COMMAND, FORM, ROOT, Served, environ, serving


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """Stopped and started by a test here."""
    with Redis(log=tmp_path_factory.mktemp("redis") / "redis.log") as server:
        yield server


@pytest.fixture(scope="module")
def served(own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(own_redis.url, tmp_path_factory.mktemp("webhook")) as it:
        yield it


def test_a_signed_message_stands_in_redis_when_it_is_acknowledged(served: Served, own_redis: Redis):
    person = "whatsapp:+4915100000001"
    form = message_form(From=person, ExternalUserId=None, Body="it's 100% ö & 🌸\n+ =")
    assert served.post("/whatsapp?x=a%20b", form)[0] == 200
    assert served.post("/whatsapp/status?delivery=5", report_form())[0] == 200
    within = inboxes(own_redis.url)
    with closing(within):
        [entry] = within.read(person_key(person), limit=9).entries
        assert load_inbound(entry).text == form["Body"]
        assert len(within.read_reports(reader="r", limit=9)) == 1


def test_a_request_line_with_the_whole_address_is_understood(served: Served):
    body = urlencode(message_form()).encode()
    signature = sign(f"{PUBLIC_URL}/whatsapp?a=%3a", message_form())
    line = "POST http://inner:8000/whatsapp?a=%3a HTTP/1.1\r\nHost: x\r\n"
    head = f"{line}Content-Type: {FORM}\r\nX-Twilio-Signature: {signature}\r\n"
    answer = served.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 200")


def test_too_much_is_refused_also_without_a_length(served: Served):
    head = f"POST /whatsapp HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    assert served.raw(head + chunk * 5 + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert served.raw(head + chunk * 3 + b"0\r\n\r\n").startswith(b"HTTP/1.1 403")
    assert served.request("POST", "/whatsapp", b"x" * 300_000, {"Content-Type": FORM}).status == 413


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nab", b"ffffffffffffffffff\r\nx", b"2\r\nabXX0\r\n\r\n"])
def test_broken_chunks_are_the_clients_fault(served: Served, rest: bytes):
    head = f"POST /whatsapp HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert served.raw(head + rest).split(b" ")[1] in (b"400", b"403")


def test_who_stops_in_the_middle_does_not_keep_a_thread(served: Served):
    head = f"POST /whatsapp HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\nabc".encode()
    began = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(served.raw, [head] * 20))
    assert all(answer.startswith(b"HTTP/1.1 400") for answer in answers)
    assert time.monotonic() - began < 8


def trickled(port: int, head: bytes) -> bytes:
    """The answer to a body of which a piece comes every half second, for half a minute at most."""
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.sendall(head)
        for _ in range(60):
            if select.select([wire], [], [], 0.5)[0]:
                return wire.recv(65536)
            wire.sendall(b"1\r\nx\r\n")
    return b""


@pytest.mark.parametrize("length", ["Content-Length: 60000", "Content-Length: 200000", "Transfer-Encoding: chunked"])
def test_who_sends_a_little_now_and_then_does_not_keep_a_thread(served: Served, length: str):
    head = f"POST /whatsapp HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n{length}\r\n\r\n".encode()
    with ThreadPoolExecutor(DOOR_THREADS) as threads:
        answers = [threads.submit(trickled, served.port, head) for _ in range(DOOR_THREADS)]
        time.sleep(1)
        began = time.monotonic()
        assert served.post("/whatsapp", message_form())[0] == 200
        assert time.monotonic() - began < 4
    assert {answer.result().split(b" ")[1] for answer in answers} <= {b"400", b"413"}


@pytest.mark.parametrize("headers", [{"X-Forwarded-Proto": "http", "X-Forwarded-Ssl": "on"}, {"SCRIPT_NAME": "/x"}])
def test_headers_of_a_proxy_neither_help_nor_harm(served: Served, headers: dict[str, str]):
    assert served.request("GET", "/healthz", headers=headers).status == 200


def test_without_redis_everybody_gets_503_within_a_second_and_then_service_again(served: Served, own_redis: Redis):
    def post(number: int) -> tuple[int, float]:
        return served.post("/whatsapp", message_form(From=f"whatsapp:+49151{number:08}", ExternalUserId=None))

    with ThreadPoolExecutor(40) as threads:
        assert {status for status, _ in threads.map(post, range(40))} == {200}
        for stop, start in (
            (own_redis.stop, own_redis.start),
            (lambda: os.kill(own_redis.pid, signal.SIGSTOP), lambda: os.kill(own_redis.pid, signal.SIGCONT)),
        ):
            stop()
            try:
                answers = list(threads.map(post, range(120)))
                ready = served.request("GET", "/readyz")
            finally:
                start()
            assert {status for status, _ in answers} == {503}
            assert max(seconds for _, seconds in answers) < 1.0
            assert (ready.status, json.loads(ready.body)["redis"]) == (503, False)
            end = time.monotonic() + 5
            while post(1)[0] != 200:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert served.request("GET", "/readyz").status == 200


def test_its_log_is_json_without_texts_and_addresses(served: Served):
    served.request("POST", "/whatsapp?From=%2B4915112345678", b"Body=secret", {"Content-Type": FORM})
    served.raw(b"GET /\x01+4915112345678 HTTP/1.1\r\n\r\n")
    told = served.log.read_text()
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines
    assert {line["process"] for line in lines} == {"webhook"}
    assert "access" not in {line["logger"] for line in lines}
    for secret in ("4915112345678", PERSON, "secret", "100%", "13491208655302741918"):
        assert secret not in told


def test_an_access_log_is_json_and_only_where_asked_for(redis_url: str, tmp_path: Path):
    with serving(redis_url, tmp_path, ACCESS_LOG="1") as served:
        served.request("POST", "/whatsapp?From=%2B4915112345678", b"Body=secret", {"Content-Type": FORM})
        served.request("GET", f"/{PERSON}?x=1")
    lines = [line for line in map(json.loads, served.log.read_text().splitlines()) if line["logger"] == "access"]
    assert {(line["method"], line["path"], line["status"]) for line in lines} == {
        ("GET", "/healthz", 200), ("POST", "/whatsapp", 403), ("GET", "/[address]", 404),
    }  # fmt: skip
    assert all(line["ms"] >= 0 for line in lines)


def test_several_processes_count_together(redis_url: str, tmp_path: Path):
    with serving(redis_url, tmp_path, WEB_CONCURRENCY="2", TMPDIR=str(tmp_path)) as served:
        with ThreadPoolExecutor(20) as threads:
            posts = list(threads.map(served.post, ["/whatsapp"] * 60, [message_form()] * 60))
        assert {status for status, _ in posts} == {200}
        metrics = served.request("GET", "/metrics").body
        assert "sisters_webhook_messages_total 60.0" in metrics.splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["webhook.log"]


def test_wrong_configuration_ends_with_2_and_one_line_a_problem(tmp_path: Path):
    settings = environ("http://x", 1, PUBLIC_URL="", TWILIO_AUTH_TOKEN="", WEB_CONCURRENCY="2", TMPDIR=str(tmp_path))
    ended = subprocess.run(COMMAND, cwd=ROOT, env=settings, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert [line.split(":")[0] for line in ended.stderr.decode().splitlines()] == [
        "PUBLIC_URL", "REDIS_URL", "TWILIO_AUTH_TOKEN",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []
