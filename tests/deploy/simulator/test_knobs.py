from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException

from deploy.simulator.settings import SIMULATED_NUMBER
from tests.deploy.simulator.world import Reply, World, eventually

PERSON = "whatsapp:+491700000001"


def knobs(world: World) -> dict[str, dict[str, Any]]:
    return {knob["id"]: knob for knob in world.call("GET", "/simulator/knobs")}


def test_each_knob_is_a_call_that_the_simulator_takes(world: World):
    catalogue = knobs(world)
    assert len(catalogue) == len(world.call("GET", "/simulator/knobs"))
    for knob in catalogue.values():
        assert knob["label"]
        assert knob["help"]
        assert ("faults" in knob) != ("inbound" in knob)
        if "faults" in knob:
            in_force = world.call("PUT", "/simulator/faults", knob["faults"])
            assert in_force != world.call("PUT", "/simulator/faults", {})
            assert set(knob["conflicts"]) <= set(catalogue) - {knob["id"]}


def test_the_catalogue_holds_what_the_page_promises(world: World):
    wanted = {
        "person": {"send_twice", "send_late", "out_of_order", "burst_five"},
        "callbacks": {"callbacks_drop", "callbacks_delay"},
        "twilio": {"twilio_429", "twilio_500", "twilio_slow", "twilio_cut", "twilio_63016"},
        "llm": {f"llm_{name}" for name in ("slow", "429", "500", "hang", "trickle", "empty", "overlong", "markdown")}
        | {"llm_wrong_language"},
        "moderation": {"moderation_flag"},
        "webhook": {"webhook_timeout"},
    }
    for group, ids in wanted.items():
        assert ids <= {knob["id"] for knob in knobs(world).values() if knob["group"] == group}


def test_what_cannot_go_together_says_so_and_what_can_does_not(world: World):
    catalogue = knobs(world)
    assert "twilio_500" in catalogue["twilio_429"]["conflicts"]
    assert "llm_hang" in catalogue["llm_empty"]["conflicts"]
    assert "moderation_self_harm" in catalogue["moderation_flag"]["conflicts"]
    assert "twilio_slow" not in catalogue["twilio_429"]["conflicts"]
    assert "callbacks_drop" not in catalogue["twilio_429"]["conflicts"]
    for knob in catalogue.values():
        assert all(knob["id"] in catalogue[other]["conflicts"] for other in knob["conflicts"])


def test_a_burst_comes_in_order_and_a_shuffled_one_in_the_opposite_order(world: World):
    entries = [{"from": PERSON, "body": text} for text in ("a", "b", "c")]
    burst = {"burst": entries, "gap_ms": 100}
    answer = world.call("POST", "/simulator/inbound", burst)
    assert [each["acknowledged"] for each in answer["burst"]] == [True] * 3
    assert [h.form["Body"] for h in world.bot.heard] == ["a", "b", "c"]
    world.bot.heard.clear()
    answer = world.call("POST", "/simulator/inbound", burst | {"shuffle": True, "wait": False}, expect=202)
    eventually(lambda: len(world.bot.heard) == 3)
    assert [h.form["Body"] for h in world.bot.heard] == ["c", "b", "a"]
    assert [m["body"] for m in world.messages()] == ["a", "b", "c"] * 2
    assert [each["sid"] for each in answer["burst"]] == [m["sid"] for m in world.messages()[3:]]


def test_of_a_burst_with_a_mistake_nothing_is_written(world: World):
    burst = {"burst": [{"from": PERSON}, {"from": "nobody"}]}
    assert "from" in world.call("POST", "/simulator/inbound", burst, expect=400)["error"]
    assert world.messages() == []
    assert "burst" in world.call("POST", "/simulator/inbound", {"burst": []}, expect=400)["error"]


def test_twilio_waits_in_vain_and_tries_again(world: World):
    world.faults(**knobs(world)["webhook_timeout"]["faults"])
    attempts = world.inbound()["deliveries"][0]["attempts"]
    assert [(a["status"], a["failure"]) for a in attempts] == [(0, "rt"), (200, "")]
    assert attempts[0]["took_ms"] >= 290
    calls = world.call("GET", "/simulator/calls?endpoint=webhook")
    assert [(c["attempt"], c["status"], c["fault"]) for c in calls] == [(1, 0, "rt"), (2, 200, "")]
    assert len({h.headers["I-Twilio-Idempotency-Token"] for h in world.bot.heard}) == 1


def test_a_wrong_signature_is_seen_as_one(world: World):
    world.bot.replies = [Reply(status=403)]
    sid = world.inbound(wrong_signature=True)["sid"]
    (call,) = world.call("GET", f"/simulator/calls?about={sid}")
    assert (call["signature_ok"], call["status"]) == (False, 403)
    assert world.messages()[0]["carried"] == "refused"
    assert world.twilio.messages.list() == []  # it never passed Twilio
    with pytest.raises(TwilioRestException):
        world.twilio.messages(sid).fetch()
    assert world.messages()[0]["carried"] == "refused"


def test_a_lost_webhook_says_so(world: World):
    world.faults(**knobs(world)["webhook_drop"]["faults"])
    world.inbound()
    assert world.messages()[0]["carried"] == "dropped"


def test_what_did_not_come_to_the_webhook_and_is_read_in_the_log_is_found(world: World):
    world.faults(**knobs(world)["webhook_drop"]["faults"])
    lost = world.inbound()["sid"]
    world.faults()
    world.inbound()
    world.twilio.messages.list()
    carried = {message["sid"]: message["carried"] for message in world.messages()}
    assert carried.pop(lost) == "found"
    assert set(carried.values()) == {"acknowledged"}


def test_people_are_known_by_a_number_or_by_a_user_id_alone(world: World):
    people = world.call("GET", "/simulator/people")
    assert len(people) >= 3
    assert sum(person["hidden"] for person in people) == 1
    for person in people:
        world.inbound(**{"from": person["from"], "profile_name": person["name"]})
        form = world.bot.heard[-1].form
        assert form["From"] == person["person"] == world.messages(person["person"])[0]["person"]
        assert form["ProfileName"] == person["name"]
        assert ("+" in form["From"]) == ("WaId" in form) == (not person["hidden"])
        sent = world.twilio.messages.create(to=form["From"], from_=SIMULATED_NUMBER, body="hello")
        assert world.messages(person["person"])[-1]["sid"] == sent.sid


def test_media_have_a_bound_in_all(world: World):
    half = "A" * (12 * 1024 * 1024)
    media = [{"content_type": "audio/ogg", "data_base64": half}] * 2
    answer = world.call("POST", "/simulator/inbound", {"from": PERSON, "media": media}, expect=413)
    assert "media" in answer["error"]
    assert world.messages() == []
    world.inbound(body="", media=[{"content_type": "audio/ogg; codecs=opus", "data_base64": "T2dnUw=="}])
    form = world.bot.heard[0].form
    assert (form["MessageType"], form["MediaContentType0"], form["NumMedia"]) == (
        "audio",
        "audio/ogg; codecs=opus",
        "1",
    )
    (media,) = world.messages()[0]["media"]
    assert world.raw("GET", media["href"])[2] == b"OggS"
