"""What an operator sees of a system that ran: it agrees with the provider, and says so when it does not."""

import json
from typing import Any

from tests.core.test_cli import sisters
from tests.system.running import System

PEOPLE = 30
_OWN = ("DATABASE_URL", "REDIS_URL", "TWILIO_", "PATH", "HOME")


def asked(system: System, *arguments: str) -> tuple[int, Any]:
    environment = {name: value for name, value in system.stack.environ.items() if name.startswith(_OWN)}
    done = sisters(*arguments, environment=environment)
    return done.returncode, json.loads(done.stdout)


def test_both_sides_agree_until_a_row_is_deleted_by_hand(system: System):
    people = [f"+1555040{number:04d}" for number in range(PEOPLE)]
    sids = [system.stack.phone.write(person, "Which guitar suits a beginner?") for person in people]
    read = "SELECT 1 FROM reports WHERE status = 'delivered'"
    system.wait_until(lambda: len(system.rows(read)) >= PEOPLE, within_s=60, what="everything delivered")
    code, document = asked(system, "audit", "--against-provider", "--since", "1h")
    assert {name: value for name, value in document.items() if value} == {"answered": PEOPLE}
    assert code == 0

    _, events = asked(system, "timeline", sids[0], "--json")
    order = [event["event"] for event in events]
    expected = ["received", "stored", "claimed", "routed", "asked", "accepted", "sent", "delivered"]
    assert [name for name in expected if name not in order] == []
    told = [event["at"] for event in events]
    assert told == sorted(told)

    system.rows("DELETE FROM messages WHERE provider_id = %(sid)s RETURNING id", sid=sids[1])
    answer_to = "USING messages m WHERE m.provider_id = %(sid)s AND d.turn_id = m.turn_id"
    system.rows(f"DELETE FROM deliveries d {answer_to} RETURNING d.id", sid=sids[2])
    code, document = asked(system, "audit", "--against-provider", "--since", "1h", "--stuck-after", "0")
    assert code == 1
    assert document["lost"] == [sids[1]]
    assert len(document["foreign"]) == 1
    assert [stuck["phase"] for stuck in document["stuck"]] == ["unproven"]
