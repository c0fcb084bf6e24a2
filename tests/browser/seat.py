"""Somebody who sits before the page: what they can see and do, by what the page calls it."""

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

ANSWERED_WITHIN_MS = 60_000
OPENINGS = 4
"""chromium drops what it loads whenever a network interface of the machine comes or goes: then it is opened again."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One page and its phones, each named by its person."""

    page: Page

    def open(self, place: str = "") -> None:
        for attempt in range(OPENINGS):
            self.page.goto(f"/{place}")
            try:
                expect(self.page.locator(".person, .lab")).not_to_have_count(0, timeout=15_000)
            except AssertionError:
                if attempt == OPENINGS - 1:
                    raise
            else:
                return

    def phone(self, name: str) -> Locator:
        return self.page.get_by_role("region", name=f"{name}'s phone", exact=True)

    def choose(self, name: str) -> Locator:
        """Opens a person's phone from the list."""
        self.page.locator(".person").filter(has=self.page.locator("b").get_by_text(name, exact=True)).click()
        return self.phone(name)

    def write(self, name: str, text: str) -> None:
        field = self.field(name)
        field.fill(text)
        field.press("Enter")

    def field(self, name: str) -> Locator:
        return self.phone(name).get_by_label(f"Message of {name}")

    def own(self, name: str) -> Locator:
        return self.phone(name).locator(".row.own[data-sid]")

    def replies(self, name: str) -> Locator:
        return self.phone(name).locator(".row.theirs[data-sid]")

    def answered(self, name: str, replies: int = 1) -> Locator:
        """Waits until that many bubbles of the bot stand in the thread; returns the newest."""
        expect(self.replies(name)).to_have_count(replies, timeout=ANSWERED_WITHIN_MS)
        return self.replies(name).last

    def note_typing(self) -> None:
        """From now on the page writes down whose phone showed the typing bubble, and the word in the header."""
        self.page.evaluate(
            """() => {
                window.typed = {};
                new MutationObserver(() => {
                    for (const phone of document.querySelectorAll(".phone")) {
                        const seen = (window.typed[phone.querySelector(".owner b").textContent] ??= []);
                        if (phone.querySelector(".typing .bubble") && !seen.includes("bubble")) seen.push("bubble");
                        const word = phone.querySelector("header .state").textContent;
                        if (word === "typing…" && !seen.includes("word")) seen.push("word");
                    }
                }).observe(document.body, { subtree: true, childList: true, characterData: true });
            }"""
        )

    def typed(self) -> dict[str, list[str]]:
        return {name: sorted(seen) for name, seen in self.page.evaluate("window.typed").items()}

    def stop(self, label: str) -> Locator:
        """A button of the rail."""
        return self.page.get_by_role("navigation", name="Views").get_by_role("button", name=label, exact=True)

    def ask(self, path: str) -> Any:
        """What the simulator says, asked by the page itself."""
        return self.page.evaluate("path => fetch(path).then(r => r.json())", path)
