import json
import re
import time

import pytest
from playwright.sync_api import BrowserContext, Locator, Route, expect

from deploy.local.loopback import call
from tests.browser.conftest import Strictness
from tests.browser.seat import ANSWERED_WITHIN_MS, Seat
from tests.system.running import System

TORN = "My boss wants me to stream on Twitch, should I quit?"
"""Of two subjects: a word less, and somebody else answers."""
INBOUND = """letter => fetch("/simulator/inbound", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(letter)
})"""
"""The page itself asks for it, and does not wait for the webhook."""
pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(240)]


@pytest.fixture
def panel(seat: Seat) -> Locator:
    return seat.page.get_by_role("complementary", name="Behind the chat")


def ask_and_look(seat: Seat, text: str = "Who knows about music?") -> None:
    """Ana writes, is answered, and her message is looked at."""
    seat.write("Ana", text)
    seat.answered("Ana")
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")


def test_a_message_tells_how_it_went_who_was_chosen_and_what_it_cost(seat: Seat, panel: Locator):
    ask_and_look(seat)
    expect(panel.locator(".ending")).to_contain_text("Answered by", timeout=ANSWERED_WITHIN_MS)
    for phase in ("Inbox to Postgres", "The model", "Send piece"):
        expect(panel.locator(".waterfall")).to_contain_text(phase)
    expect(panel.locator(".ladder .decided")).to_contain_text("words")
    expect(panel.locator(".bars > div")).to_have_count(len(seat.ask("/simulator/inspect/cast")["characters"]))
    expect(panel.locator(".bars .won")).to_have_count(1)
    expect(panel.locator(".evidence")).to_contain_text("music")
    expect(panel.locator(".facts")).to_contain_text(re.compile(r"\d+ messages, [\d,]+ characters"))
    expect(panel.locator(".facts")).to_contain_text(re.compile(r"\d+ in, \d+ out"))
    expect(panel.locator(".sends")).to_contain_text("1 try")
    thought = panel.locator(".waterfall li", has_text="The model").locator(".phase-time")
    expect(thought).to_have_text(re.compile(r"^[1-9][\d.]* s$"))  # the simulated model takes a second


def test_the_answers_own_bubble_tells_the_same_story(seat: Seat, panel: Locator):
    ask_and_look(seat)
    told = panel.locator(".why b")
    expect(told).not_to_be_empty(timeout=ANSWERED_WITHIN_MS)
    before = told.inner_text()
    seat.replies("Ana").first.focus()
    seat.replies("Ana").first.press("Enter")
    expect(seat.replies("Ana").first).to_have_class(re.compile("selected"))
    expect(told).to_have_text(before)


def test_a_link_to_a_message_shows_its_records_and_no_spinner(seat: Seat, panel: Locator):
    ask_and_look(seat)
    expect(panel.locator(".ending")).to_contain_text("Answered by", timeout=ANSWERED_WITHIN_MS)
    seat.page.reload()
    expect(panel.locator(".ending")).to_contain_text("Answered by")


def test_a_message_that_was_not_sent_is_told_as_that(seat: Seat, panel: Locator, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    seat.page.route("**/simulator/inbound", lambda route: route.abort())
    seat.write("Ana", "Who knows about music?")
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(panel).to_contain_text("Not sent yet")
    expect(panel.locator(".loading")).to_have_count(0)
    again = seat.own("Ana").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    seat.page.unroute_all()
    again.click()
    expect(panel.locator(".ending")).to_contain_text("Answered by", timeout=ANSWERED_WITHIN_MS)


def test_the_panel_keeps_up_with_what_becomes_of_its_message(
    seat: Seat, panel: Locator, system: System, strictness: Strictness
):
    strictness.allowed.append("Failed to load resource")  # chromium says so of each id that the bot does not know
    phone = system.stack.phone
    phone.set_faults({"webhook": {"delay_ms": 3_000}})
    seat.page.evaluate(INBOUND, {"from": "+15550100001", "body": "let me in", "wrong_signature": True, "wait": False})
    expect(seat.own("Ana")).to_have_count(1)
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(panel).to_contain_text("The bot has no record of this message yet")
    expect(panel).to_contain_text("The bot never got this message")

    phone.set_faults({})
    panel.get_by_role("tab", name="Wire").click()
    panel.get_by_role("button", name="All").click()
    before = panel.locator("details").count()
    phone.write("+491700000002", "Who knows about music?")
    seat.answered("Bo")
    expect(panel.locator("details", has_text="Chat completion")).not_to_have_count(0)
    assert panel.locator("details").count() > before

    call("DELETE", f"{phone.url}/simulator/state")
    expect(panel).to_contain_text("Why did she answer that?")


def test_records_that_come_late_are_not_shown_under_another_message(seat: Seat, panel: Locator):
    def answer(route: Route) -> None:
        if late in route.request.url:
            held.append(route)
        else:
            route.continue_()

    held: list[Route] = []
    ask_and_look(seat)
    told = panel.locator(".why").first
    expect(told).not_to_be_empty(timeout=ANSWERED_WITHIN_MS)
    seat.write("Bo", "I need a good book for the train")
    seat.answered("Bo")
    late = seat.own("Bo").first.get_attribute("data-sid") or ""
    seat.page.route("**/simulator/inspect/timeline/*", answer)
    with seat.page.expect_request(f"**/timeline/{late}"):
        seat.own("Bo").first.focus()
        seat.own("Bo").first.press("Enter")
    expect(panel.locator(".loading")).to_be_visible()
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(panel.locator(".evidence")).to_contain_text("music")
    assert held
    for route in held:
        with seat.page.expect_response(f"**/timeline/{late}"):
            route.continue_()
    panel.get_by_role("tab", name="Wire").click()
    panel.get_by_role("tab", name="Timeline").click()  # drawn from what is known now
    expect(panel.locator(".evidence")).to_contain_text("music")


def test_the_wire_shows_each_call_with_its_signature_check(seat: Seat, panel: Locator):
    ask_and_look(seat)
    panel.get_by_role("tab", name="Wire").click()
    webhook = panel.locator("details", has_text="Message webhook")
    webhook.locator("summary").click()
    expect(webhook).to_contain_text("X-Twilio-Signature is right")
    expect(webhook.locator(".form")).to_contain_text("Who knows about music?")
    panel.get_by_role("button", name="Its turn").click()
    send = panel.locator("details", has_text="Send a message").first
    send.locator("summary").click()
    expect(send).to_contain_text("credentials are right")
    expect(send.locator(".json-key").first).to_be_visible()
    panel.get_by_role("button", name="This chat").click()
    expect(panel.locator("details", has_text="Chat completion").first).to_be_visible()


def test_a_wrong_signature_is_refused_and_told(seat: Seat, panel: Locator):
    seat.stop("Knobs").click()
    seat.page.get_by_role("switch", name=re.compile("^Wrong signature")).click()
    expect(seat.phone("Ana").get_by_text("Next message: Wrong signature")).to_be_visible()
    seat.write("Ana", "let me in")
    expect(seat.own("Ana").locator(".tick-failed")).to_have_count(1)
    expect(seat.phone("Ana").get_by_text("Next message")).to_have_count(0)
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(panel).to_contain_text("The bot never got this message")
    panel.get_by_role("tab", name="Wire").click()
    panel.locator("summary").first.click()
    expect(panel).to_contain_text("X-Twilio-Signature is wrong")
    expect(panel.locator(".pill-bad").first).to_have_text("403")


def test_every_knob_is_turned_on_shown_above_and_turned_off_with_one_click(seat: Seat):
    seat.stop("Knobs").click()
    chips = seat.page.get_by_role("region", name="Faults that are on")
    knobs = [knob for knob in seat.ask("/simulator/knobs") if "faults" in knob]
    assert len(knobs) > 20
    nothing = seat.ask("/simulator/faults")
    for knob in knobs:
        switch = seat.page.locator(f"[data-knob='{knob['id']}']")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "true")
        assert seat.ask("/simulator/faults") != nothing, knob["id"]
        chip = chips.get_by_role("button", name=re.compile(re.escape(knob["label"])))
        chip.click()
        expect(chips).to_be_hidden()
        expect(switch).to_have_attribute("aria-checked", "false")
        assert seat.ask("/simulator/faults") == nothing, knob["id"]


def test_knobs_of_the_next_message_go_with_one_message_only(seat: Seat):
    seat.stop("Knobs").click()
    for knob in seat.ask("/simulator/knobs"):
        if "inbound" not in knob or "burst" in knob["inbound"]:
            continue
        switch = seat.page.locator(f"[data-knob='{knob['id']}']")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "true")
        seat.write("Bo", f"about music, {knob['id']}")
        expect(switch).to_have_attribute("aria-checked", "false")
    expect(seat.own("Bo").locator(".tick-failed")).to_have_count(1)  # the wrong signature
    expect(seat.replies("Bo")).not_to_have_count(0, timeout=ANSWERED_WITHIN_MS)
    twice = [c for c in seat.ask("/simulator/calls?endpoint=webhook") if "send_twice" in c["request"]]
    assert len(twice) == 2
    for knob in seat.ask("/simulator/knobs"):
        if knob.get("inbound", {}).get("burst"):
            before = seat.own("Bo").count()
            expect(seat.page.locator(f"[data-knob='{knob['id']}']")).to_contain_text("Send as Bo")  # who wrote last
            seat.page.locator(f"[data-knob='{knob['id']}']").click()
            expect(seat.own("Bo")).to_have_count(before + len(knob["inbound"]["burst"]))


def test_a_fault_that_a_call_set_has_its_chip_too(seat: Seat):
    seat.page.evaluate(
        "() => fetch('/simulator/faults', {method: 'PUT', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({llm: {malformed: 1}})})"
    )
    chips = seat.page.get_by_role("region", name="Faults that are on")
    chips.get_by_role("button", name=re.compile("llm.malformed")).click()
    expect(chips).to_be_hidden()


SCRIPTED = {
    "seed": 7,
    "llm": {"status": [503], "rate": 0.1, "count": 3, "models": ["another"]},
    "twilio": {"slow_ms": 9, "slow_rate": 0.5, "calls": ["list"], "status_delays_ms": []},
    "webhook": {"delay_ms": 1, "delay_rate": 0.5},
}
"""Each of them seldom: left out of the next document, what bounds a fault would be "always"."""


def test_a_knob_leaves_what_a_script_set_as_seldom_as_it_was(seat: Seat, system: System):
    system.stack.phone.set_faults(SCRIPTED)
    chips = seat.page.get_by_role("region", name="Faults that are on")
    expect(chips.get_by_role("button")).to_have_count(4)  # three, and all at once
    scripted = seat.ask("/simulator/faults")
    seat.stop("Knobs").click()
    for knob in ("callbacks_drop", "llm_trickle", "moderation_down", "webhook_duplicate"):
        switch = seat.page.locator(f"[data-knob='{knob}']")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "true")
        now = seat.ask("/simulator/faults")
        for section, faults in SCRIPTED.items():
            kept = {name: now[section][name] for name in faults} if isinstance(faults, dict) else now[section]
            assert kept == faults, knob
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "false")
        assert seat.ask("/simulator/faults") == scripted
    seat.page.locator("[data-knob='llm_500']").click()  # in place of the script's 503, without its bounds
    expect(chips.get_by_role("button")).to_have_count(4)
    now = seat.ask("/simulator/faults")["llm"]
    assert (now["status"], now["rate"], now["count"], now["models"]) == ([500], 1, None, [])
    chips.get_by_role("button", name="All off").click()
    expect(chips).to_be_hidden()
    assert (seat.ask("/simulator/faults")["seed"], seat.ask("/simulator/faults")["webhook"]["delay_rate"]) == (0, 1)


def test_a_fault_that_is_used_up_neither_shows_nor_comes_back(seat: Seat, system: System):
    system.stack.phone.set_faults({"moderation": {"status": [503], "count": 0}})
    seat.stop("Knobs").click()
    expect(seat.page.locator("[data-knob='moderation_down']")).to_have_attribute("aria-checked", "false")
    expect(seat.page.get_by_role("region", name="Faults that are on")).to_be_hidden()
    seat.page.locator("[data-knob='moderation_flag']").click()
    expect(seat.page.locator("[data-knob='moderation_flag']")).to_have_attribute("aria-checked", "true")
    assert seat.ask("/simulator/faults")["moderation"]["status"] == []


def test_twilios_refusal_is_seen_as_another_try(seat: Seat, panel: Locator):
    seat.stop("Knobs").click()
    seat.page.locator("[data-knob='twilio_429']").click()
    seat.write("Ana", "Who knows about music?")
    end = time.monotonic() + ANSWERED_WITHIN_MS / 1000
    while all(call["status"] != 429 for call in seat.ask("/simulator/calls?endpoint=create")):
        assert time.monotonic() < end, "Twilio was not asked to send"
        seat.page.wait_for_timeout(100)
    seat.page.get_by_role("region", name="Faults that are on").get_by_role("button").first.click()
    seat.answered("Ana")
    seat.own("Ana").first.focus()
    seat.own("Ana").first.press("Enter")
    expect(panel.locator(".sends")).to_contain_text(re.compile(r"[2-9] tries"), timeout=ANSWERED_WITHIN_MS)


def test_the_lab_tells_who_would_answer_and_what_would_change_it(seat: Seat):
    seat.stop("Routing lab").click()
    seat.page.get_by_label("What somebody writes, one message a line").fill(f"{TORN}\nand another one")
    seat.page.get_by_role("button", name="Who answers?").click()
    results = seat.page.locator(".result")
    expect(results).to_have_count(2, timeout=ANSWERED_WITHIN_MS)
    first = results.first
    expect(first.locator(".ladder .decided")).to_have_count(1)
    expect(first.locator(".evidence")).to_contain_text("twitch")
    expect(first.locator(".bars .won")).to_have_count(1)
    first.locator(".changes summary").click()
    expect(first.locator(".changes li").first).to_contain_text("without ")
    expect(first.locator(".why .pill")).to_have_text(re.compile(r"^\d+ %$"))
    expect(results.last.locator(".ladder .decided")).to_contain_text("stay")
    expect(results.last.locator(".why .pill")).to_have_count(0)  # nobody was sure
    assert seat.ask("/simulator/messages") == []


def test_the_lab_shows_what_was_asked_last_whatever_answers_last(seat: Seat):
    def answer(route: Route) -> None:
        if "songs" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    held: list[Route] = []
    seat.page.route("**/simulator/inspect/route", answer)
    seat.stop("Routing lab").click()
    lines = seat.page.get_by_label("What somebody writes, one message a line")
    for text in ("songs", "novels"):
        lines.fill(text)
        lines.press("Control+Enter")
    shown = seat.page.locator(".result-text")
    expect(shown).to_have_text(["novels"], timeout=ANSWERED_WITHIN_MS)
    with seat.page.expect_response("**/simulator/inspect/route"):
        held[0].continue_()
    seat.page.evaluate("new Promise(requestAnimationFrame)")
    expect(shown).to_have_text(["novels"])


def test_edited_words_are_tried_at_once_and_copied_as_toml(seat: Seat, context: BrowserContext):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    seat.stop("Routing lab").click()
    cast = seat.ask("/simulator/inspect/cast")
    other = next(c for c in cast["characters"] if not c["default"])
    seat.page.get_by_label("What somebody writes, one message a line").fill("my zorblatt is broken")
    seat.page.get_by_role("button", name="Who answers?").click()
    answer = seat.page.locator(".result .why b")
    expect(answer).not_to_contain_text(other["name"], timeout=ANSWERED_WITHIN_MS)
    seat.page.get_by_label("Character").select_option(other["id"])
    triggers = seat.page.get_by_label(re.compile("^Triggers"))
    triggers.fill(triggers.input_value() + ", zorblatt")
    triggers.blur()
    expect(answer).to_contain_text(other["name"], timeout=ANSWERED_WITHIN_MS)
    seat.page.get_by_role("button", name="Copy as TOML").click()
    copied = seat.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("[en]\ntriggers = [")
    assert '"zorblatt"' in copied
    seat.page.get_by_role("button", name="As in the file").click()
    expect(answer).not_to_contain_text(other["name"], timeout=ANSWERED_WITHIN_MS)


def test_words_are_separated_by_the_commas_of_every_script(seat: Seat):
    seat.stop("Routing lab").click()
    triggers = seat.page.get_by_label(re.compile("^Triggers"))
    expect(seat.page.get_by_label("Character").locator("option")).not_to_have_count(0)
    triggers.fill("音楽、曲，歌،أغنية, song")  # noqa: RUF001 - commas as they are written elsewhere
    kept = seat.page.evaluate("JSON.parse(localStorage['phone:words'])")
    (words,) = next(iter(kept.values())).values()
    assert words["triggers"] == ["音楽", "曲", "歌", "أغنية", "song"]


def test_lines_that_are_too_many_are_told(seat: Seat):
    seat.stop("Routing lab").click()
    seat.page.get_by_label(re.compile("^one conversation")).uncheck()
    seat.page.get_by_label("What somebody writes, one message a line").fill("\n".join(f"song {n}" for n in range(62)))
    seat.page.get_by_role("button", name="Who answers?").click()
    expect(seat.page.locator(".result")).to_have_count(60, timeout=ANSWERED_WITHIN_MS)
    expect(seat.page.locator(".results")).to_contain_text("the last 2 of 62 were not")


def test_the_lab_asks_for_the_cast_again_when_it_was_not_to_be_had(context: BrowserContext, strictness: Strictness):
    strictness.allowed.append("Failed to load resource")
    page = context.new_page()
    page.route("**/simulator/inspect/cast", lambda route: route.abort())
    seat = Seat(page)
    seat.open()
    seat.stop("Routing lab").click()
    expect(page.locator(".edited")).to_contain_text("does not answer")
    page.unroute_all()
    seat.stop("Chats").click()
    seat.stop("Routing lab").click()
    expect(page.get_by_label("Character").locator("option")).not_to_have_count(0)


BAD_LINES = b'{"text": "a"}\nnonsense\n{"text": "a", "label": "nobody"}\n'


def test_a_labelled_file_gives_accuracy_and_who_is_taken_for_whom(seat: Seat):
    seat.stop("Routing lab").click()
    cast = seat.ask("/simulator/inspect/cast")
    named = [{"text": f"{c['name']}, are you there?", "label": c["id"]} for c in cast["characters"]]
    wrong = {"text": f"{cast['characters'][0]['name']}, hello", "label": cast["characters"][-1]["id"]}
    lines = "\n".join(json.dumps(line) for line in [*named, wrong])
    choose = seat.page.locator("#lab-file")
    choose.set_input_files({"name": "labelled.jsonl", "mimeType": "text/plain", "buffer": lines.encode()})
    share = round(100 * len(named) / (len(named) + 1))
    expect(seat.page.locator(".accuracy")).to_contain_text(f"{share} %", timeout=ANSWERED_WITHIN_MS)
    expect(seat.page.locator(".confusion td.wrong")).to_have_text(["1"])
    seat.page.locator(".wrong summary").click()
    expect(seat.page.locator(".wrong li")).to_contain_text(wrong["text"])

    choose.set_input_files({"name": "bad.jsonl", "mimeType": "text/plain", "buffer": BAD_LINES})
    expect(seat.page.locator(".problems li")).to_have_text(
        [
            'line 1: needs "text" and "label"',
            "line 2: no JSON",
            f'line 3: the label "nobody" is none of {", ".join(c["id"] for c in cast["characters"])}, none',
        ]
    )
