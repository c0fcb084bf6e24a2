"""End to end through real processes. The tests share one system; the last one reads all its logs."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from deploy.local.loopback import reachable
from tests.system.running import System

PEOPLE = 200
MESSAGES_EACH = 5
WRITING_AT_ONCE = 40


def test_a_message_is_answered_with_the_name_in_front(system: System, person: str):
    system.stack.phone.write(person, "Hello there, this is my very first message")
    (reply,) = system.wait_for_replies(person, 1)
    assert reply.startswith("*Botan🌸*: ")


@pytest.mark.parametrize(
    ("text", "name_line"),
    [
        ("Can you help me with music production?", "*Kasho🎵*: "),
        ("who knows about comics?", "*Yuri📚*: "),
        ("How do I start streaming?", "*Botan🌸*: "),
    ],
)
def test_the_articles_examples_reach_the_sister_whose_subject_it_is(
    system: System, person: str, text: str, name_line: str
):
    system.stack.phone.write(person, text)
    (reply,) = system.wait_for_replies(person, 1)
    assert reply.startswith(name_line)


def test_a_message_for_somebody_else_is_handed_over_and_the_reason_can_be_asked_for(system: System, person: str):
    system.stack.phone.write(person, "Could somebody else answer me today?")
    (reply,) = system.wait_for_replies(person, 1)
    assert reply.startswith("*Kasho🎵*: ")
    assert "Botan" in reply.splitlines()[0]
    system.stack.phone.write(person, "Why you?")
    assert "Botan thought that this was for me" in system.wait_for_replies(person, 2)[1]


def test_all_sisters_answer_once_each_one_after_the_other_and_it_counts_as_one_answer(system: System, person: str):
    sid = system.stack.phone.write(person, "All of you, what do you think of tea?", times=2)
    replies = system.wait_for_replies(person, 3)
    assert [reply.split(":")[0] for reply in replies] == ["*Botan🌸*", "*Kasho🎵*", "*Yuri📚*"]
    assert "after Botan and Kasho" in replies[2]
    time.sleep(2)
    assert len(system.stack.phone.replies(person)) == 3
    (turn,) = system.rows(_TURN_OF, sid=sid)
    assert (turn["outcome"], turn["replies"], turn["states"]) == ("answered", 3, ["accepted"] * 3)


_TURN_OF = """
SELECT t.outcome, (SELECT count(*) FROM messages o WHERE o.turn_id = t.id AND o.direction = 'out') AS replies,
       ARRAY(SELECT d.state FROM deliveries d WHERE d.turn_id = t.id ORDER BY d.id) AS states
FROM messages m JOIN turns t ON t.id = m.turn_id WHERE m.provider_id = %(sid)s
"""


def test_a_webhook_delivered_three_times_at_once_is_answered_once(system: System, person: str):
    sid = system.stack.phone.write(person, "Which guitar suits a beginner with small hands?", times=3)
    system.wait_for_replies(person, 1)
    # And once more when the answer is out, as Twilio's own retry would come.
    system.stack.phone.write(person, "Which guitar suits a beginner with small hands?", message_sid=sid)
    time.sleep(2)
    assert len(system.stack.phone.replies(person)) == 1
    assert len(system.rows("SELECT id FROM messages WHERE provider_id = %(sid)s", sid=sid)) == 1


def test_two_hundred_people_get_every_message_answered_once_and_in_order(system: System):
    numbers = [f"+1555030{n:04d}" for n in range(PEOPLE)]
    with ThreadPoolExecutor(WRITING_AT_ONCE) as pool:
        written = dict(zip(numbers, pool.map(partial(_write_all, system), numbers), strict=True))
    total = PEOPLE * MESSAGES_EACH
    system.wait_until(lambda: _is_settled(system, total), within_s=60, what="everything settled")

    messages = {row["sid"]: row for row in system.rows(_MESSAGES)}
    assert len(messages) == total
    replies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for reply in system.stack.phone.replies():
        replies["+" + reply["to"].partition("+")[2]].append(reply)
    ended: list[str] = []
    for number, sids in written.items():
        rows = [messages[sid] for sid in sids]
        ended += _check_person(rows, [reply["sid"] for reply in replies[number]])
    assert len(ended) == total
    assert ended.count("answered") + ended.count("merged") == total


def _write_all(system: System, number: str) -> list[str]:
    """One after the other, as the order at the door demands; every second one is delivered twice."""
    return [
        system.stack.phone.write(number, f"Question {n} about streaming, from one of many", times=1 + n % 2)
        for n in range(MESSAGES_EACH)
    ]


_MESSAGES = """
SELECT m.id, m.provider_id AS sid, m.turn_id, t.outcome,
       m.id = max(m.id) OVER (PARTITION BY m.turn_id) AS newest,
       ARRAY(SELECT d.provider_id FROM deliveries d WHERE d.turn_id = t.id ORDER BY d.id) AS sent,
       (SELECT count(*) FROM messages o WHERE o.turn_id = t.id AND o.direction = 'out') AS replies
FROM messages m JOIN turns t ON t.id = m.turn_id JOIN conversations c ON c.id = m.conversation_id
WHERE m.direction = 'in' AND c.sender LIKE 'whatsapp:+1555030%%'
"""
_OPEN = """
SELECT (SELECT count(*) FROM turns WHERE finished_at IS NULL)
     + (SELECT count(*) FROM deliveries WHERE state <> 'accepted') AS open,
       (SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id
        WHERE m.direction = 'in' AND m.turn_id IS NOT NULL AND c.sender LIKE 'whatsapp:+1555030%%') AS taken
"""


def _is_settled(system: System, total: int) -> bool:
    (row,) = system.rows(_OPEN)
    return row["open"] == 0 and row["taken"] >= total


def _check_person(rows: list[dict[str, Any]], seen: list[str]) -> list[str]:
    """Returns how each message of a person ended. `rows` are in the order in which they were acknowledged."""
    assert all(earlier["id"] < later["id"] for earlier, later in pairwise(rows))
    assert all(earlier["turn_id"] <= later["turn_id"] for earlier, later in pairwise(rows))
    turns = {row["turn_id"]: row for row in rows}
    assert 1 <= len(turns) <= MESSAGES_EACH
    assert all(row["replies"] == 1 and row["outcome"] == "answered" for row in rows)
    # What the person sees is what the turns sent: each piece once, in the order of the turns.
    assert seen == [sid for turn in sorted(turns) for sid in turns[turn]["sent"]]
    assert len(seen) == len(set(seen))
    assert all(turns[turn]["sent"] for turn in turns)
    return ["answered" if row["newest"] else "merged" for row in rows]


def test_while_postgres_is_away_the_webhook_takes_messages_and_they_are_answered_when_it_is_back(
    system: System, person: str
):
    system.postgres.stop()
    try:
        started = time.monotonic()
        sids = [system.stack.phone.write(person, f"Question {n} while your memory is away") for n in range(5)]
        assert time.monotonic() - started < 5
        assert reachable(f"{system.stack.webhook_url}/readyz")
        time.sleep(4)
        assert not system.stack.phone.replies(person)
    finally:
        system.postgres.start()
    system.wait_until(
        lambda: [row["provider_id"] for row in system.rows(_ENDED, sids=sids)] == sids,
        within_s=40,
        what="every message answered, stored in the order of the acknowledgements",
    )
    assert system.wait_for_replies(person, 1)


_ENDED = """
SELECT m.provider_id FROM messages m JOIN turns t ON t.id = m.turn_id
WHERE m.provider_id = ANY(%(sids)s) AND t.outcome = 'answered' ORDER BY m.id
"""


def test_no_log_of_any_process_holds_a_text_or_an_address(system: System):
    assert len(system.stack.phone.messages()) >= PEOPLE * MESSAGES_EACH
    assert {log.stem for log in system.logs.glob("*.log")} >= {"simulator", "webhook", "worker", "beat", "migrate"}
    assert system.told_in_logs() == []
