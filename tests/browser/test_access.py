from collections.abc import Callable
from typing import Any, cast

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import WITHIN_MS, Strictness, rest
from tests.browser.seat import ANSWERED_WITHIN_MS, Seat
from tests.system.running import System

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]
SERIOUS = {"serious", "critical"}


def focused(page: Page) -> dict[str, Any]:
    """What has the focus, and whether it shows: an outline, or the ring of what stands around it."""
    return page.evaluate(
        """() => {
            const node = document.activeElement;
            const rings = [node, node.parentElement, node.querySelector(".bubble")].filter(Boolean).map((n) => {
                const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(n);
                return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
            });
            const label = node.getAttribute("aria-label") || node.textContent.trim() || node.id;
            return { label, tag: node.localName, shown: rings.some(Boolean) };
        }"""
    )


def test_everything_is_reached_and_left_with_the_keyboard_alone(seat: Seat):
    page = seat.page
    page.keyboard.press("Tab")
    assert focused(page)["label"] == "Skip to the messages"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(seat.field("Ana")).to_be_focused()
    page.keyboard.type("Who knows about music?")
    page.keyboard.press("Enter")
    seat.answered("Ana")

    page.keyboard.press("Shift+Tab")  # the emoji button
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert focused(page)["label"] == "Emoji"
    page.keyboard.press("Shift+Tab")
    assert focused(page)["label"] == "Attach"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    assert focused(page)["label"] == "Voice note from a file"
    page.keyboard.press("Escape")
    assert focused(page)["label"] == "Attach"

    page.keyboard.press("Shift+Tab")
    expect(seat.replies("Ana").last).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(seat.own("Ana").last).to_be_focused()
    page.keyboard.press("m")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Behind the chat")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Behind the chat")).to_have_count(0)
    expect(seat.own("Ana").last).to_be_focused()

    seat.stop("Chats").focus()
    for label in ("Behind the chat", "Knobs", "Routing lab"):
        page.keyboard.press("ArrowDown")
        assert focused(page)["label"] == label
    page.keyboard.press("Enter")
    expect(page.get_by_role("main", name="Routing lab")).to_be_visible()
    page.keyboard.press("Escape")
    expect(seat.phone("Ana")).to_be_visible()


def test_the_focus_is_always_seen(seat: Seat):
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    seat.stop("Knobs").click()
    seat.page.locator("body").evaluate("() => document.activeElement.blur()")
    labels: list[str] = []
    for _ in range(60):
        seat.page.keyboard.press("Tab")
        now = focused(seat.page)
        if now["tag"] == "body":
            break
        assert now["shown"], now
        labels.append(now["label"])
    assert len(set(labels)) > 25
    assert any(label.startswith("Send twice") for label in labels)


@pytest.fixture
def small(browser: Browser, system: System, strictness: Strictness):
    """A telephone of 390 by 844."""
    rest(system)
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        base_url=system.stack.phone.url,
        has_touch=True,
        is_mobile=True,
        locale="en-GB",
    )
    context.set_default_timeout(WITHIN_MS)
    strictness.watch(context)
    seat = Seat(context.new_page())
    seat.open()
    yield seat
    context.close()


def test_390_px_show_one_phone_and_a_switcher_and_nothing_sticks_out(small: Seat):
    page = small.page
    expect(page.locator(".phone")).to_have_count(1)
    small.choose("Bo")
    expect(page.locator(".phone")).to_have_count(1)
    small.write("Bo", "Who knows about music?")
    expect(small.replies("Bo").last).to_be_visible(timeout=ANSWERED_WITHIN_MS)
    expect(small.phone("Bo").get_by_text("simulated", exact=True)).to_be_in_viewport()
    places = {"Behind the chat": ".panel.behind", "Knobs": ".panel.knobs", "Routing lab": ".lab", "Chats": ".phone"}
    for label, shown in places.items():
        small.stop(label).tap()
        expect(page.locator(shown)).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, label
    expect(small.field("Bo")).to_be_in_viewport()


def test_a_swipe_to_the_right_replies(small: Seat):
    small.choose("Bo")
    small.write("Bo", "Who knows about music?")
    answer = small.replies("Bo").last
    expect(answer).to_be_visible(timeout=ANSWERED_WITHIN_MS)
    box = answer.bounding_box()
    assert box
    fingers = fingers_on(small.page)
    x, y = box["x"] + 60, box["y"] + box["height"] / 2
    fingers("touchStart", (x, y))
    for step in range(1, 9):
        fingers("touchMove", (x + step * 12, y))
    fingers("touchEnd")
    expect(small.phone("Bo").locator(".composer .quote")).to_be_visible()


def fingers_on(page: Page) -> Callable[..., None]:
    """Returns what tells chromium of all fingers on the glass: a kind of event, and where each is."""
    session = page.context.new_cdp_session(page)
    send = cast("Callable[[str, dict[str, Any]], Any]", session.send)  # pyright: ignore[reportUnknownMemberType]

    def tell(kind: str, *points: tuple[float, float]) -> None:
        touched = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})

    return tell


def test_a_long_press_opens_the_menu_and_two_fingers_none(small: Seat):
    small.choose("Bo")
    before = small.replies("Bo").count()
    small.write("Bo", "Who knows about music?")
    small.answered("Bo", before + 1)
    row = small.own("Bo").last
    expect(row).to_have_css("touch-action", "pan-y pinch-zoom")
    expect(row).to_have_css("user-select", "none")
    box = row.locator(".bubble").bounding_box()
    assert box
    fingers = fingers_on(small.page)
    x, y = box["x"] + 20, box["y"] + box["height"] / 2
    fingers("touchStart", (x, y))
    fingers("touchStart", (x, y), (x + 40, y))
    small.page.wait_for_timeout(700)
    fingers("touchEnd")
    expect(small.page.get_by_role("menu")).to_have_count(0)

    fingers("touchStart", (x, y))
    fingers("touchMove", (x + 6, y))
    expect(small.page.get_by_role("menu")).to_be_visible()
    assert row.evaluate("row => row.style.transform") == ""
    fingers("touchEnd")


def test_a_telephones_keyboard_that_goes_or_comes_takes_nothing_along(small: Seat):
    small.page.set_viewport_size({"width": 390, "height": 500})  # as with its keyboard
    emoji = small.phone("Ana").get_by_role("button", name="Emoji")
    emoji.tap()
    small.page.set_viewport_size({"width": 390, "height": 844})  # the menu took the focus: the keyboard goes
    chosen = small.page.get_by_role("dialog", name="Emoji")
    small.page.evaluate("new Promise(requestAnimationFrame)")
    expect(chosen).to_be_in_viewport()
    above, below = chosen.bounding_box(), emoji.bounding_box()
    assert above
    assert below
    assert 0 <= below["y"] - above["y"] - above["height"] < 10
    small.page.set_viewport_size({"width": 844, "height": 390})
    expect(chosen).to_have_count(0)

    small.page.set_viewport_size({"width": 390, "height": 844})
    small.stop("Knobs").tap()
    small.page.get_by_role("complementary", name="Knobs").get_by_role("button", name="Close").tap()
    expect(small.stop("Chats")).to_be_focused()  # its field would bring the keyboard


def test_at_200_percent_there_is_room_to_read_and_the_strip_of_people_heeds_its_arrows(seat: Seat):
    seat.page.set_viewport_size({"width": 683, "height": 320})  # 1366 by 640 at 200 %
    seat.choose("Ana")
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    thread = seat.phone("Ana").locator(".thread").bounding_box()
    assert thread
    assert thread["height"] >= 120
    for shown in (seat.field("Ana"), seat.replies("Ana").last, seat.stop("Knobs")):
        expect(shown).to_be_in_viewport()
    seat.page.set_viewport_size({"width": 320, "height": 200})
    seat.field("Ana").scroll_into_view_if_needed()  # what has no room at all is scrolled to
    expect(seat.field("Ana")).to_be_in_viewport()

    first, second = seat.page.locator(".person").nth(0), seat.page.locator(".person").nth(1)
    first.focus()
    first.press("ArrowRight")
    expect(second).to_be_focused()
    second.press("ArrowLeft")
    expect(first).to_be_focused()


@pytest.mark.parametrize("width", [800, 390])
def test_phones_under_a_panel_are_not_reached(seat: Seat, width: int):
    page = seat.page
    page.set_viewport_size({"width": width, "height": 844})
    seat.choose("Ana")
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    seat.own("Ana").first.press("Enter")
    panel = page.get_by_role("complementary", name="Behind the chat")
    expect(panel).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('.phones')") is None
    page.keyboard.press("Escape")
    expect(seat.own("Ana").first).to_be_focused()


def test_beside_a_panel_a_phone_stays_whole_as_long_as_there_is_room(seat: Seat):
    seat.page.set_viewport_size({"width": 900, "height": 800})
    seat.stop("Knobs").click()
    expect(seat.page.locator(".phone")).to_have_count(1)
    phone, panel = seat.page.locator(".phone").bounding_box(), seat.page.locator(".panel").bounding_box()
    assert phone
    assert panel
    assert phone["x"] + phone["width"] <= panel["x"]
    seat.page.locator(".phone textarea").fill("it can be written in")


def test_skip_links_lead_only_where_something_is(seat: Seat):
    links = seat.page.locator(".skip:not([hidden])")
    expect(links).to_have_text(["Skip to the messages", "Skip to writing"])
    seat.stop("Knobs").click()
    expect(links).to_have_text(["Skip to the messages", "Skip to writing", "Skip to the panel"])
    seat.stop("Routing lab").click()
    expect(links).to_have_text(["Skip to the panel"])


def test_tab_leaves_a_menu_closed_behind(seat: Seat):
    seat.phone("Ana").get_by_role("button", name="Emoji").click()
    expect(seat.page.get_by_role("dialog", name="Emoji")).to_be_visible()
    seat.page.keyboard.press("Tab")
    expect(seat.page.get_by_role("dialog", name="Emoji")).to_have_count(0)
    expect(seat.field("Ana")).to_be_focused()


def test_a_quotation_is_followed_by_keyboard(seat: Seat):
    seat.write("Ana", "Who knows about music?")
    answer = seat.answered("Ana")
    answer.press("r")
    seat.page.keyboard.type("Which song?")
    seat.page.keyboard.press("Enter")
    seat.answered("Ana", 2)
    quoting = seat.own("Ana").last
    quoting.press("m")
    expect(quoting).not_to_have_attribute("aria-expanded", "true")  # a bubble is no button
    seat.page.get_by_role("menuitem", name="Go to the quoted message").press("Enter")
    expect(seat.replies("Ana").first).to_be_focused()


def look_behind(seat: Seat) -> None:
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(seat.page.locator(".waterfall")).to_be_visible(timeout=ANSWERED_WITHIN_MS)


def look_at_the_wire(seat: Seat) -> None:
    look_behind(seat)
    seat.page.get_by_role("tab", name="Wire").click()
    seat.page.locator(".call summary").first.click()


def turn_knobs(seat: Seat) -> None:
    seat.stop("Knobs").click()
    seat.page.locator("[data-knob='llm_slow']").click()
    seat.page.locator("[data-knob='send_twice']").click()
    expect(seat.page.locator(".fault")).to_be_visible()


def visit_the_lab(seat: Seat) -> None:
    seat.stop("Routing lab").click()
    seat.page.get_by_role("button", name="Try some examples").click()
    expect(seat.page.locator(".result")).not_to_have_count(0, timeout=ANSWERED_WITHIN_MS)


def quote_oneself(seat: Seat) -> None:
    """Ana quotes herself and a sister, with a link; the quotations are then shown in the colour of every name."""
    quotations = seat.own("Ana").locator(".quote")
    for quoted in (seat.own("Ana").first, seat.replies("Ana").first):
        before = quotations.count()
        quoted.focus()
        quoted.press("r")
        seat.page.keyboard.type("as in https://example.com/songs")
        seat.page.keyboard.press("Enter")
        expect(quotations).to_have_count(before + 1)
    seat.own("Ana").last.locator(".quote").evaluate(
        """quote => {
            for (let name = 0; name < 8; name += 1) {
                const copy = quote.cloneNode(true);
                for (const node of [copy, copy.querySelector("b")]) {
                    node.className = node.className.replace(/name-\\w+/, `name-${name}`);
                }
                quote.after(copy);
            }
        }"""
    )
    seat.own("Ana").last.scroll_into_view_if_needed()


def open_a_menu(seat: Seat) -> None:
    seat.phone("Ana").get_by_role("button", name="Emoji").click()


NO_WALLPAPER = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(".thread::before { content: none; }");
    document.adoptedStyleSheets = [sheet];
}"""
"""axe judges no contrast of what stands over a drawing, though the bubbles hide it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, system: System, scheme: str):
    rest(system)
    context = browser.new_context(
        viewport={"width": 1440, "height": 900},
        base_url=system.stack.phone.url,
        color_scheme=scheme,  # pyright: ignore[reportArgumentType]
        reduced_motion="reduce",
    )
    context.set_default_timeout(WITHIN_MS)
    seat = Seat(context.new_page())
    seat.open()
    seat.page.evaluate(NO_WALLPAPER)
    seat.write("Ana", "Who knows about *music*?")
    expect(seat.replies("Ana").last).to_be_visible(timeout=ANSWERED_WITHIN_MS)
    states: tuple[Callable[[Seat], None], ...] = (
        lambda _: None,
        quote_oneself,
        open_a_menu,
        look_behind,
        look_at_the_wire,
        turn_knobs,
        visit_the_lab,
    )
    found: list[str] = []
    for state in states:
        state(seat)
        found += serious(seat.page)
        seat.page.keyboard.press("Escape")
    seat.page.set_viewport_size({"width": 390, "height": 844})
    found += serious(seat.page)
    context.close()
    assert found == []


def test_without_motion_a_change_shows_at_once(browser: Browser, system: System):
    """Not a frame later either: a busy machine may paint that frame long after the page was looked at."""
    context = browser.new_context(base_url=system.stack.phone.url, reduced_motion="reduce")
    context.set_default_timeout(WITHIN_MS)
    seat = Seat(context.new_page())
    seat.open()
    seat.stop("Routing lab").click()
    shown = seat.page.get_by_role("button", name="Who answers?").evaluate(
        """(button) => {
            const opacity = () => getComputedStyle(button).opacity;
            button.disabled = true;
            const without = opacity();
            button.disabled = false;
            return [without, opacity()];
        }"""
    )
    context.close()
    assert shown == ["0.5", "1"]


def serious(page: Page) -> list[str]:
    report = cast("dict[str, Any]", Axe().run(page).response)  # pyright: ignore[reportUnknownMemberType]
    violations = cast("list[dict[str, Any]]", report["violations"])
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
