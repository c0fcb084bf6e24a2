"""Each link in our documents leads to a file that is there, and to a heading that it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.stack import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md")])


def anchors(document: Path) -> set[str]:
    """As GitHub makes them: small letters, a hyphen for each space, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.strip().lower()).replace(" ", "-") for each in headings}


def broken(document: Path, text: str) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            yield link


def test_there_are_documents():
    assert ROOT / "README.md" in DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path):
    assert list(broken(document, document.read_text())) == []


def test_a_link_that_leads_nowhere_is_noticed():
    text = "[a](nothing.md) [b](#how-fast) [c](#how-slow) [d](deploy/runbook.md#pause) [e](deploy/runbook.md#rest)"
    assert list(broken(ROOT / "README.md", text)) == ["nothing.md", "#how-slow", "deploy/runbook.md#rest"]
