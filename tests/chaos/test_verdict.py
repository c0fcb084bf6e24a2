from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.chaos.traffic import PREFIX, Written
from tests.chaos.verdict import Judgement, Verdict, told

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
PERSON = f"{PREFIX}001"


def second(number: float) -> datetime:
    return AT + timedelta(seconds=number)


def written(number: int, *, began: float, acknowledged: float) -> Written:
    return Written(sid=f"SM{number}", tag=f"0001-{number}", began=second(began), acknowledged=second(acknowledged))


def stored(number: int, *, turn: int | None = None, **more: Any) -> dict[str, Any]:
    row = {
        "id": number,
        "sid": f"SM{number}",
        "late": False,
        "too_late": False,
        "received_at": second(number),
        "turn_id": turn or number,
        "outcome": "answered",
        "reason": "",
        "finished": True,
    }
    return row | more


def delivery(number: int, *, turn: int | None = None, **more: Any) -> dict[str, Any]:
    row = {
        "id": number,
        "conversation_id": 1,
        "turn_id": turn or number,
        "piece": 1,
        "state": "accepted",
        "resent_unseen": 0,
    }
    return row | {"provider_id": f"SMout{number}", "error_code": ""} | more


def wrote(number: int) -> dict[str, Any]:
    return {"sid": f"SM{number}", "direction": "inbound", "number": number}


def reply(place: int, *, of_delivery: int, to: Sequence[int], sid: str = "") -> dict[str, Any]:
    quoted = " and ".join(f"“0001-{number}: hello”" for number in to)
    return {
        "sid": sid or f"SMout{of_delivery}",
        "direction": "outbound-api",
        "number": place,
        "body": f"You wrote {quoted}.",
        "status_callback": f"http://127.0.0.1/whatsapp/status?delivery={of_delivery}#rc=3",
        "created_at": second(place).isoformat(),
    }


def judged(
    inbound: Sequence[Mapping[str, Any]],
    deliveries: Sequence[Mapping[str, Any]],
    world: Sequence[Mapping[str, Any]],
    acknowledged: Sequence[Written] = (),
    flushed_at: Sequence[datetime] = (),
) -> Verdict:
    judgement = Judgement(inbound, {row["id"]: row for row in deliveries}, world)
    return judgement.pass_on({PERSON: acknowledged}, flushed_at)


def breaches(verdict: Verdict) -> dict[str, int]:
    return {name: count for name, count in verdict.breaches.counts().items() if count}


ONE_AFTER_THE_OTHER = (written(1, began=0, acknowledged=1), written(2, began=2, acknowledged=3))


def test_what_was_answered_once_and_in_order_is_good():
    world = [wrote(1), wrote(2), reply(3, of_delivery=1, to=[1]), reply(4, of_delivery=2, to=[2])]
    verdict = judged([stored(1), stored(2)], [delivery(1), delivery(2)], world, ONE_AFTER_THE_OTHER)
    assert verdict.good, breaches(verdict)


def test_what_only_the_world_knows_is_lost():
    assert breaches(judged([], [], [wrote(1)])) == {"lost": 1}


def test_a_message_without_an_end_is_unfinished():
    assert breaches(judged([stored(1, finished=False, outcome=None)], [], [wrote(1)])) == {"unfinished": 1}


def test_an_answer_that_the_world_never_saw_is_none():
    assert breaches(judged([stored(1)], [delivery(1)], [wrote(1)])) == {"unanswered": 1, "missing": 1}
    assert breaches(judged([stored(1, too_late=True)], [], [wrote(1)])) == {"unanswered": 1}


def test_a_delivery_seen_twice_is_doubled_also_when_it_was_resent_unseen():
    copies = [reply(2, of_delivery=1, to=[1]), reply(3, of_delivery=1, to=[1], sid="SMcopy")]
    assert breaches(judged([stored(1)], [delivery(1, resent_unseen=1)], [wrote(1), *copies])) == {"doubled": 1}


def test_a_message_taken_up_by_two_replies_is_doubled_though_each_has_its_delivery():
    world = [wrote(1), reply(2, of_delivery=1, to=[1]), reply(3, of_delivery=2, to=[1])]
    assert breaches(judged([stored(1)], [delivery(1), delivery(2, turn=1)], world)) == {"doubled": 1}


def test_a_message_with_two_rows_is_stored_twice():
    world = [wrote(1), reply(2, of_delivery=1, to=[1])]
    assert breaches(judged([stored(1), stored(1)], [delivery(1)], world)) == {"stored_twice": 1}


def test_what_came_from_no_delivery_of_ours_is_foreign():
    world = [wrote(1), reply(2, of_delivery=1, to=[1]), reply(3, of_delivery=7, to=[])]
    assert breaches(judged([stored(1)], [delivery(1)], world)) == {"foreign": 1}


def test_a_later_message_that_is_answered_first_is_out_of_order():
    world = [wrote(1), wrote(2), reply(3, of_delivery=1, to=[2]), reply(4, of_delivery=2, to=[1])]
    rows = [stored(1, turn=2), stored(2, turn=1)], [delivery(1), delivery(2)]
    assert breaches(judged(*rows, world, ONE_AFTER_THE_OTHER)) == {"out_of_order": 1}
    at_once = (written(1, began=0, acknowledged=2), written(2, began=1, acknowledged=3))
    assert judged(*rows, world, at_once).good
    late = [stored(1, late=True, turn=2), stored(2, turn=1)], [delivery(1), delivery(2)]
    assert judged(*late, world, ONE_AFTER_THE_OTHER).good


def test_a_later_message_that_is_taken_up_first_in_the_same_reply_is_out_of_order():
    world = [wrote(1), wrote(2), reply(3, of_delivery=1, to=[2, 1])]
    rows = [stored(1, turn=1, id=9), stored(2, turn=1)]
    assert breaches(judged(rows, [delivery(1)], world, ONE_AFTER_THE_OTHER)) == {"out_of_order": 1}


def test_a_piece_that_overtakes_another_is_out_of_sequence():
    world = [wrote(1), reply(2, of_delivery=2, to=[1]), reply(3, of_delivery=1, to=[])]
    verdict = judged([stored(1)], [delivery(1), delivery(2, turn=1, piece=2)], world)
    assert breaches(verdict) == {"out_of_sequence": 1}


def test_only_a_flush_excuses_what_came_through_the_door_again_after_it():
    world = [wrote(1), wrote(2), reply(3, of_delivery=1, to=[2]), reply(4, of_delivery=2, to=[1])]
    rows = [stored(1, turn=2, received_at=second(9)), stored(2, turn=1)], [delivery(1), delivery(2)]
    assert judged(*rows, world, ONE_AFTER_THE_OTHER, [second(1.5)]).good
    assert breaches(judged(*rows, world, ONE_AFTER_THE_OTHER)) == {"out_of_order": 1}
    assert breaches(judged(*rows, world, ONE_AFTER_THE_OTHER, [second(10)])) == {"out_of_order": 1}


def test_a_failed_delivery_is_named_by_its_code_and_is_no_silence():
    verdict = judged([stored(1)], [delivery(1, state="failed", error_code="unseen")], [wrote(1)])
    assert verdict.good
    assert verdict.unreachable == {"unseen": 1}


def test_a_text_or_an_address_in_a_log_is_found(tmp_path: Path):
    (tmp_path / "worker.log").write_text('{"event": "sent", "turn": 3}\n{"event": "tell me more"}\n')
    (tmp_path / "beat.log").write_text("15550000017\n")
    assert told(tmp_path) == ["beat.log: line 1", "worker.log: line 2"]
