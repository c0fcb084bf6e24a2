from pathlib import Path
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from deploy.local.loopback import call
from tests.browser.conftest import Strictness
from tests.browser.seat import ANSWERED_WITHIN_MS, Seat
from tests.system.running import System

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]


def tick(row: Locator, kind: str) -> Locator:
    return row.locator(f".meta .tick-{kind}")


def test_two_people_say_hello_at_once_and_see_typing_the_answer_and_ticks(seat: Seat, system: System):
    call("PUT", f"{system.stack.phone.url}/simulator/faults", {"llm": {"latency_ms": 4_000}})  # on a busy machine too
    seat.note_typing()
    for name in ("Ana", "Bo"):
        seat.phone(name).get_by_role("button", name="Who knows about music?").click()
    for name in ("Ana", "Bo"):
        expect(seat.own(name)).to_have_count(1)
        expect(tick(seat.own(name).first, "read")).to_be_visible(timeout=ANSWERED_WITHIN_MS)
    for name in ("Ana", "Bo"):
        answer = seat.answered(name)
        expect(answer.locator(".speaker")).not_to_be_empty()
        expect(seat.phone(name).locator(".typing")).to_have_count(0)
        expect(tick(answer, "read")).to_be_visible()
        expect(answer.locator("time")).not_to_be_empty()
    assert {name: seat.typed()[name] for name in ("Ana", "Bo")} == {"Ana": ["bubble", "word"], "Bo": ["bubble", "word"]}


def test_three_phones_stand_side_by_side_and_one_hides_its_number(seat: Seat):
    phones = seat.page.locator(".phone")
    expect(phones).to_have_count(3)
    boxes = [phones.nth(index).bounding_box() for index in range(3)]
    assert len({box["y"] for box in boxes if box}) == 1
    expect(phones.locator(".owner").filter(has_text="number hidden")).to_have_count(1)
    expect(seat.page.get_by_text("simulated", exact=True).first).to_be_in_viewport()


def test_a_burst_of_five_within_300_ms_is_answered_once(seat: Seat):
    seat.phone("Bo").get_by_role("button", name="More on Bo's phone").click()
    seat.page.get_by_role("menuitem", name="Burst of five").click()
    expect(seat.own("Bo")).to_have_count(5)
    seat.answered("Bo")
    seat.page.wait_for_timeout(3_000)
    expect(seat.replies("Bo")).to_have_count(1)
    written = [m["created_at"] for m in seat.ask("/simulator/messages") if m["direction"] == "inbound"]
    assert len(written) == 5
    spread = seat.page.evaluate("times => Date.parse(times[1]) - Date.parse(times[0])", [min(written), max(written)])
    assert spread <= 300


def test_a_reload_loses_nothing(seat: Seat):
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    seat.replies("Ana").first.locator(".bubble").click(position={"x": 30, "y": 12})
    expect(seat.page.get_by_role("complementary", name="Behind the chat")).to_be_visible()
    seat.field("Bo").fill("half a sen")
    before = seat.page.locator(".phone .row[data-sid] .text").all_text_contents()

    seat.page.reload()

    seat.answered("Ana")
    assert seat.page.locator(".phone .row[data-sid] .text").all_text_contents() == before
    expect(seat.field("Bo")).to_have_value("half a sen")
    expect(seat.page.get_by_role("complementary", name="Behind the chat")).to_be_visible()
    expect(seat.page.locator(".row.selected")).to_have_count(1)


def test_formatting_is_drawn_and_markup_stays_text(seat: Seat):
    marked = "*bold* _slanted_ ~gone~ `code` snake_case_name 2*3*4\n- one\n- two"
    seat.field("Ana").fill(f"<img src=x onerror=alert(1)> {marked}")
    seat.field("Ana").press("Enter")
    text = seat.own("Ana").first.locator(".text")
    expect(text).to_contain_text("<img src=x onerror=alert(1)>")
    expect(text.locator("img")).to_have_count(0)
    for tag, inner in (("strong", "bold"), ("em", "slanted"), ("s", "gone"), ("code", "code")):
        expect(text.locator(tag)).to_have_text(inner)
    expect(text.locator("li")).to_have_text(["one", "two"])
    expect(text).to_contain_text("snake_case_name 2*3*4")
    seat.answered("Ana")


def test_code_quotes_numbers_and_links_are_drawn(seat: Seat):
    seat.field("Ana").fill(
        "> said she\n1. first\n2. second\n```def f():\n  return 1```\nsee https://example.com/a_b_c?q=1."
        " (and https://example.com/a_(b))"
    )
    seat.field("Ana").press("Enter")
    text = seat.own("Ana").first.locator(".text")
    expect(text.locator("blockquote")).to_have_text("said she")
    expect(text.locator("ol li")).to_have_text(["first", "second"])
    expect(text.locator("pre code")).to_have_text("def f():\n  return 1")
    links = [link.get_attribute("href") for link in text.locator("a").all()]
    assert links == ["https://example.com/a_b_c?q=1", "https://example.com/a_(b)"]
    seat.answered("Ana")


def test_times_are_written_as_clocks_show_them(browser: Browser, system: System):
    context = browser.new_context(base_url=system.stack.phone.url, locale="en-US", timezone_id="UTC")
    page = context.new_page()
    page.goto("/")
    told = page.evaluate(
        """async () => {
            const { duration, exact, time } = await import("/page/clock.js");
            const durations = [0.04, 0.96, 999.4, 999.6, 9_994, 9_996, 59_940, 59_960, 119_700].map(duration);
            return [time("2024-01-01T00:05:00Z"), exact("2024-01-01T00:05:06.007Z"), ...durations];
        }"""
    )
    context.close()
    assert told[:2] == ["00:05", "00:05:06.007"]
    assert told[2:] == ["0 ms", "1 ms", "999 ms", "1.00 s", "9.99 s", "10.0 s", "59.9 s", "1 min 0 s", "2 min 0 s"]


def test_no_mark_cuts_any_link_of_a_text(seat: Seat):
    seat.field("Ana").fill("https://a.b/_foo_/x and https://c.d/_foo_/y or _both_")
    seat.field("Ana").press("Enter")
    text = seat.own("Ana").first.locator(".text")
    expect(text.locator("a")).to_have_text(["https://a.b/_foo_/x", "https://c.d/_foo_/y"])
    expect(text.locator("em")).to_have_text(["both"])
    seat.answered("Ana")


def test_every_script_finds_its_direction_and_a_lone_emoji_is_large(seat: Seat):
    for text in ("مرحبا، من يعرف الموسيقى؟", "音楽の話がしたい", "🎉"):
        seat.write("Noor", text)
    rows = seat.own("Noor")
    expect(rows).to_have_count(3)
    directions = rows.locator(".line").evaluate_all("lines => lines.map(l => getComputedStyle(l).direction)")
    assert directions == ["rtl", "ltr", "ltr"]
    sizes = rows.locator(".text").evaluate_all("all => all.map(n => parseFloat(getComputedStyle(n).fontSize))")
    assert sizes[2] > 2 * sizes[1] == 2 * sizes[0]
    expect(seat.replies("Noor").last).to_be_visible(timeout=ANSWERED_WITHIN_MS)


def test_a_reply_quotes_and_the_quotation_leads_back(seat: Seat):
    seat.write("Ana", "Who knows about music?")
    answer = seat.answered("Ana")
    answer.focus()
    answer.press("r")
    expect(seat.phone("Ana").locator(".composer .quote")).to_be_visible()
    seat.page.keyboard.type("Which song?")
    seat.page.keyboard.press("Enter")
    quote = seat.own("Ana").last.locator(".quote")
    expect(quote).to_be_visible()
    quote.click()
    expect(answer).to_be_focused()
    sent = [m for m in seat.ask("/simulator/messages") if m["body"] == "Which song?"]
    assert sent[0]["quoted_sid"] == answer.get_attribute("data-sid")


def test_shift_and_enter_begin_a_line_and_enter_sends(seat: Seat):
    field = seat.field("Ana")
    field.press_sequentially("one")
    field.press("Shift+Enter")
    field.press_sequentially("two")
    field.press("Enter")
    expect(seat.own("Ana").first.locator(".line")).to_have_text(["one", "two"])
    expect(field).to_have_value("")
    assert seat.ask("/simulator/messages")[0]["body"] == "one\ntwo"


PICTURE = Path(__file__).parents[2] / "deploy" / "simulator" / "page" / "icon.svg"


def form_of_last_webhook(seat: Seat) -> dict[str, str]:
    """Of Ana's newest message, once it was taken: until then its bubble stands there alone."""
    newest = seat.own("Ana").last
    expect(tick(newest, "two").or_(tick(newest, "read"))).to_be_visible(timeout=ANSWERED_WITHIN_MS)
    request = seat.ask("/simulator/calls?endpoint=webhook")[-1]["request"]
    return seat.page.evaluate("text => Object.fromEntries(new URLSearchParams(text))", request)


def pick(seat: Seat, item: str, path: Path) -> Locator:
    """Ana chooses a file; returns the question that shows it."""
    seat.phone("Ana").get_by_role("button", name="Attach").click()
    with seat.page.expect_file_chooser() as choosing:
        seat.page.get_by_role("menuitem", name=item).click()
    choosing.value.set_files(path)
    return seat.page.get_by_role("dialog")


def test_a_picture_is_shown_first_and_goes_out_as_whatsapp_sends_it(seat: Seat):
    question = pick(seat, "Photo", PICTURE)
    expect(question.get_by_role("img", name="icon.svg")).to_be_visible()
    seat.page.keyboard.press("Enter")
    expect(seat.own("Ana").locator(".picture img")).to_be_visible()
    seat.answered("Ana")
    form = form_of_last_webhook(seat)
    assert (form["NumMedia"], form["MediaContentType0"], form["MessageType"]) == ("1", "image/svg+xml", "image")
    assert (form["MessageSid"][:2], form["Body"]) == ("MM", "")


def test_a_caption_goes_out_with_its_picture_as_one_message(seat: Seat):
    expect(pick(seat, "Photo", PICTURE)).to_be_visible()
    seat.page.keyboard.type(" my new icon ")
    seat.page.keyboard.press("Enter")
    expect(seat.own("Ana")).to_have_count(1)
    expect(seat.own("Ana").locator(".picture img")).to_be_visible()
    expect(seat.own("Ana").locator(".text")).to_have_text("my new icon")
    expect(seat.field("Ana")).to_be_focused()
    seat.answered("Ana")
    form = form_of_last_webhook(seat)
    assert (form["NumMedia"], form["Body"]) == ("1", "my new icon")


def test_what_was_chosen_by_mistake_is_not_sent(seat: Seat, tmp_path: Path):
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Kasho")
    question = pick(seat, "Any file", letter)
    expect(question.locator(".preview")).to_have_text("letter.txt10 B")
    seat.page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(seat.phone("Ana").get_by_role("button", name="Attach")).to_be_focused()
    assert seat.ask("/simulator/messages") == []
    seat.page.wait_for_timeout(1_000)  # what goes out all the same takes a moment
    assert seat.ask("/simulator/messages") == []


def test_a_recorded_voice_note_goes_out_and_can_be_heard(seat: Seat):
    seat.phone("Ana").get_by_role("button", name="Record a voice note").click()
    seat.page.wait_for_timeout(1_200)
    seat.page.get_by_role("button", name="Send the voice note").click()
    expect(seat.own("Ana").locator(".voice")).to_be_visible()
    seat.answered("Ana")
    form = form_of_last_webhook(seat)
    assert form["MediaContentType0"] == "audio/ogg; codecs=opus"
    assert form["MessageType"] == "audio"
    (media,) = seat.ask("/simulator/messages")[0]["media"]
    pages = seat.page.request.get(urljoin(seat.page.url, media["href"])).body()
    assert pages.startswith(b"OggS")
    assert pages.count(b"OggS") > 2  # the two of its head, and sound
    assert b"OpusHead" in pages[:80]
    seat.own("Ana").get_by_role("button", name="Play voice note").click()
    expect(seat.own("Ana").get_by_role("button", name="Pause voice note")).to_be_visible()


def test_a_place_and_a_tapped_button_go_out_in_their_own_form(seat: Seat):
    attach = seat.phone("Ana").get_by_role("button", name="Attach")
    attach.click()
    seat.page.get_by_role("menuitem", name="Location").click()
    seat.page.get_by_role("dialog").get_by_role("button", name="Shibuya Crossing").click()
    seat.page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(seat.own("Ana").locator(".place")).to_contain_text("Shibuya Crossing")
    seat.answered("Ana")
    form = form_of_last_webhook(seat)
    assert (form["Latitude"], form["Label"], form["MessageType"]) == ("35.6595", "Shibuya Crossing", "location")

    attach.click()
    seat.page.get_by_role("menuitem", name="Tap on a button").click()
    expect(seat.page.get_by_role("dialog")).to_be_visible()
    seat.page.keyboard.type("Music please")  # over what stands there
    seat.page.keyboard.press("Enter")
    expect(seat.own("Ana").last.locator(".tapped")).to_be_visible()
    form = form_of_last_webhook(seat)
    assert (form["ButtonText"], form["MessageType"]) == ("Music please", "button")
    expect(seat.field("Ana")).to_be_focused()


def test_who_takes_a_first_sentence_goes_on_in_the_field(seat: Seat):
    seat.phone("Ana").locator(".suggestion").first.focus()
    seat.page.keyboard.press("Enter")
    expect(seat.own("Ana")).to_have_count(1)
    expect(seat.field("Ana")).to_be_focused()
    seat.answered("Ana")


def test_a_failed_delivery_is_red_and_says_why(seat: Seat, system: System):
    call("PUT", f"{system.stack.phone.url}/simulator/faults", {"twilio": {"undelivered_code": 63016}})
    seat.write("Ana", "Who knows about music?")
    answer = seat.answered("Ana")
    expect(tick(answer, "failed")).to_be_visible()
    expect(answer.locator(".trouble")).to_contain_text("63016")
    expect(answer.locator(".trouble")).to_contain_text("24 hours")


def test_unread_answers_are_counted_until_they_are_seen(seat: Seat):
    hidden = seat.page.locator(".person").nth(3)
    name = hidden.locator("b").inner_text()
    person = next(p for p in seat.ask("/simulator/people") if p["name"] == name)
    letter = {"from": person["from"], "profile_name": name, "body": "Who knows about music?", "wait": False}
    seat.page.evaluate(
        "letter => fetch('/simulator/inbound', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify(letter)})",
        letter,
    )
    expect(hidden.locator(".badge")).to_have_text("1 unread", timeout=ANSWERED_WITHIN_MS)
    seat.choose(name)
    expect(seat.replies(name)).to_have_count(1)
    expect(hidden.locator(".badge")).to_be_hidden()


def test_someone_reading_above_stays_there_and_can_jump_to_the_newest(seat: Seat, system: System):
    for number in range(12):
        system.stack.phone.write("+15550100001", f"message {number} about music\nand a second line")
    phone = seat.phone("Ana")
    expect(seat.own("Ana")).to_have_count(12)
    scroller = phone.locator(".scroller")
    scroller.hover()
    jump = phone.get_by_role("button", name="To the newest message")
    for _ in range(50):  # an answer that comes in the middle of it may carry the reader down again
        seat.page.mouse.wheel(0, -2_000)
        seat.page.wait_for_timeout(200)
        if jump.is_visible():
            break
    expect(jump).to_be_visible()
    system.stack.phone.write("+15550100001", "one more about music")
    expect(seat.own("Ana")).to_have_count(13)
    assert scroller.evaluate("n => n.scrollHeight - n.scrollTop - n.clientHeight") > 100
    jump.click()
    expect(jump).to_be_hidden()


def test_a_lost_simulator_is_told_and_nothing_written_meanwhile_is_lost(
    seat: Seat, system: System, strictness: Strictness
):
    strictness.allowed.append("Failed to load resource")  # chromium says so of each call that finds nobody
    seat.write("Ana", "Who knows about music?")
    seat.answered("Ana")
    system.stack.processes.stop("simulator")
    banner = seat.page.get_by_text("Reconnecting to the simulator")
    expect(banner).to_be_visible()
    seat.write("Ana", "written while you were away, about music")
    expect(seat.own("Ana").last.locator(".trouble")).to_contain_text("does not answer")

    system.stack.start_simulator()
    system.stack.wait_until_ready()
    expect(banner).to_be_hidden()
    expect(seat.own("Ana")).to_have_count(1)  # the simulator's memory went with it, what was not sent stays
    seat.own("Ana").get_by_role("button", name="Try again").click()
    seat.answered("Ana")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_systems_colours_until_one_is_chosen(context: BrowserContext, scheme: str):
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    seat = Seat(page)
    seat.open()
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    seat.stop(f"{other.capitalize()} colours").click()
    expect(page.locator("html")).to_have_attribute("data-theme", other)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", other)
