"""What the page knows of the simulated world, and what it keeps over reloads, restarts and other pages."""

import re

import pytest
from playwright.sync_api import BrowserContext, FilePayload, Route, expect

from tests.browser.conftest import Strictness
from tests.browser.seat import Seat
from tests.system.running import System

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]


def attach(seat: Seat, file: FilePayload) -> None:
    """Ana sends a file."""
    seat.phone("Ana").get_by_role("button", name="Attach").click()
    with seat.page.expect_file_chooser() as choosing:
        seat.page.get_by_role("menuitem", name="Any file").click()
    choosing.value.set_files(file)
    expect(seat.page.get_by_role("dialog")).to_be_visible()
    seat.page.keyboard.press("Enter")


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


def test_who_hides_the_number_hides_it_in_a_burst_too(seat: Seat):
    number = "+15550107788"
    seat.page.get_by_role("button", name="Add a person").click()
    question = seat.page.get_by_role("dialog")
    question.get_by_label("Name").fill("Mina")
    question.get_by_label("Number", exact=True).fill(number)
    question.get_by_label(re.compile("^hides the number")).check()
    question.get_by_role("button", name="Add", exact=True).click()
    seat.phone("Mina").get_by_role("button", name="More on Mina's phone").click()
    seat.page.get_by_role("menuitem", name="Burst of five").click()
    expect(seat.own("Mina")).to_have_count(5)
    seat.answered("Mina")
    webhooks = seat.ask("/simulator/calls?endpoint=webhook")
    assert len(webhooks) == 5
    assert not any(number.removeprefix("+") in call["request"] for call in webhooks)


def test_a_reload_loses_nothing_that_is_on_its_way(seat: Seat):
    def hold(route: Route) -> None:
        del route  # never answered

    seat.page.route("**/simulator/inbound", hold)
    seat.write("Ana", "Who knows about music?")
    expect(seat.own("Ana").locator(".tick-clock")).to_have_count(1)
    seat.page.reload()
    expect(seat.own("Ana")).to_contain_text("Who knows about music?")
    seat.page.unroute_all()
    seat.own("Ana").get_by_role("button", name="Try again").click()
    seat.answered("Ana")
    expect(seat.own("Ana").locator(".trouble")).to_have_count(0)
    seat.page.reload()
    expect(seat.replies("Ana")).to_have_count(1)
    expect(seat.own("Ana")).to_have_count(1)


def test_two_pages_keep_what_each_could_not_send(seat: Seat, context: BrowserContext, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    other = Seat(context.new_page())
    other.open()
    for each, name in ((seat, "Ana"), (other, "Bo")):
        each.page.route("**/simulator/inbound", lambda route: route.abort())
        each.write(name, f"unsent by {name}")
        expect(each.own(name).locator(".trouble")).to_be_visible()
        each.page.unroute_all()
    other.write("Bo", "Who knows about music?")
    other.answered("Bo")
    other.own("Bo").get_by_role("button", name="Discard").click()
    seat.page.reload()
    expect(seat.own("Ana").locator(".trouble")).to_be_visible()
    expect(seat.own("Bo")).to_have_count(1)  # what was sent; the other one was discarded


def test_what_went_down_with_the_simulator_can_be_sent_again(seat: Seat, system: System, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    seat.page.route("**/simulator/inbound", lambda route: route.fulfill(status=202, json={}))  # and forgotten
    seat.write("Ana", "Who knows about music?")
    expect(seat.own("Ana").locator(".tick-clock")).to_have_count(1)
    seat.page.unroute_all()
    restart(seat, system)
    seat.own("Ana").get_by_role("button", name="Try again").click()
    seat.answered("Ana")


def test_an_attachment_that_was_not_sent_says_that_a_reload_loses_it(seat: Seat, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    seat.page.route("**/simulator/inbound", lambda route: route.abort())
    attach(seat, {"name": "letter.txt", "mimeType": "text/plain", "buffer": b"Dear Kasho"})
    expect(seat.own("Ana").locator(".trouble")).to_contain_text("Loading the page anew would lose it.")


LISTEN = """async () => {
    const { Events } = await import("/page/events.js");
    const sources = [];
    window.EventSource = class extends EventTarget {
        constructor(url) { super(); this.url = url; sources.push(this); }
        close() {}
        say(name, data, lastEventId) {
            this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data), lastEventId }));
        }
    };
    const told = [];
    const loads = [];
    const events = new Events("/events", {
        load: () => new Promise((done, fail) => loads.push({ done: (name) => done(() => told.push(name)), fail })),
        event: (name, data) => told.push(data),
        state: () => {},
    });
    const settled = () => new Promise((done) => setTimeout(done, 20));
    const opened = async (count) => { while (sources.length < count) await settled(); };
    events.open();
    sources[0].say("hello", { resumed: false }, "1");
    loads[0].done("first reading");
    await settled();
    return { told, loads, sources, opened, settled };
}"""
"""A stream of the test's own, over which everything was read once; `told` is what the page has learnt from it."""


def test_a_reading_that_fails_is_done_again_with_all_that_came_meanwhile(seat: Seat):
    stream = seat.page.evaluate_handle(LISTEN)
    urls = stream.evaluate(
        """async ({ sources, loads, opened, settled }) => {
            sources[0].dispatchEvent(new Event("error"));
            await opened(2);
            sources[1].say("hello", { resumed: false }, "5");
            sources[1].say("message", "written meanwhile", "6");
            loads[1].fail();
            await opened(3);
            sources[2].say("hello", { resumed: false }, "7");
            loads[2].done("second reading, with what was written meanwhile");
            await settled();
            return sources.map((source) => source.url);
        }"""
    )
    assert urls[-1] == "/events"  # not after 6: of that the page knows nothing
    told = stream.evaluate("({ told }) => told")
    assert told == ["first reading", "second reading, with what was written meanwhile"]


def test_a_reading_that_another_one_overtook_is_dropped(seat: Seat):
    stream = seat.page.evaluate_handle(LISTEN)
    told = stream.evaluate(
        """async ({ told, sources, loads, opened, settled }) => {
            for (const [index, after] of [[1, "5"], [2, "7"]]) {
                sources[index - 1].dispatchEvent(new Event("error"));
                await opened(index + 1);
                sources[index].say("hello", { resumed: false }, after);
            }
            loads[2].done("newest reading");
            await settled();
            sources[2].say("message", "newer still", "8");
            loads[1].done("reading of before");
            await settled();
            return told;
        }"""
    )
    assert told == ["first reading", "newest reading", "newer still"]
