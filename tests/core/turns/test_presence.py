"""The typing indicator: not for quick answers, again while it takes, never after."""

import time

from core.turns import presence
from core.turns.presence import Presence
from tests.fakes import FakeChannel


def wait_for(count: int, channel: FakeChannel, seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while len(channel.typing) < count and time.monotonic() < end:
        time.sleep(0.01)


def test_a_quick_answer_shows_no_indicator() -> None:
    channel = FakeChannel()
    shown = Presence({"twilio": channel})
    with shown.typing("twilio", "SM1"):
        pass
    time.sleep(presence.FIRST.total_seconds() + 0.2)
    shown.close()
    assert channel.typing == []


def test_a_slow_answer_shows_it_after_a_second_and_only_for_itself() -> None:
    channel = FakeChannel()
    shown = Presence({"twilio": channel})
    began = time.monotonic()
    with shown.typing("twilio", "SM1"):
        with shown.typing("twilio", "SM2"):
            pass
        wait_for(1, channel)
        took = time.monotonic() - began
    shown.close()
    assert channel.typing == ["SM1"]
    assert took >= presence.FIRST.total_seconds()


def test_an_indicator_that_hangs_does_not_hold_up_the_turn() -> None:
    class Hanging(FakeChannel):
        def show_typing(self, provider_id: str) -> None:
            super().show_typing(provider_id)
            time.sleep(1)

    channel = Hanging()
    shown = Presence({"twilio": channel})
    with shown.typing("twilio", "SM1"):
        wait_for(1, channel)
        began = time.monotonic()
    assert time.monotonic() - began < 0.1
    shown.close()
