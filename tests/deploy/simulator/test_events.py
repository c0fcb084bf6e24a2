import asyncio
import http.client
import json
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from deploy.simulator import events as simulated_events
from deploy.simulator.events import BEHIND_AT_MOST, Events
from deploy.simulator.settings import SIMULATED_NUMBER
from deploy.simulator.state import iso, now
from tests.deploy.simulator.world import World

PERSON = "whatsapp:+491700000001"


@contextmanager
def listening(url: str, *, after: int | None = None) -> Generator[Iterator[dict[str, Any]]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", "/simulator/events", headers={} if after is None else {"Last-Event-ID": str(after)})
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("Content-Type") == "text/event-stream"

    def read() -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for line in response:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key in ("id", "event", "data"):
                event[key] = value if key == "event" else json.loads(value)
            elif not key and event:
                yield event
                event = {}

    try:
        yield read()
    finally:
        connection.close()
        response.close()


def until(events: Iterator[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(event for event in events if event["event"] == name)


def test_a_page_hears_messages_with_each_status_typing_and_calls(world: World):
    with listening(world.url) as events:
        hello = next(events)
        assert hello["event"] == "hello"
        assert hello["data"]["resumed"] is False
        assert hello["data"]["started_at"] <= hello["data"]["now"] <= iso(now())
        sid = world.inbound(body="hi", profile_name="Ada")["sid"]
        new = until(events, "message")
        assert (new["data"]["sid"], new["data"]["carried"], new["data"]["read_at"]) == (sid, "waiting", None)
        call = until(events, "call")["data"]
        assert (call["endpoint"], call["direction"], call["about"], call["attempt"]) == ("webhook", "out", sid, 1)
        assert (call["person"], call["signature_ok"], call["answer_type"]) == (PERSON, True, "text/xml")
        assert until(events, "message")["data"]["carried"] == "acknowledged"
        world.twilio.messaging.v2.typing_indicator.create(channel="whatsapp", message_id=sid)
        assert until(events, "message")["data"]["read_at"]
        typing = until(events, "typing")["data"]
        assert (typing["person"], typing["sid"]) == (PERSON, sid)
        answer = world.twilio.messages.create(to=PERSON, from_=SIMULATED_NUMBER, body="hello").sid
        seen: list[str] = []
        while "read" not in seen:
            row = until(events, "message")["data"]
            assert row["sid"] == answer
            seen.append(row["status"])
        assert seen == ["queued", "sent", "delivered", "read"]


def test_the_row_of_an_event_is_the_row_of_the_list(world: World):
    with listening(world.url) as events:
        world.inbound(body="hi", location={"latitude": 1.5, "longitude": 2, "label": "Here"})
        rows = [until(events, "message")["data"] for _ in range(2)]
    assert rows[-1] == world.messages()[0]
    assert rows[-1]["location"] == {"latitude": "1.5", "longitude": "2.0", "label": "Here", "address": ""}


def test_numbers_rise_and_a_reader_goes_on_where_it_stopped(world: World):
    with listening(world.url) as events:
        hello = next(events)
        world.inbound(body="one")
        numbers = [next(events)["id"] for _ in range(3)]
    assert numbers == sorted(numbers)
    assert numbers[0] > hello["id"]
    world.inbound(body="while nobody listened")
    with listening(world.url, after=numbers[0]) as events:
        hello = next(events)
        assert hello["data"]["resumed"] is True
        first = next(events)
        assert first["id"] == numbers[1]
        assert until(events, "message")["data"]["body"] in {"one", "while nobody listened"}


@pytest.mark.parametrize("after", [1, 10**15])
def test_a_number_of_another_life_begins_anew(world: World, after: int):
    with listening(world.url, after=after) as events:
        assert next(events)["data"]["resumed"] is False


def test_faults_are_told_when_they_are_set_and_when_they_wear_off(world: World):
    with listening(world.url) as events:
        world.faults(moderation={"flag_next": 1})
        assert until(events, "faults")["data"]["moderation"]["flag_next"] == 1
        assert world.openai.moderations.create(input="hello").results[0].flagged
        assert until(events, "faults")["data"]["moderation"]["flag_next"] == 0


def test_clearing_and_removing_are_told(world: World):
    with listening(world.url) as events:
        sid = world.inbound()["sid"]
        world.twilio.messages(sid).delete()
        assert until(events, "removed")["data"] == {"sid": sid}
        world.call("DELETE", "/simulator/state", expect=204)
        assert until(events, "cleared")["data"] == {}


def test_calls_of_the_bot_tell_whether_their_credentials_were_right_and_what_they_are_about(world: World):
    sid = world.inbound(body="which song?")["sid"]
    world.openai.chat.completions.create(model="gpt-6-luna", messages=[{"role": "user", "content": "which song?"}])
    status, _, _ = world.raw("GET", "/2010-04-01/Accounts/AC51573251573251573251573251573251/Messages.json")
    assert status == 401
    chat, refused = world.call("GET", "/simulator/calls")[-2:]
    assert (chat["endpoint"], chat["vendor"], chat["signature_ok"], chat["about"]) == ("chat", "openai", True, sid)
    assert (refused["endpoint"], refused["vendor"], refused["signature_ok"]) == ("list", "twilio", False)
    assert chat["request_bytes"] == len(chat["request"].encode())


@asynccontextmanager
async def served(events: Events) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    app = web.Application()
    app.add_routes([web.get("/events", events.stream)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2], limit=1024)
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        yield reader, writer
    finally:
        writer.close()
        await runner.cleanup()


def test_a_silent_stream_shows_that_it_lives():
    async def run() -> None:
        async with served(Events(heartbeat_s=0.05)) as (reader, _):
            await asyncio.wait_for(reader.readuntil(b": still here\n\n"), 5)

    asyncio.run(run())


def test_a_reader_that_does_not_read_is_cut_off():
    async def run() -> int:
        events, heard = Events(), 0
        async with served(events) as (reader, _):
            await reader.readuntil(b"event: hello")
            for _ in range(2 * BEHIND_AT_MOST):
                events.publish("message", lambda: "x" * 20_000)
                await asyncio.sleep(0)
            with suppress(ConnectionError):
                while piece := await asyncio.wait_for(reader.read(65536), 10):
                    heard += len(piece)
            assert events.readers == 0
        return heard

    assert asyncio.run(run()) < 20_000 * BEHIND_AT_MOST


def test_nothing_is_kept_while_nobody_listens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simulated_events, "_REMEMBERS_SECONDS", 0.0)
    asked: list[int] = []
    events = Events()
    events.publish("message", lambda: asked.append(1))
    assert asked == []
