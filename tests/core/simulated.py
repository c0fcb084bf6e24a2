"""The simulator inside the test's process, on a free port of loopback: asked over HTTP by what is tested."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from core.config import Provider
from deploy.simulator.server import start
from deploy.simulator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    url: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data)
        with urllib.request.urlopen(request, timeout=10) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def faults(self, **sections: Any) -> None:
        """Puts faults in force; those left out end."""
        self.call("PUT", "/simulator/faults", sections)

    def sent_to(self, person: str) -> list[str]:
        """The texts that a person saw, oldest first."""
        rows = self.call("GET", f"/simulator/messages?person={quote(person)}")
        return [row["body"] for row in rows if row["direction"] != "inbound"]

    def provider(self, name: str, model: str) -> Provider:
        return Provider(
            name=name, base_url=f"{self.url}/v1", model=model, usd_in=Decimal("0.10"), usd_out=Decimal("0.50")
        )


@contextmanager
def simulator() -> Generator[Simulated]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(start(Settings(port=0, llm_latency=timedelta(0))), loop).result(10)
        try:
            yield Simulated(url=running.url)
        finally:
            asyncio.run_coroutine_threadsafe(running.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
