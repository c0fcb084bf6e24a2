"""A real browser before the real system: Debian's chromium, everything else as `make demo` starts it."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, expect, sync_playwright

from deploy.local.loopback import call
from tests.browser.chromium import ARGUMENTS, EXECUTABLE
from tests.browser.seat import Seat
from tests.system.conftest import running_system
from tests.system.running import System

LLM_LATENCY_MS = 1000
"""The demo's own: long enough to see somebody type."""
WITHIN_MS = 20_000
"""How long anything on the page may take on a busy machine."""
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
"""chromium's word when an interface of the machine came or went meanwhile; the page asks again."""
OWED = """
SELECT 'turn' AS what FROM turns WHERE finished_at IS NULL
UNION ALL SELECT 'delivery' FROM deliveries WHERE state IN ('waiting', 'sending', 'unknown')
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for all tests of a file."""
    latency = {"SIMULATOR_LLM_LATENCY_MS": str(LLM_LATENCY_MS)}
    with running_system(tmp_path_factory.mktemp("system"), latency) as system:
        system.stack.start_inspect()
        system.stack.processes.wait_for("inspect", f"{system.stack.environ['INSPECT_URL']}/healthz")
        yield system


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        yield browser
        browser.close()


class Strictness:
    """What no page of ours may do: complain in the console, raise, or ask another host for anything."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.allowed = [NETWORK_CHANGED]
        """Parts of complaints that nobody here is to blame for, or that a test provokes on purpose."""
        self._complaints: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._heard)
        context.on("weberror", lambda error: self._complaints.append(f"raised: {error.error}"))
        context.on("request", self._asked)

    def complaints(self) -> list[str]:
        return [c for c in self._complaints if not any(part in c for part in self.allowed)]

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != self._host:
            self._complaints.append(f"asked another host: {request.url}")


@pytest.fixture
def strictness(system: System) -> Iterator[Strictness]:
    strictness = Strictness(system.stack.phone.url)
    yield strictness
    assert strictness.complaints() == []


def rest(system: System) -> None:
    """Waits until the bot owes nobody anything, so that no late answer comes into the next test's phones."""
    call("PUT", f"{system.stack.phone.url}/simulator/faults", {})
    system.wait_until(lambda: not system.rows(OWED), within_s=90, what="a bot at rest")


@pytest.fixture
def context(browser: Browser, system: System, strictness: Strictness) -> Iterator[BrowserContext]:
    """A visitor who was never here, before empty phones and without any fault."""
    url = system.stack.phone.url
    rest(system)
    call("DELETE", f"{url}/simulator/state")
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=url, locale="en-GB")
    context.set_default_timeout(WITHIN_MS)
    strictness.watch(context)
    yield context
    context.close()


@pytest.fixture
def seat(context: BrowserContext) -> Seat:
    """The page, opened."""
    seat = Seat(context.new_page())
    seat.open()
    return seat
