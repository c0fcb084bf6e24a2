from typing import Any

import pytest

from deploy.simulator.chat_lines import Said, news, reason


def row(direction: str = "outbound-api", **changes: Any) -> dict[str, Any]:
    plain = {"status": "sent", "error_code": None, "error_message": None, "carried": "waiting", "read_at": None}
    return {"direction": direction, "body": "hello", "media": [], "location": None, **plain, **changes}


def test_a_new_message_is_a_bubble_on_its_side():
    assert news(row(), None) == [Said(by="bot", text="hello")]
    assert news(row("inbound"), None) == [Said(by="person", text="hello")]
    photo = row("inbound", body="", media=[{"content_type": "image/png", "bytes": 70}])
    assert news(photo, None)[0].text == "[image/png, 70 bytes]"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (row(), row(status="delivered"), "✓✓ delivered"),
        (row(status="delivered"), row(status="read"), "✓✓ read"),
        (row(), row(status="undelivered", error_code=63016, error_message="Too late"), "✗ undelivered 63016: Too late"),
        (row("inbound"), row("inbound", carried="acknowledged"), "✓✓ delivered"),
        (row("inbound", carried="acknowledged"), row("inbound", carried="acknowledged", read_at="x"), "✓✓ read"),
        (row("inbound", carried="dropped"), row("inbound", carried="found"), "✓✓ found by the bot in Twilio's log"),
    ],
)
def test_each_tick_is_told_once(before: dict[str, Any], after: dict[str, Any], said: str):
    assert news(after, before) == [Said(by="remark", text=said)]
    assert news(after, after) == []


def test_what_did_not_arrive_is_said():
    assert news(row("inbound", carried="refused"), row("inbound"))[0].text.startswith("✗")
    assert news(row("inbound", carried="dropped"), row("inbound"))[0].text.startswith("✗")
    assert news(row("inbound", carried="dropped", read_at="x"), row("inbound"))[0].text.startswith("✗")


def test_the_reason_is_one_short_line_without_a_decision_none():
    decision = {"character": "rosa", "tier": "words", "confidence": 0.876, "why": "because\n" * 100}
    told = reason({"facts": {"decision": decision}})
    assert told.startswith("rosa by words, 0.88: because because")
    assert len(told) < 200
    assert "\n" not in told
    assert reason({"facts": {"ending": None}}) == ""
