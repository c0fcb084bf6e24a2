"""What the page knows of the simulated world, and what it keeps over reloads, restarts and other pages."""

import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from playwright.sync_api import BrowserContext, FilePayload, Route, expect

from deploy.simulator.page_files import FOLDER
from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_AUTH_TOKEN, SIMULATED_NUMBER
from tests.browser.conftest import Strictness
from tests.browser.seat import ANSWERED_WITHIN_MS, Seat
from tests.system.running import System

LOADS = """() => new Promise((done) => {
    const image = new Image();
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = window.made;
})"""
"""Whether the browser still holds the file that the page showed last."""
ANA = "whatsapp:+15550100001"
SEND = f"/2010-04-01/Accounts/{SIMULATED_ACCOUNT_SID}/Messages.json"
TYPE = "/v2/Indicators/Typing.json"
pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]


def attach(seat: Seat, file: FilePayload) -> None:
    """Ana sends a file."""
    seat.phone("Ana").get_by_role("button", name="Attach").click()
    with seat.page.expect_file_chooser() as choosing:
        seat.page.get_by_role("menuitem", name="Any file").click()
    choosing.value.set_files(file)
    expect(seat.page.get_by_role("dialog")).to_be_visible()
    seat.page.keyboard.press("Enter")


def as_bot(system: System, path: str, form: dict[str, str]) -> None:
    """One call of the vendor's API, as the bot makes it."""
    secret = b64encode(f"{SIMULATED_ACCOUNT_SID}:{SIMULATED_AUTH_TOKEN}".encode()).decode()
    request = Request(f"{system.stack.phone.url}{path}", urlencode(form).encode(), {"Authorization": f"Basic {secret}"})
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status in {200, 201}


def restart(seat: Seat, system: System) -> None:
    """The simulator begins another life: empty, and counting from 1 again."""
    banner = seat.page.get_by_text("Reconnecting to the simulator")
    system.stack.processes.stop("simulator")
    expect(banner).to_be_visible()
    system.stack.start_simulator()
    system.stack.wait_until_ready()
    expect(banner).to_be_hidden()


def test_typing_is_shown_by_any_clock_until_the_next_reply_or_it_is_over(context: BrowserContext, system: System):
    page = context.new_page()
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=3))
    seat = Seat(page)
    seat.open()
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    system.stack.phone.set_faults({"twilio": {"status_delays_ms": [500, 1_000, 1_500]}})
    types = {"channel": "whatsapp", "messageId": seat.own("Ana").first.get_attribute("data-sid") or ""}
    words = (seat.phone("Ana").locator("header .state"), page.locator(f'.person[data-person="{ANA}"]'))
    bubble = seat.phone("Ana").locator(".row.typing")

    as_bot(system, SEND, {"To": ANA, "From": SIMULATED_NUMBER, "Body": "one of two"})
    as_bot(system, TYPE, types)
    expect(bubble).to_have_count(1)
    expect(seat.replies("Ana").last.locator(".tick-read")).to_have_count(1)  # ends nothing: it is of the reply before
    expect(bubble).to_have_count(1)
    for word in words:
        expect(word).to_contain_text("typing…")
    as_bot(system, SEND, {"To": ANA, "From": SIMULATED_NUMBER, "Body": "two of two"})
    expect(seat.replies("Ana")).to_have_count(3)
    expect(bubble).to_have_count(0)

    as_bot(system, TYPE, types)
    for word in words:
        expect(word).to_contain_text("typing…")
    expect(bubble).to_have_count(1)
    page.clock.fast_forward("00:26")
    for word in words:
        expect(word).not_to_contain_text("typing…")
    expect(bubble).to_have_count(0)


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


def test_a_file_that_was_sent_is_let_go_of(context: BrowserContext, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    context.add_init_script(
        """const made = URL.createObjectURL.bind(URL);
        URL.createObjectURL = (file) => (window.made = made(file));"""
    )
    seat = Seat(context.new_page())
    seat.page.clock.install()
    seat.open()
    picture = FilePayload(name="icon.svg", mimeType="image/svg+xml", buffer=(FOLDER / "icon.svg").read_bytes())
    seat.page.route("**/simulator/inbound", lambda route: route.abort())
    attach(seat, picture)
    expect(seat.own("Ana").get_by_role("button", name="Try again")).to_be_visible()
    assert seat.page.evaluate(LOADS)
    seat.page.unroute_all()
    seat.own("Ana").get_by_role("button", name="Try again").click()
    expect(seat.own("Ana").locator(".picture img")).to_have_attribute("src", re.compile("^/simulator/media/"))
    seat.page.clock.fast_forward("00:11")
    assert not seat.page.evaluate(LOADS)
    seat.answered("Ana")


def test_a_page_that_lives_long_keeps_the_newest_messages_in_order(seat: Seat):
    found = seat.page.evaluate(
        """async () => {
            const { World } = await import("/page/world.js");
            const world = new World();
            const hear = (number, status) => {
                const row = { number, status, sid: `SM${number}`, person: `whatsapp:+${number % 3}`, media: [] };
                world.events.listener.event("message", { ...row, direction: "outbound-api" });
            };
            for (let number = 1; number <= 12_000; number += 1) hear(number, "sent");
            hear(11_001, "read");
            const threads = [0, 1, 2].map((each) => world.thread(`whatsapp:+${each}`));
            const numbers = threads.map((thread) => thread.map((message) => message.number));
            return {
                kept: world.messages.size,
                inThreads: numbers.flat().length,
                oldest: Math.min(...numbers.flat()),
                sorted: numbers.every((thread) => thread.every((n, at) => !at || n > thread[at - 1])),
                changed: threads[11_001 % 3].find((message) => message.number === 11_001).status,
            };
        }"""
    )
    assert 5_000 <= found["kept"] <= 5_250
    assert found["inThreads"] == found["kept"] == 12_000 - found["oldest"] + 1
    assert (found["sorted"], found["changed"]) == (True, "read")


def test_answers_are_unread_in_another_life_of_the_simulator_too(seat: Seat, system: System, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    restart(seat, system)  # from here on messages have the same numbers in both lives
    seat.choose("Yui")
    seat.write("Yui", "Who knows about music?")
    seat.answered("Yui")
    for name in ("Bo", "Noor", "Ana"):  # whoever was not used for longest makes room
        seat.choose(name)
    unread = seat.page.locator(".person", has=seat.page.get_by_text("Yui", exact=True)).locator(".badge")
    expect(seat.phone("Yui")).to_have_count(0)
    expect(unread).to_be_hidden()
    restart(seat, system)
    system.stack.phone.write("+819000000004", "Who knows about music?")
    expect(unread).to_have_text("1 unread", timeout=ANSWERED_WITHIN_MS)


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
