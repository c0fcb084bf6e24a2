"""Redis behind Sentinel: the door, the inboxes and the wake-ups survive the loss of the master."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.adapters.redis_inbox import RedisDoor, door, inboxes
from core.adapters.wakeups import WAKE, BrokerWakeups, QueueDepth
from core.errors import Transient
from core.model import InboundMessage, person_key
from tests.core.adapters.sentinels import Watched, wait, watched

PHONE = "whatsapp:+4915112345678"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as servers:
        yield servers


def message(number: int) -> InboundMessage:
    return InboundMessage(
        channel="twilio",
        provider_id=f"SM{number}",
        sender=PHONE,
        recipient="whatsapp:+14155238886",
        received_at=datetime(2026, 11, 22, tzinfo=UTC),
    )


def accept_when_it_can(way_in: RedisDoor, number: int) -> None:
    """As Twilio does: a 503 is tried again. Each try is answered within a second."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            way_in.accept(message(number))
        except Transient:
            assert time.monotonic() - began < 1
            time.sleep(0.1)
        else:
            return
    raise AssertionError("not accepted within 20 s")


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP])
def test_the_door_finds_the_new_master_when_the_old_one_is_killed_or_frozen(servers: Watched, by: signal.Signals):
    with closing(door(servers.url, servers.url)) as way_in, closing(inboxes(servers.url)) as within:
        way_in.accept(message(1))
        assert way_in.ready()
        failed = servers.fail_over(by)
        accept_when_it_can(way_in, 2)
        if by == signal.SIGSTOP:  # it comes back as one who still believes to be the master
            servers.servers[failed].send(signal.SIGCONT)
        else:
            servers.start_server(failed, replica_of=None)
        for number in range(3, 6):
            accept_when_it_can(way_in, number)
            time.sleep(0.5)
        entries = within.read(person_key(PHONE), limit=10).entries
        assert [f'"SM{number}"' in str(entry) for number, entry in enumerate(entries, 1)] == [True] * 5
        assert within.backlog().inboxes == 1


def test_a_demoted_master_that_still_answers_is_left_at_its_first_refusal(servers: Watched):
    with closing(door(servers.url, servers.url)) as way_in:
        way_in.accept(message(1))
        servers.ask_to_fail_over()
        accept_when_it_can(way_in, 2)
        with closing(inboxes(servers.url)) as within:
            assert len(within.read(person_key(PHONE), limit=10).entries) == 2


def test_with_two_of_three_sentinels_gone_a_new_connection_is_still_made_within_the_bound(servers: Watched):
    for sentinel in servers.sentinels[:2]:
        sentinel.send(signal.SIGSTOP)  # worse than gone: it accepts and is silent
    with closing(door(servers.url, servers.url)) as way_in:
        began = time.monotonic()
        way_in.accept(message(1))
        assert time.monotonic() - began < 1


def test_wakeups_go_through_sentinels_before_and_after_the_master_is_lost(servers: Watched):
    with closing(QueueDepth(servers.url)) as queue, closing(BrokerWakeups(servers.url, limit=2)) as wakeups:
        wakeups.wake(WAKE, "person")
        wait(lambda: queue.depth() == 1, what="the wake-up is in the queue")
        servers.fail_over()

        def is_there() -> bool:
            wakeups.wake(WAKE, "person")
            try:
                return queue.depth() >= 2
            except Transient:
                return False

        wait(is_there, what="a wake-up at the new master")
