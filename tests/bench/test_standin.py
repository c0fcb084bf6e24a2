"""The stand-in answers what the official clients ask, as they read it."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import openai
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from deploy.local.child import free_port
from deploy.local.loopback import reachable
from tests.bench.standin import ANSWER

ACCOUNT = "AC" + "5" * 32


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.standin", str(port)])
    url = f"http://127.0.0.1:{port}"
    while not reachable(f"{url}/counts"):
        assert process.poll() is None
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def delay(url: str, **ms: int) -> None:
    request = urllib.request.Request(f"{url}/delays", method="PUT", data=json.dumps(ms).encode())
    urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture
def twilio(url: str) -> Client:
    client = Client(ACCOUNT, "token")
    client.api.base_url = client.messaging.base_url = url
    return client


def test_the_model_waits_as_told_and_answers(url: str) -> None:
    delay(url, chat=200)
    began = time.monotonic()
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    completion = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert 0.2 <= time.monotonic() - began < 2
    assert completion.choices[0].message.content == ANSWER
    assert completion.usage is not None
    assert client.moderations.create(input=["a", "b"]).results[1].flagged is False
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="m", messages=[{"role": "system", "content": "hello"}])


def test_twilio_takes_messages_and_tells_when_they_came(url: str, twilio: Client) -> None:
    before = len(get(f"{url}/sends?after=0")["sends"])
    began = time.monotonic()
    message = twilio.messages.create(from_="whatsapp:+1", to="whatsapp:+2", body="hé +", status_callback="http://x/y")
    assert (message.status, message.body, message.to) == ("queued", "hé +", "whatsapp:+2")
    ((recipient, at, sid),) = get(f"{url}/sends?after={before}")["sends"]
    assert (recipient, sid) == ("whatsapp:+2", message.sid)
    assert began <= at <= time.monotonic()
    assert twilio.messages(sid).fetch().status == "delivered"
    assert twilio.messages.list(limit=5) == []
    assert twilio.messaging.v2.typing_indicator.create(channel="whatsapp", message_id="SM1").success
    with pytest.raises(TwilioRestException):
        twilio.messages.create(from_="whatsapp:+1", to="whatsapp:+2", body="x" * 1601)


def test_who_asks_for_news_waits_for_them_a_moment_and_no_longer(url: str) -> None:
    began = time.monotonic()
    assert get(f"{url}/sends?after=1000000") == {"sends": []}
    assert 0.9 <= time.monotonic() - began < 3


def test_who_was_told_of_no_news_is_not_told_again_when_they_come(url: str, twilio: Client) -> None:
    before = len(get(f"{url}/sends?after=0&wait=0")["sends"])
    line = HTTPConnection(url.removeprefix("http://"), timeout=5)

    def news(after: int) -> int:
        line.request("GET", f"/sends?after={after}")
        return len(json.loads(line.getresponse().read())["sends"])

    assert news(before) == 0
    twilio.messages.create(from_="whatsapp:+1", to="whatsapp:+2", body="hello")
    assert news(before) == 1
    assert news(before + 1) == 0, "a second answer to the first question, read as that to this one"
    line.close()


def test_connections_are_counted_by_whom_they_speak_to(url: str, twilio: Client) -> None:
    before = get(f"{url}/counts")["counts"]["connections_twilio"]
    for _ in range(3):
        twilio.messages.create(from_="whatsapp:+1", to="whatsapp:+2", body="hello")
    assert get(f"{url}/counts")["counts"]["connections_twilio"] == before + 1


def test_who_waits_is_answered_when_the_delay_is_taken_away(url: str) -> None:
    delay(url, chat=30_000)
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.chat.completions.create, model="m", messages=[{"role": "user", "content": "hello"}])
        with pytest.raises(TimeoutError):
            asked.result(0.3)
        delay(url, chat=0)
        assert asked.result(5).choices[0].message.content == ANSWER
    assert time.monotonic() - began < 5
