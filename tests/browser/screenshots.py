"""`python -m tests.browser.screenshots`: the phone's main states as pictures, of a system that really runs."""

import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.chromium import ARGUMENTS, EXECUTABLE
from tests.browser.seat import ANSWERED_WITHIN_MS, Seat
from tests.system.conftest import running_system

DOCS: Final = Path(__file__).parents[2] / "docs"
LARGEST_BYTES: Final = 300_000
WIDE: Final = (1280, 800)
SMALL: Final = (390, 844)
LONG_ENOUGH_MS: Final = "1300"
"""Of an answer, so that typing is shown, by which WhatsApp marks a message as read."""


def main() -> int:
    """Returns the exit code: 1 when a picture is too large for a README."""
    with (
        tempfile.TemporaryDirectory() as logs,
        running_system(Path(logs), {"SIMULATOR_LLM_LATENCY_MS": LONG_ENOUGH_MS}) as system,
        sync_playwright() as playwright,
    ):
        system.stack.start_inspect()
        system.stack.processes.wait_for("inspect", f"{system.stack.environ['INSPECT_URL']}/healthz")
        expect.set_options(timeout=ANSWERED_WITHIN_MS)
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        url = system.stack.phone.url
        chats = _open(browser, url, "light", WIDE)
        _converse(chats)
        sizes = [_keep(chats.page, "phone-light")]
        behind = _open(browser, url, "dark", WIDE)
        _look_behind(behind)
        sizes.append(_keep(behind.page, "phone-behind-dark"))
        lab = _open(browser, url, "light", WIDE)
        _visit_the_lab(lab)
        sizes.append(_keep(lab.page, "phone-lab"))
        small = _open(browser, url, "light", SMALL)
        small.choose("Bo")
        sizes.append(_keep(small.page, "phone-small"))
        browser.close()
    return int(max(sizes) > LARGEST_BYTES)


def _open(browser: Browser, url: str, scheme: Literal["light", "dark"], size: tuple[int, int]) -> Seat:
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        base_url=url,
        color_scheme=scheme,
        locale="en-GB",
        reduced_motion="reduce",
    )
    seat = Seat(context.new_page())
    seat.open()
    return seat


def _converse(seat: Seat) -> None:
    seat.write("Ana", "Who knows about music?")
    seat.write("Bo", "All of you, say hi! 👋")
    seat.write("Noor", "有推薦的歌嗎")
    seat.answered("Ana")
    seat.answered("Bo", 3)
    seat.answered("Noor")
    seat.replies("Ana").last.focus()
    seat.replies("Ana").last.press("r")
    seat.page.keyboard.type("Something *slow*, for a rainy evening ☔")
    seat.page.keyboard.press("Enter")
    seat.write("Noor", "جميل، شكراً جزيلاً 🙏")
    seat.answered("Ana", 2)
    seat.answered("Noor", 2)
    seat.write("Bo", "🎉")
    seat.answered("Bo", 4)
    expect(seat.page.locator(".row .tick-read")).to_have_count(seat.page.locator(".row[data-sid]").count())
    seat.field("Bo").fill("")
    seat.field("Bo").evaluate("field => field.blur()")


def _look_behind(seat: Seat) -> None:
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(seat.page.locator(".sends")).to_be_visible()
    seat.own("Ana").first.evaluate("row => row.blur()")
    seat.page.mouse.move(0, 0)


def _visit_the_lab(seat: Seat) -> None:
    seat.stop("Routing lab").click()
    seat.page.get_by_role("button", name="Try some examples").click()
    expect(seat.page.locator(".result")).not_to_have_count(0)
    seat.page.locator(".changes summary").first.click()
    seat.page.locator(".lab").evaluate("lab => lab.scrollTo(0, 0)")
    seat.page.mouse.move(0, 0)


def _keep(page: Page, name: str) -> int:
    """Writes what the page shows; returns the picture's size in bytes."""
    DOCS.mkdir(exist_ok=True)
    picture = DOCS / f"{name}.png"
    page.wait_for_timeout(500)
    page.screenshot(path=picture)
    size = picture.stat().st_size
    print(f"{picture.relative_to(DOCS.parent)}: {size // 1000} kB")  # noqa: T201 - a person waits for it
    return size


if __name__ == "__main__":
    sys.exit(main())
