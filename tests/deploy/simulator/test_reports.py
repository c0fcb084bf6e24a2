import pytest

from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_NUMBER
from deploy.simulator.state import user_id_of
from tests.deploy.simulator.world import Reply, World, eventually, signed

PERSON = "whatsapp:+491700000001"
FAST = [0, 40, 80]


def send(world: World, fragment: str = "") -> str:
    callback = f"{world.bot.url}/whatsapp/status?d=17{fragment}"
    made = world.twilio.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hi", status_callback=callback)
    return made.sid or ""


def test_reports_go_forward_from_sent_to_read_and_are_signed(world: World):
    world.faults(twilio={"status_delays_ms": FAST})
    sid = send(world, "#rc=1&rp=5xx")
    eventually(lambda: len(world.bot.heard) == 3)
    assert world.bot.statuses() == ["sent", "delivered", "read"]
    for heard in world.bot.heard:
        assert heard.path == "/whatsapp/status?d=17"
        assert signed(heard, world.bot.url)
        assert (heard.form["MessageSid"], heard.form["SmsSid"], heard.form["AccountSid"]) == (
            sid,
            sid,
            SIMULATED_ACCOUNT_SID,
        )
        assert (heard.form["From"], heard.form["To"]) == (SIMULATED_NUMBER, PERSON)
        assert heard.form["SmsStatus"] == heard.form["MessageStatus"]
        assert heard.form["ExternalUserId"] == user_id_of(PERSON)
        assert "ErrorCode" not in heard.form
    assert world.bot.heard[2].form["EventType"] == "READ"
    fetched = world.twilio.messages(sid).fetch()
    assert fetched.status == "read"
    assert fetched.date_sent is not None


def test_a_message_without_a_callback_moves_on_silently(world: World):
    world.faults(twilio={"status_delays_ms": FAST})
    world.twilio.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hi")
    eventually(lambda: world.messages()[0]["status"] == "read")
    assert world.bot.heard == []


def test_dropped_reports_never_come_and_the_log_knows_better(world: World):
    world.faults(twilio={"status_delays_ms": FAST, "callbacks": {"drop": 1}})
    send(world)
    eventually(lambda: world.messages()[0]["status"] == "read")
    assert world.bot.heard == []


def test_a_report_may_come_twice_and_out_of_order(world: World):
    world.faults(twilio={"status_delays_ms": FAST, "callbacks": {"duplicate": 1, "count": 1}})
    send(world)
    eventually(lambda: len(world.bot.heard) == 4)
    assert sorted(world.bot.statuses()) == ["delivered", "read", "sent", "sent"]
    world.bot.heard.clear()
    world.faults(twilio={"status_delays_ms": FAST, "callbacks": {"reorder": 1, "count": 1}})
    send(world)
    eventually(lambda: len(world.bot.heard) == 3)
    assert world.bot.statuses() == ["delivered", "read", "sent"]


def test_a_report_is_tried_again_only_where_its_url_says_so(world: World):
    world.faults(twilio={"status_delays_ms": [0]})
    world.bot.replies = [Reply(status=503), Reply(status=200)]
    send(world, "#rc=2&rp=5xx")
    eventually(lambda: len(world.bot.heard) == 2)
    world.bot.replies = [Reply(status=503)]
    send(world)
    eventually(lambda: len(world.call("GET", "/simulator/calls?endpoint=status")) == 3)
    assert len(world.bot.heard) == 3


def test_without_a_fragment_only_a_failed_connection_is_tried_again_and_once(world: World):
    world.faults(twilio={"status_delays_ms": [0]})
    world.twilio.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hi", status_callback="http://127.0.0.1:1/x")
    eventually(lambda: len(world.call("GET", "/simulator/calls?endpoint=status")) == 2)
    calls = world.call("GET", "/simulator/calls?endpoint=status")
    assert [(c["status"], c["fault"], c["attempt"]) for c in calls] == [(0, "ct", 1), (0, "ct", 2)]


@pytest.mark.parametrize("after_sent", [False, True])
def test_an_undelivered_message_was_accepted_and_is_reported_with_its_code(world: World, *, after_sent: bool):
    world.faults(
        twilio={"status_delays_ms": FAST, "undelivered_code": 63016, "undelivered_after_sent": after_sent},
    )
    send(world)
    eventually(lambda: world.messages()[0]["status"] == "undelivered")
    eventually(lambda: len(world.bot.heard) == 1 + after_sent)
    assert world.bot.statuses() == [*(["sent"] if after_sent else []), "undelivered"]
    assert world.bot.heard[-1].form["ErrorCode"] == "63016"
    assert world.messages()[0]["error_code"] == 63016


def test_the_window_is_open_only_for_who_wrote(world: World):
    world.faults(twilio={"status_delays_ms": [0], "enforce_window": True})
    send(world)
    eventually(lambda: world.messages()[0]["status"] == "undelivered")
    world.inbound()
    send(world)
    eventually(lambda: world.messages()[-1]["status"] == "sent")
