import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAIError
from twilio.base.exceptions import TwilioException, TwilioRestException

from deploy.simulator.faults import CallbackFaults, Dice, Document, Faults, FaultsError, TwilioFaults
from deploy.simulator.settings import SIMULATED_NUMBER
from tests.deploy.simulator.world import World, eventually

PERSON = "whatsapp:+491700000001"


def send(world: World) -> str:
    return world.twilio.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hi").sid or ""


def test_unknown_keys_are_named_and_nothing_changes(world: World):
    world.faults(twilio={"slow_ms": 5})
    answer = world.call("PUT", "/simulator/faults", {"twilio": {"callbacks": {"lose": 1}}, "tea": {}}, expect=400)
    assert answer["problems"] == ["twilio.callbacks.lose: unknown key", "tea: unknown key"]
    assert world.call("GET", "/simulator/faults")["twilio"]["slow_ms"] == 5


def test_an_empty_document_ends_all_faults(world: World):
    world.faults(twilio={"status": 500}, llm={"empty": True})
    world.faults()
    assert world.call("GET", "/simulator/faults") == Faults().as_json()


@pytest.mark.parametrize(("status", "code"), [(429, 20429), (500, 20500), (503, 20503)])
def test_twilio_answers_the_asked_error(world: World, status: int, code: int):
    world.faults(twilio={"status": status, "retry_after": 2, "count": 1})
    with pytest.raises(TwilioRestException) as caught:
        send(world)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert world.messages() == []
    assert send(world), "the count is used up"
    assert world.call("GET", "/simulator/faults")["twilio"]["count"] == 0


def test_faults_can_be_meant_for_some_calls_only(world: World):
    world.faults(twilio={"status": 503, "calls": ["list"]})
    assert send(world)
    with pytest.raises(TwilioException, match="503"):
        world.twilio.messages.list(limit=1)


def test_accepted_then_cut_leaves_the_message_in_the_log(world: World):
    world.faults(twilio={"accept_then_cut": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        send(world)
    assert [m["body"] for m in world.messages()] == ["hi"]


def test_accepted_then_an_error_leaves_the_message_in_the_log(world: World):
    world.faults(twilio={"accept_then_status": 1, "status": 503})
    with pytest.raises(TwilioRestException) as caught:
        send(world)
    assert caught.value.status == 503
    assert len(world.messages()) == 1


def test_of_several_errors_each_failing_call_gets_any(world: World):
    world.faults(seed=3, twilio={"status": [429, 503]})
    statuses: list[int] = []
    for _ in range(20):
        with pytest.raises(TwilioRestException) as caught:
            send(world)
        statuses.append(caught.value.status)
    assert set(statuses) == {429, 503}
    assert world.messages() == []


def test_an_accepted_call_fails_only_with_what_leaves_it_open(world: World):
    world.faults(twilio={"status": [429, 503], "rate": 0, "accept_then_status": 1})
    for _ in range(10):
        with pytest.raises(TwilioRestException) as caught:
            send(world)
        assert caught.value.status == 503
    assert len(world.messages()) == 10


def test_an_error_at_a_rate_of_its_own_is_drawn_beside_accepted_ones():
    rates = {"status": [500], "rate": 0.2, "accept_then_status": 0.3}
    assert dict(TwilioFaults.model_validate(rates).rates()) == {"status": 0.2, "accept_then_status": 0.3}
    del rates["rate"]
    assert dict(TwilioFaults.model_validate(rates).rates()) == {"accept_then_status": 0.3}


def test_reports_are_late_at_the_rate_that_is_asked_for():
    dice = Dice(CallbackFaults(delay_ms=1000, delay_rate=0.2), "seed")
    late = sum(dice.draw().delay_s > 0 for _ in range(2000))
    assert 300 < late < 500


def test_cut_before_leaves_nothing(world: World):
    world.faults(twilio={"cut_before": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        send(world)
    assert world.messages() == []


@pytest.mark.parametrize(("kind", "kept"), [("hang", 0), ("accept_then_hang", 1)])
def test_a_hanging_call_ends_with_the_clients_patience(world: World, kind: str, kept: int):
    world.faults(twilio={kind: 1})
    world.twilio.http_client.timeout = 0.3
    with pytest.raises(requests.exceptions.ReadTimeout):
        send(world)
    assert len(world.messages()) == kept
    eventually(lambda: world.call("GET", "/simulator/stats")["faults"] == {f"create {kind}": 1})


def test_a_slow_call_is_slow_and_still_works(world: World):
    world.faults(twilio={"slow_ms": 300})
    started = time.monotonic()
    assert send(world)
    assert time.monotonic() - started > 0.3


def test_the_call_log_names_the_fault(world: World):
    world.faults(twilio={"accept_then_cut": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        send(world)
    (call,) = world.call("GET", "/simulator/calls?endpoint=create")
    assert (call["status"], call["fault"], call["about"]) == (0, "accept_then_cut", world.messages()[0]["sid"])
    assert world.call("GET", "/simulator/stats")["faults"] == {"create accept_then_cut": 1}


def test_the_moderation_knob_flags_the_next_one_only(world: World):
    world.faults(moderation={"flag_next": 1})
    flags = [world.openai.moderations.create(input="all is well").results[0].flagged for _ in range(2)]
    assert flags == [True, False]


def test_moderation_can_fail_by_itself(world: World):
    world.faults(moderation={"status": 500})
    with pytest.raises(OpenAIError):
        world.openai.moderations.create(input="x")


@given(seed=st.integers(), rate=st.floats(0, 1))
def test_the_same_seed_throws_the_same_dice(seed: int, rate: float):
    section = TwilioFaults(cut_before=rate / 2, accept_then_cut=rate / 2)
    one, two = Dice(section, str(seed)), Dice(section, str(seed))
    assert [one.draw() for _ in range(50)] == [two.draw() for _ in range(50)]


def test_rates_hold_over_many_calls_and_add_up():
    dice = Dice(TwilioFaults(status=(500,), rate=0.05, cut_before=0.1), "seed")
    kinds = [dice.draw().kind for _ in range(10_000)]
    assert 0.04 < kinds.count("status") / 10_000 < 0.06
    assert 0.085 < kinds.count("cut_before") / 10_000 < 0.115


def test_a_count_bounds_how_many_calls_are_hit_whatever_the_rate():
    dice = Dice(TwilioFaults(status=(500,), rate=0.5, count=3), "seed")
    assert [dice.draw().kind for _ in range(100)].count("status") == 3


def test_a_document_that_is_no_json_is_refused():
    with pytest.raises(FaultsError):
        Faults().replace(b"{")


def test_every_key_survives_a_round_trip():
    document = Document()
    assert Document.model_validate_json(document.model_dump_json()) == document
