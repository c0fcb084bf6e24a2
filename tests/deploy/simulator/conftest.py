"""A real simulator on a free loopback port, and a bot that writes down what it was told."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from openai import OpenAI
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from deploy.simulator.server import Simulator, start
from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_AUTH_TOKEN, Settings
from tests.deploy.simulator.world import Bot, World


@pytest.fixture(scope="session")
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def world(_loop: asyncio.AbstractEventLoop, bot: Bot) -> Iterator[World]:
    settings = Settings(
        port=0,
        webhook_url=f"{bot.url}/whatsapp?a=1&b=%20x#rc=2&rp=5xx,ct,rt&ct=500&rt=300&tt=3000",
        llm_latency=timedelta(0),
    )
    simulator: Simulator = asyncio.run_coroutine_threadsafe(start(settings), _loop).result(10)
    http_client = TwilioHttpClient(timeout=5)
    twilio = Client(SIMULATED_ACCOUNT_SID, SIMULATED_AUTH_TOKEN, http_client=http_client)
    for domain in (twilio.api, twilio.messaging, twilio.content):
        domain.base_url = simulator.url
    openai = OpenAI(api_key="any", base_url=f"{simulator.url}/v1", max_retries=0, timeout=5)
    yield World(url=simulator.url, bot=bot, twilio=twilio, openai=openai)
    openai.close()
    if http_client.session is not None:
        http_client.session.close()
    asyncio.run_coroutine_threadsafe(simulator.stop(), _loop).result(10)


@pytest.fixture
def bot() -> Iterator[Bot]:
    bot = Bot()
    thread = threading.Thread(target=bot.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield bot
    bot.server.shutdown()
    thread.join()
    bot.server.server_close()
