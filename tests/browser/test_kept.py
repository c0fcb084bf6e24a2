"""What somebody is in the middle of is kept, whatever else happens on the page."""

import re

import pytest
from playwright.sync_api import BrowserContext, Locator, Route, expect

from deploy.local.loopback import call
from tests.browser.seat import ANSWERED_WITHIN_MS, Seat
from tests.system.running import System

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]
ANA = "+15550100001"


def write_refused(seat: Seat, system: System, messages: int) -> None:
    """Ana writes so much, none of which is answered into what a test looks at."""
    before = seat.own("Ana").count()
    for number in range(messages):
        system.stack.phone.write(ANA, f"message {number}\nand a second line", wrong_signature=True)
    expect(seat.own("Ana")).to_have_count(before + messages)


def record_and_play(seat: Seat) -> Locator:
    """Ana hears a voice note of her own, over and over; returns what sounds."""
    record(seat).click()
    seat.answered("Ana")
    sound = seat.own("Ana").locator("audio")
    sound.evaluate("sound => { sound.loop = true; }")
    seat.own("Ana").get_by_role("button", name="Play voice note").click()
    expect(seat.own("Ana").get_by_role("button", name="Pause voice note")).to_be_visible()
    return sound


def test_a_panel_and_the_lab_take_no_ones_place_focus_or_sound(seat: Seat, system: System):
    seat.page.set_viewport_size({"width": 1366, "height": 700})
    sound = record_and_play(seat)
    write_refused(seat, system, 30)
    expect(seat.page.locator(".phone")).to_have_count(3)
    row = seat.own("Ana").nth(12)
    row.evaluate("row => row.scrollIntoView({ block: 'center' })")
    row.focus()
    row.press("Enter")
    expect(seat.page.get_by_role("complementary", name="Behind the chat")).to_be_visible()
    expect(seat.page.locator(".phone")).to_have_count(2)
    expect(row).to_be_focused()
    expect(row).to_be_in_viewport()
    seat.page.keyboard.press("ArrowUp")
    expect(seat.own("Ana").nth(11)).to_be_focused()

    seat.stop("Routing lab").click()
    expect(seat.page.get_by_role("main", name="Routing lab")).to_be_visible()
    system.stack.phone.write(ANA, "written meanwhile", wrong_signature=True)
    seat.page.wait_for_timeout(300)
    seat.stop("Chats").click()
    expect(row).to_be_in_viewport()
    seat.page.wait_for_timeout(300)  # somebody thought to be at the end would be taken there now
    expect(row).to_be_in_viewport()
    assert not sound.evaluate("sound => sound.paused")


def press_composing(field: Locator, key: str) -> None:
    """As Safari tells of a key that an input method took: by its code only, after the composition has ended."""
    field.evaluate(
        """(field, key) => field.dispatchEvent(
            new KeyboardEvent("keydown", { key, keyCode: 229, bubbles: true, cancelable: true })
        )""",
        key,
    )


def test_keys_of_an_input_method_send_nothing_and_close_nothing(seat: Seat):
    seat.stop("Knobs").click()
    knobs = seat.page.get_by_role("complementary", name="Knobs")
    seat.field("Ana").fill("音楽")
    press_composing(seat.field("Ana"), "Enter")
    expect(seat.field("Ana")).to_have_value("音楽")
    press_composing(seat.field("Ana"), "Escape")
    expect(knobs).to_be_visible()
    seat.field("Ana").press("Escape")
    expect(knobs).to_have_count(0)
    assert seat.ask("/simulator/messages") == []


def test_escape_in_a_text_of_the_lab_does_not_leave_the_lab(seat: Seat):
    seat.stop("Routing lab").click()
    lines = seat.page.get_by_label("What somebody writes, one message a line")
    lines.fill("songs")
    lines.press("Escape")
    expect(lines).to_be_focused()
    lines.press("Tab")
    seat.page.keyboard.press("Escape")
    expect(seat.phone("Ana")).to_be_visible()


def record(seat: Seat) -> Locator:
    """Ana speaks for a second; returns the button that sends it."""
    seat.phone("Ana").get_by_role("button", name="Record a voice note").click()
    seat.page.wait_for_timeout(1_000)
    return seat.page.get_by_role("button", name="Send the voice note")


@pytest.fixture
def conversion(context: BrowserContext) -> list[Route]:
    """Of a recording, held until a test lets it go on."""

    def hold(route: Route) -> None:
        held.append(route)

    held: list[Route] = []
    context.route("**/vendor/mediabunny.js", hold)
    return held


def begun(seat: Seat, conversion: list[Route]) -> Route:
    while not conversion:
        seat.page.wait_for_timeout(50)
    return conversion[0]


def test_a_voice_note_sent_with_two_clicks_goes_out_once(seat: Seat, conversion: list[Route]):
    record(seat).dblclick()
    begun(seat, conversion).continue_()
    expect(seat.own("Ana")).not_to_have_count(0)
    seat.page.wait_for_timeout(1_000)
    expect(seat.own("Ana")).to_have_count(1)
    expect(seat.field("Ana")).to_be_focused()
    seat.answered("Ana")


def test_a_voice_note_discarded_while_it_is_made_ready_does_not_go_out(seat: Seat, conversion: list[Route]):
    record(seat).click()
    converting = begun(seat, conversion)
    seat.page.get_by_role("button", name="Discard the recording").click()
    converting.continue_()
    expect(seat.field("Ana")).to_be_visible()
    seat.page.wait_for_timeout(1_500)  # what goes out all the same takes a moment
    assert seat.ask("/simulator/messages") == []


WATCH_MICROPHONE = """() => {
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    window.asked = 0;
    window.streams = [];
    const allowed = new Promise((resolve) => { window.allow = resolve; });
    devices.getUserMedia = async (wanted) => {
        window.asked += 1;
        await allowed;
        const stream = await open(wanted);
        window.streams.push(stream);
        return stream;
    };
}"""
OPEN = "streams.flatMap(s => s.getTracks()).filter(t => t.readyState === 'live').length"


def microphone_goes_off(seat: Seat) -> None:
    for _ in range(100):
        if not seat.page.evaluate(OPEN):
            return
        seat.page.wait_for_timeout(50)
    raise AssertionError("the microphone stays open")


def test_the_microphone_is_opened_once_however_often_it_is_clicked_meanwhile(seat: Seat):
    seat.page.evaluate(WATCH_MICROPHONE)
    microphone = seat.phone("Ana").get_by_role("button", name="Record a voice note")
    microphone.click()
    microphone.click()
    seat.page.evaluate("allow()")
    seat.page.get_by_role("button", name="Discard the recording").click()
    expect(microphone).to_be_visible()
    microphone_goes_off(seat)
    assert seat.page.evaluate("asked") == 1


def test_after_two_minutes_the_microphone_is_off_and_what_was_said_can_be_sent(seat: Seat):
    seat.page.clock.install()
    seat.open()
    seat.page.evaluate(f"({WATCH_MICROPHONE})(); allow()")
    send = record(seat)
    seat.page.clock.fast_forward(120_000)
    expect(seat.phone("Ana")).to_contain_text("No more is recorded")
    microphone_goes_off(seat)
    told = seat.phone("Ana").get_by_role("timer")
    before = told.inner_text()
    assert before.startswith("2:0")
    seat.page.wait_for_timeout(1_500)
    assert told.inner_text() == before
    send.click()
    expect(seat.own("Ana").locator(".voice")).to_be_visible()
    seat.answered("Ana")


def test_a_tick_changes_nothing_else_of_its_bubble(seat: Seat, system: System):
    call("PUT", f"{system.stack.phone.url}/simulator/faults", {"llm": {"latency_ms": 4_000}})
    seat.write("Ana", "Who knows about music?")
    row = seat.own("Ana").first
    row.locator(".bubble").evaluate("bubble => { bubble.dataset.same = 'yes'; }")
    row.hover()
    row.get_by_role("button", name="More about this message").click()
    expect(row.locator(".tick-read")).to_be_visible(timeout=ANSWERED_WITHIN_MS)
    expect(row).to_have_accessible_name(re.compile(r"Read by the bot\.$"))
    expect(row.locator(".bubble")).to_have_attribute("data-same", "yes")
    expect(seat.page.get_by_role("menu")).to_be_visible()
    expect(row.locator(".more")).to_have_attribute("aria-expanded", "true")
    seat.answered("Ana")


def test_a_chip_turned_off_by_keyboard_hands_the_focus_to_its_neighbour(seat: Seat):
    seat.stop("Knobs").click()
    chips = seat.page.get_by_role("region", name="Faults that are on").get_by_role("button")
    for count, knob in enumerate(("llm_slow", "twilio_429", "webhook_drop"), start=1):
        seat.page.locator(f"[data-knob='{knob}']").click()
        expect(chips).to_have_count(count + (count > 1))
    chips.first.focus()
    chips.first.press("Enter")
    expect(chips).to_have_count(3)
    expect(chips.first).to_be_focused()
    chips.last.focus()  # all off
    chips.last.press("Enter")
    expect(chips).to_have_count(0)
    expect(seat.stop("Knobs")).to_be_focused()


def test_what_is_read_behind_the_chat_keeps_the_focus_whatever_comes_in(seat: Seat, system: System):
    panel = seat.page.get_by_role("complementary", name="Behind the chat")
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    seat.own("Ana").first.press("Enter")
    events = panel.locator(".events summary")
    events.click(timeout=ANSWERED_WITHIN_MS)
    expect(events).to_be_focused()
    seat.write("Ana", "And about books?")
    events.focus()
    seat.answered("Ana", 2)
    expect(events).to_be_focused()
    expect(panel.locator(".events ol")).to_be_visible()

    panel.get_by_role("tab", name="Wire").click()
    panel.get_by_role("button", name="All").click()
    call = panel.locator(".call summary").first
    call.focus()
    calls = panel.locator(".call").count()
    write_refused(seat, system, 1)
    expect(panel.locator(".call")).not_to_have_count(calls)
    expect(call).to_be_focused()
    subject = panel.locator(".subject-bubble")
    subject.focus()
    write_refused(seat, system, 1)
    seat.page.wait_for_timeout(600)  # the panel looks again a moment later
    expect(subject).to_be_focused()


def test_a_click_begun_before_the_list_of_people_changes_still_counts(seat: Seat, system: System):
    bottom = seat.page.locator(".person").nth(3).locator(".person-bottom")
    name = seat.page.locator(".person").nth(3).locator("b").inner_text()
    expect(seat.phone(name)).to_have_count(0)
    bottom.hover(force=True)
    seat.page.mouse.down()
    write_refused(seat, system, 1)
    seat.page.mouse.up()
    expect(seat.phone(name)).to_be_visible()
