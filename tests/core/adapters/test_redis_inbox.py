import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.adapters.redis_inbox import READS_FOR, RedisDoor, RedisInboxes, door, inboxes, knock, person_key
from core.adapters.wakeups import QUEUE, REPORTS, WAKE
from core.errors import ConfigurationError, Transient, Unreachable
from core.model import InboundMessage, StatusReport, load_inbound, load_report
from core.ports import Inbox
from deploy.local.redis import Redis
from tests.core.adapters.raw import raw_client

PHONE = "whatsapp:+4915112345678"
BSUID = "whatsapp:DE.13491208655302741918"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def message(number: int = 1, *, sender: str = PHONE, external: str = "", parent: str = "") -> InboundMessage:
    return InboundMessage(
        channel="twilio", provider_id=f"SM{number}", sender=sender, recipient="whatsapp:+14155238886",
        received_at=NOW + timedelta(seconds=number), text=f"text {number}",
        external_id=external, parent_external_id=parent,
    )  # fmt: skip


def report(number: int = 1) -> StatusReport:
    return StatusReport(channel="twilio", provider_id=f"SM{number}", status="sent", received_at=NOW, delivery_id=number)


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    with closing(raw_client(redis_url)) as client:
        yield client


@pytest.fixture
def way_in(redis_url: str) -> Iterator[RedisDoor]:
    it = door(redis_url, redis_url)
    yield it
    it.close()


@pytest.fixture
def within(redis_url: str) -> Iterator[RedisInboxes]:
    it = inboxes(redis_url)
    yield it
    it.close()


def texts(inbox: Inbox) -> list[str]:
    return [load_inbound(entry).text for entry in inbox.entries]


def wakeups(raw: Any, task: str = WAKE) -> list[Any]:
    found = [json.loads(entry) for entry in reversed(raw.lrange(QUEUE, 0, -1))]
    return [json.loads(entry["body"])[0] for entry in found if entry["headers"]["task"] == task]


def test_a_message_comes_out_as_it_went_in(way_in: RedisDoor, within: RedisInboxes):
    sent = message(1, external=BSUID)
    way_in.accept(sent)
    inbox = within.read(person_key(BSUID), limit=10)
    assert [load_inbound(entry) for entry in inbox.entries] == [sent]


def test_messages_of_one_person_keep_their_order(way_in: RedisDoor, within: RedisInboxes):
    for number in range(1, 8):
        way_in.accept(message(number))
    assert texts(within.read(person_key(PHONE), limit=5)) == [f"text {number}" for number in range(1, 6)]


def test_only_an_empty_inbox_wakes_a_worker(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    person = person_key(PHONE)
    way_in.accept(message(1))
    way_in.accept(message(2))
    assert wakeups(raw) == [[person]]
    within.remove(within.read(person, limit=10))
    way_in.accept(message(3))
    assert wakeups(raw) == [[person], [person]]


def test_no_address_stands_in_a_key_or_a_wakeup(way_in: RedisDoor, raw: Any):
    way_in.accept(message(1, external=BSUID))
    way_in.report(report())
    keys = (
        b" ".join(raw.keys("*")) + b" ".join(raw.lrange(QUEUE, 0, -1)) + b" ".join(raw.zrange("sisters:waiting", 0, -1))
    )
    assert b"whatsapp" not in keys
    assert b"49151" not in keys
    assert b"text" not in b" ".join(raw.lrange(QUEUE, 0, -1))


def test_every_wakeup_has_ids_of_its_own(way_in: RedisDoor, raw: Any):
    way_in.accept(message(1))
    way_in.accept(message(2, sender="whatsapp:+1"))
    way_in.report(report())
    found = [json.loads(entry) for entry in raw.lrange(QUEUE, 0, -1)]
    assert len({entry["headers"]["id"] for entry in found}) == 3
    assert all(entry["headers"]["id"] == entry["properties"]["delivery_tag"] for entry in found)


def test_a_person_keeps_one_inbox_when_more_ids_become_known(way_in: RedisDoor, within: RedisInboxes):
    way_in.accept(message(1))
    way_in.accept(message(2, external=BSUID))
    way_in.accept(message(3, sender=BSUID, external=BSUID))
    way_in.accept(message(4, sender=BSUID, parent="whatsapp:DE.ENT.1"))
    assert texts(within.read(person_key(PHONE), limit=10)) == ["text 1", "text 2", "text 3", "text 4"]


def test_the_strongest_known_id_wins(way_in: RedisDoor, within: RedisInboxes):
    way_in.accept(message(1, sender=BSUID))
    way_in.accept(message(2, sender="whatsapp:+1", external=BSUID))
    way_in.accept(message(3, sender="whatsapp:+1"))
    assert texts(within.read(person_key(BSUID), limit=10)) == ["text 1", "text 2", "text 3"]


def test_two_inboxes_become_one_when_two_people_turn_out_to_be_one(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    way_in.accept(message(1))
    since = raw.zscore("sisters:waiting", person_key(PHONE))
    time.sleep(0.01)
    way_in.accept(message(2, sender=BSUID))
    way_in.accept(message(3, external=BSUID))
    assert texts(within.read(person_key(BSUID), limit=10)) == ["text 2", "text 1", "text 3"]
    assert within.read(person_key(PHONE), limit=10).entries == ()
    assert raw.zrange("sisters:waiting", 0, -1, withscores=True) == [(person_key(BSUID).encode(), since)]


def test_who_moves_into_an_empty_inbox_is_woken_for(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    way_in.accept(message(1, sender=BSUID))
    within.remove(within.read(person_key(BSUID), limit=10))
    way_in.accept(message(2))
    raw.delete(QUEUE)
    way_in.accept(message(3, external=BSUID))
    assert wakeups(raw) == [[person_key(BSUID)]]
    assert texts(within.read(person_key(BSUID), limit=10)) == ["text 2", "text 3"]


def test_aliases_last_30_days_from_the_last_message(way_in: RedisDoor, raw: Any):
    way_in.accept(message(1))
    key = f"sisters:alias:{person_key(PHONE)}"
    assert raw.ttl(key) == 30 * 86400
    raw.expire(key, 5)
    way_in.accept(message(2))
    assert raw.ttl(key) == 30 * 86400


def test_removing_takes_exactly_what_was_read(way_in: RedisDoor, within: RedisInboxes):
    person = person_key(PHONE)
    for number in (1, 2, 3):
        way_in.accept(message(number))
    mine = within.read(person, limit=2)
    theirs = within.read(person, limit=3)
    assert within.remove(mine) == 1
    way_in.accept(message(4))
    assert within.remove(mine) == 2  # again: nothing more goes
    assert within.remove(theirs) == 1
    assert texts(within.read(person, limit=10)) == ["text 4"]


def test_two_workers_at_once_lose_nothing(way_in: RedisDoor, redis_url: str):
    person = person_key(PHONE)
    copied: list[bytes] = []
    done = threading.Event()

    def drain() -> None:
        worker = inboxes(redis_url)
        while not done.is_set() or worker.read(person, limit=1).entries:
            inbox = worker.read(person, limit=7)
            copied.extend(inbox.entries)  # "committed" before it is removed
            worker.remove(inbox)
        worker.close()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(drain)
        for number in range(400):
            way_in.accept(message(number))
        done.set()
    assert {load_inbound(entry).provider_id for entry in copied} == {f"SM{number}" for number in range(400)}


def test_an_inbox_waits_from_its_first_message_until_it_is_empty(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    person = person_key(PHONE)
    way_in.accept(message(1))
    since = raw.zscore("sisters:waiting", person)
    time.sleep(0.02)
    way_in.accept(message(2))
    assert raw.zscore("sisters:waiting", person) == since
    assert within.remove(within.read(person, limit=1)) == 1
    assert raw.zscore("sisters:waiting", person) > since
    assert within.remove(within.read(person, limit=1)) == 0
    assert raw.zcard("sisters:waiting") == 0


def test_the_sweep_sees_who_waits_longest_first(way_in: RedisDoor, within: RedisInboxes):
    for number in (1, 2, 3):
        way_in.accept(message(number, sender=f"whatsapp:+{number}"))
        time.sleep(0.01)
    everyone = [person_key(f"whatsapp:+{number}") for number in (1, 2, 3)]
    assert within.waiting(older_than=timedelta(0), limit=10) == everyone
    assert within.waiting(older_than=timedelta(0), limit=2) == everyone[:2]
    assert within.waiting(older_than=timedelta(seconds=5), limit=10) == []


def test_who_has_no_inbox_does_not_wait(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    way_in.accept(message(1))
    raw.delete(f"sisters:inbox:{person_key(PHONE)}")
    assert within.waiting(older_than=timedelta(0), limit=10) == []
    assert raw.zcard("sisters:waiting") == 0


def test_reports_are_a_list_that_wakes_once(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    for number in (1, 2, 3):
        way_in.report(report(number))
    assert wakeups(raw, REPORTS) == [[]]
    first = within.read_reports(reader="a", limit=2)
    assert [load_report(entry) for entry in first] == [report(1), report(2)]
    assert within.remove_reports(first, reader="a") == 1
    assert within.remove_reports(first, reader="a") == 1
    assert within.remove_reports(within.read_reports(reader="a", limit=5), reader="a") == 0
    way_in.report(report(4))
    assert wakeups(raw, REPORTS) == [[], []]


def test_one_reads_reports_at_a_time_and_whoever_comes_after_the_last_one_reads_at_once(
    way_in: RedisDoor, within: RedisInboxes
):
    way_in.report(report(1))
    way_in.report(report(2))
    first = within.read_reports(reader="a", limit=1)
    assert within.read_reports(reader="b", limit=9) == ()
    assert within.remove_reports(first, reader="a") == 1
    assert within.read_reports(reader="b", limit=9) == ()  # "a" goes on
    within.remove_reports(within.read_reports(reader="a", limit=1), reader="a")
    way_in.report(report(3))
    assert [load_report(entry) for entry in within.read_reports(reader="b", limit=9)] == [report(3)]


def test_a_reader_of_reports_who_dies_holds_them_up_for_seconds(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    way_in.report(report(1))
    within.read_reports(reader="a", limit=1)
    assert 0 < raw.pttl("sisters:reports:reader") <= READS_FOR / timedelta(milliseconds=1) <= 5000
    raw.delete("sisters:reports:reader")  # as if that time had passed
    assert len(within.read_reports(reader="b", limit=1)) == 1


def test_what_somebody_else_removed_is_not_searched_for(within: RedisInboxes, raw: Any):
    """A search through a long list takes Redis, and with it the door, for longer than a message may wait there."""
    many = [f"entry {number:06d} {'x' * 200}".encode() for number in range(50_000)]
    for key in ("sisters:reports", "sisters:inbox:p"):
        raw.rpush(key, *many)
    gone = [f"gone {number}".encode() for number in range(200)]
    raw.config_resetstat()
    assert within.remove_reports(gone, reader="a") == len(many)
    assert within.remove(Inbox(person="p", entries=tuple(gone))) == len(many)
    assert {"cmdstat_lrem", "cmdstat_lpos", "cmdstat_lrange"}.isdisjoint(raw.info("commandstats"))


def test_of_what_was_read_twice_only_what_is_still_there_is_removed(way_in: RedisDoor, within: RedisInboxes):
    for number in (1, 2, 3):
        way_in.report(report(number))
        way_in.accept(message(number))
    two, person = within.read_reports(reader="a", limit=2), person_key(PHONE)
    inbox = within.read(person, limit=2)
    three, all_of_it = within.read_reports(reader="a", limit=3), within.read(person, limit=3)
    assert (within.remove_reports(two, reader="a"), within.remove(inbox)) == (1, 1)
    assert (within.remove_reports(three, reader="a"), within.remove(all_of_it)) == (0, 0)


def test_a_person_who_is_forgotten_leaves_nothing(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    way_in.accept(message(1))
    way_in.accept(message(2, external=BSUID))
    way_in.accept(message(3, sender="whatsapp:+1"))
    raw.delete(QUEUE)
    forgotten = within.forget([BSUID, PHONE])
    assert [load_inbound(entry).provider_id for entry in forgotten.entries] == [
        message(number).provider_id for number in (1, 2)
    ]
    left = {key.decode() for key in raw.keys("*")}
    other = person_key("whatsapp:+1")
    assert left == {f"sisters:alias:{other}", f"sisters:inbox:{other}", "sisters:waiting"}
    assert raw.zrange("sisters:waiting", 0, -1) == [other.encode()]


def test_what_is_put_back_goes_to_the_end_and_is_seen_by_the_sweep(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    within.put_back("p", b"entry")
    assert within.read("p", limit=10).entries == (b"entry",)
    assert within.waiting(older_than=timedelta(0), limit=10) == ["p"]
    way_in.accept(message(1))
    since = raw.zscore("sisters:waiting", person_key(PHONE))
    within.put_back(person_key(PHONE), b"entry")
    assert within.read(person_key(PHONE), limit=10).entries[1] == b"entry"
    assert raw.zscore("sisters:waiting", person_key(PHONE)) == since


def test_a_report_that_is_put_back_is_read_last(way_in: RedisDoor, within: RedisInboxes):
    way_in.report(report(1))
    within.put_back_report(b"entry")
    assert within.read_reports(reader="a", limit=10)[1:] == (b"entry",)


def test_scripts_are_loaded_again_where_redis_does_not_know_them(way_in: RedisDoor, within: RedisInboxes, raw: Any):
    way_in.accept(message(1))
    raw.script_flush()
    way_in.accept(message(2))
    raw.script_flush()
    assert within.remove(within.read(person_key(PHONE), limit=10)) == 0


def _accept_in_a_child(way_in: RedisDoor) -> None:
    way_in.accept(message(2))


def test_a_door_that_was_used_survives_a_fork(way_in: RedisDoor, within: RedisInboxes):
    way_in.accept(message(1))
    child = multiprocessing.get_context("fork").Process(target=_accept_in_a_child, args=(way_in,))
    child.start()
    child.join(10)
    way_in.accept(message(3))
    assert child.exitcode == 0
    assert texts(within.read(person_key(PHONE), limit=10)) == ["text 1", "text 2", "text 3"]


@pytest.mark.parametrize("url", ["redis://host:notaport/0", "sentinel://a:26379/0", "http://host"])
def test_a_url_that_cannot_be_read_is_a_configuration_error_without_the_url(url: str):
    with pytest.raises(ConfigurationError, match="REDIS_URL") as told:
        door(url, "")
    assert "notaport" not in str(told.value)


# Redis away: everything ends within a second, also for many at once.


def took(call: Any) -> tuple[float, str]:
    began = time.monotonic()
    try:
        call()
    except Transient as error:
        return time.monotonic() - began, str(error)
    return time.monotonic() - began, ""


def at_once(call: Any, threads: int = 16, rounds: int = 3) -> list[tuple[float, str]]:
    with ThreadPoolExecutor(threads) as pool:
        return [found for _ in range(rounds) for found in pool.map(took, [call] * threads)]


def assert_all_refused_in_time(way_in: RedisDoor) -> None:
    found = at_once(lambda: way_in.accept(message(1)))
    assert all(error for _, error in found)
    assert max(seconds for seconds, _ in found) < 1.0
    assert took(lambda: way_in.report(report()))[1]
    began = time.monotonic()
    assert way_in.ready() is False
    assert time.monotonic() - began < 1.0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts (by its backlog) and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server.getsockname()[1]


@pytest.fixture
def black_hole_port() -> Iterator[int]:
    """Does not even finish the handshake: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        held = [socket.socket() for _ in range(8)]
        for each in held:
            each.settimeout(0)
            each.connect_ex(("127.0.0.1", port))
        yield port
        for each in held:
            each.close()


def test_a_redis_that_refuses_is_told_at_once(unused_port: int):
    url = f"redis://127.0.0.1:{unused_port}/0"
    way_in = door(url, url)
    assert_all_refused_in_time(way_in)
    assert took(lambda: way_in.accept(message(1)))[0] < 0.1


def test_a_redis_that_never_answers_is_told_within_a_second(silent_port: int):
    url = f"redis://127.0.0.1:{silent_port}/0"
    assert_all_refused_in_time(door(url, url))


def test_a_black_hole_is_told_within_a_second(black_hole_port: int):
    url = f"redis://127.0.0.1:{black_hole_port}/0"
    assert_all_refused_in_time(door(url, url))


def test_while_redis_hangs_most_requests_do_not_wait_for_it(silent_port: int):
    url = f"redis://127.0.0.1:{silent_port}/0"
    way_in = door(url, url)
    at_once(lambda: way_in.accept(message(1)), rounds=1)
    found = sorted(seconds for seconds, _ in at_once(lambda: way_in.accept(message(1)), rounds=1))
    assert found[-3] < 0.1


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_name_server_that_does_not_answer_is_told_within_a_second(monkeypatch: pytest.MonkeyPatch, scheme: str):
    def slow(*_: Any) -> Any:
        time.sleep(1.5)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)  # the system's resolver, not ours
    url = f"{scheme}://redis.invalid/0"
    seconds, error = took(lambda: door(url, url).accept(message(1)))
    assert error
    assert seconds < 1.0


def test_the_door_opens_again_when_redis_is_back(tmp_path: Path):
    with Redis(log=tmp_path / "redis.log") as server:
        way_in = door(server.url, server.url)
        way_in.accept(message(1))
        server.stop()
        assert_all_refused_in_time(way_in)
        server.start()
        way_in.accept(message(2))
        assert way_in.ready()
        within = inboxes(server.url)
        assert texts(within.read(person_key(PHONE), limit=10)) == ["text 1", "text 2"]
        way_in.close()
        within.close()


def test_the_door_opens_again_after_redis_hung(tmp_path: Path):
    with Redis(log=tmp_path / "redis.log") as server:
        way_in = door(server.url, server.url)
        way_in.accept(message(1))
        with closing(raw_client(server.url)) as raw:
            raw.execute_command("CLIENT", "PAUSE", 1500, "ALL")
            began = time.monotonic()
            assert_all_refused_in_time(way_in)
            while took(lambda: way_in.accept(message(2)))[1]:
                assert time.monotonic() - began < 5
                time.sleep(0.05)
        way_in.close()


def test_a_redis_that_answers_with_an_error_is_transient_too(way_in: RedisDoor, raw: Any):
    raw.set("sisters:waiting", "not a sorted set")
    seconds, error = took(lambda: way_in.accept(message(1)))
    assert error == "redis ResponseError"
    assert seconds < 1.0


def test_the_workers_side_is_transient_when_redis_is_gone(unused_port: int):
    within = inboxes(f"redis://127.0.0.1:{unused_port}/0")
    calls = [
        lambda: within.read("p", limit=1),
        lambda: within.remove(Inbox(person="p", entries=(b"x",))),
        lambda: within.waiting(older_than=timedelta(0), limit=1),
        lambda: within.read_reports(reader="a", limit=1),
        lambda: within.remove_reports([b"x"], reader="a"),
        lambda: within.forget(["x"]),
    ]
    assert all(took(call)[1] for call in calls)


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:hush@127.0.0.1:1/0", "127.0.0.1:1/0 (connection refused)"),
        ("redis://:hush@127.0.0.1:{silent}/0", "127.0.0.1:{silent}/0 (timeout reading from "),
        ("sentinel://:hush@127.0.0.1:1/0?master=m", "127.0.0.1:1 (sentinels of m) (no master found for 'm')"),
    ],
)
def test_whoever_knocks_is_told_where_redis_does_not_answer_and_why(url: str, said: str, silent_port: int):
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        knock(url.format(silent=silent_port))
    assert caught.value.problem.startswith(f"REDIS_URL: Redis does not answer at {said.format(silent=silent_port)}")
    assert ("hush" in caught.value.problem, "\n" in caught.value.problem) == (False, False)
    assert time.monotonic() - started < 8  # the bound is 3 s


@pytest.mark.parametrize("account", ["", ":wrong-one@", "nobody:wrong-one@"])
def test_whoever_knocks_with_a_wrong_password_has_a_wrong_configuration(redis_url: str, account: str):
    knock(redis_url)
    with pytest.raises(ConfigurationError) as caught:
        knock(f"redis://{account}{redis_url.rpartition('@')[2]}")
    [problem] = caught.value.problems
    assert problem.startswith("REDIS_URL: Redis refuses the user or the password at 127.0.0.1:")
    assert "wrong-one" not in problem


def test_whoever_knocks_at_a_database_that_redis_lacks_has_a_wrong_configuration(redis_url: str):
    with pytest.raises(ConfigurationError) as caught:
        knock(f"{redis_url.rpartition('/')[0]}/99")
    [problem] = caught.value.problems
    assert problem.startswith("REDIS_URL: Redis has no such database at 127.0.0.1:")
    assert "/99 (DB index is out of range); take a lower number" in problem
