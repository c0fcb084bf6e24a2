import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploy.local.child import free_port
from deploy.simulator.server import start
from deploy.simulator.settings import Settings
from tests.deploy.simulator.world import World

TOKEN = "t-1"


class Inspect:
    """Stands where `sisters inspect` does."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer: tuple[int, bytes] = (200, b'{"ok": true}')
        inspect = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                inspect.asked.append((self.command, self.path, body))
                right = self.headers.get("Authorization") == f"Bearer {TOKEN}" or self.path == "/healthz"
                status, content = inspect.answer if right else (401, b"{}")
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def inspect() -> Iterator[Inspect]:
    inspect = Inspect()
    thread = threading.Thread(target=inspect.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield inspect
    inspect.server.shutdown()
    thread.join()
    inspect.server.server_close()


def asking(url: str, token: str, *, calls: list[tuple[str, str, Any]]) -> list[tuple[int, Any]]:
    """Returns what a simulator with these settings answers to each call."""

    def fetch(world: World) -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = []
        for method, path, body in calls:
            raw = b"" if body is None else json.dumps(body).encode()
            status, _, content = world.raw(method, path, raw, {"Content-Type": "application/json"})
            found.append((status, json.loads(content)))
        return found

    async def run() -> list[tuple[int, Any]]:
        simulator = await start(Settings(port=0, inspect_url=url, inspect_token=token))
        try:
            world = World(url=simulator.url, bot=None, twilio=None, openai=None)  # type: ignore[arg-type]
            return await asyncio.to_thread(fetch, world)
        finally:
            await simulator.stop()

    return asyncio.run(run())


def test_calls_are_passed_on_with_the_token_and_the_answer_comes_back(inspect: Inspect):
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/simulator/inspect/timeline/SM12", None),
        ("GET", "/simulator/inspect/timeline/..%2Fcast", None),
        ("GET", "/simulator/inspect/cast", None),
        ("POST", "/simulator/inspect/route", {"lines": []}),
        ("POST", "/simulator/inspect/evaluate", {"lines": []}),
        ("GET", "/simulator/status", None),
    ]
    answers = asking(inspect.url, TOKEN, calls=calls)
    assert [status for status, _ in answers] == [200] * 6
    assert answers[0][1] == {"ok": True}
    assert answers[-1][1]["inspect"] is True
    assert [(method, path) for method, path, _ in inspect.asked] == [
        ("GET", "/timeline/SM12"),
        ("GET", "/timeline/..%2Fcast"),
        ("GET", "/cast"),
        ("POST", "/route"),
        ("POST", "/evaluate"),
        ("GET", "/healthz"),
    ]
    assert json.loads(inspect.asked[3][2]) == {"lines": []}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((404, b'{"error": "nothing"}'), 404),
        ((400, b'{"error": "lines"}'), 400),
        ((413, b'{"error": "too much"}'), 413),
        ((500, b"oops"), 502),
        ((200, b"<html>"), 502),
        ((302, b"{}"), 502),
    ],
)
def test_its_own_refusals_come_back_and_what_is_no_answer_does_not(
    inspect: Inspect, answer: tuple[int, bytes], expected: int
):
    inspect.answer = answer
    ((status, body),) = asking(inspect.url, TOKEN, calls=[("GET", "/simulator/inspect/cast", None)])
    assert status == expected
    assert body["error"]


def test_a_wrong_token_and_none_at_all_say_what_to_do(inspect: Inspect):
    for token in ("wrong", ""):
        ((status, body),) = asking(inspect.url, token, calls=[("GET", "/simulator/inspect/cast", None)])
        assert status == 502
        assert "INSPECT_TOKEN" in body["error"]


def test_nobody_there_says_so():
    url = f"http://127.0.0.1:{free_port()}"
    calls: list[tuple[str, str, Any]] = [("GET", "/simulator/inspect/cast", None), ("GET", "/simulator/status", None)]
    (status, body), (_, about) = asking(url, TOKEN, calls=calls)
    assert status == 502
    assert "sisters inspect" in body["error"]
    assert about["inspect"] is False
