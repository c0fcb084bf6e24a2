"""What the page knows of the simulated world, and what it keeps over reloads, restarts and other pages."""

import re

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.seat import Seat

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]


def test_who_calls_the_page_by_an_address_of_the_network_may_write_too(context: BrowserContext):
    context.add_init_script("delete Crypto.prototype.randomUUID")  # as in a page that is no secure context
    seat = Seat(context.new_page())
    seat.open()
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    assert re.fullmatch(r"SM[0-9a-f]{32}", seat.ask("/simulator/messages")[0]["sid"])
