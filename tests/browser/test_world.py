"""What the page knows of the simulated world, and what it keeps over reloads, restarts and other pages."""

import re

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Strictness
from tests.browser.seat import Seat
from tests.system.running import System

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]


def restart(seat: Seat, system: System) -> None:
    """The simulator begins another life: empty, and counting from 1 again."""
    banner = seat.page.get_by_text("Reconnecting to the simulator")
    system.stack.processes.stop("simulator")
    expect(banner).to_be_visible()
    system.stack.start_simulator()
    system.stack.wait_until_ready()
    expect(banner).to_be_hidden()


def test_who_calls_the_page_by_an_address_of_the_network_may_write_too(context: BrowserContext):
    context.add_init_script("delete Crypto.prototype.randomUUID")  # as in a page that is no secure context
    seat = Seat(context.new_page())
    seat.open()
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    assert re.fullmatch(r"SM[0-9a-f]{32}", seat.ask("/simulator/messages")[0]["sid"])


def test_the_wire_shows_no_call_of_a_simulator_that_is_gone(seat: Seat, system: System, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    panel = seat.page.get_by_role("complementary", name="Behind the chat")
    seat.stop("Behind the chat").click()
    for text in ("written in one life", "written in another"):
        restart(seat, system)
        system.stack.phone.write("+15550100001", text)
        seat.answered("Ana")
        seat.own("Ana").first.focus()
        seat.own("Ana").first.press("Enter")
        panel.get_by_role("tab", name="Wire").click()
        panel.get_by_role("button", name="All").click()
        webhook = panel.locator("details", has_text="Message webhook").first
        webhook.locator("summary").click()
        expect(webhook).to_contain_text(text)
