"""Signed webhooks at an even rate, whatever the answers do: each request begins when it is due."""

import asyncio
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from tests.webhook.posting import sign

PERSONS = 20
ANSWER_WITHIN_S = 15.0
"""Twilio waits no longer."""


@dataclass
class Load:
    """Posts in a thread of its own from the beginning of `with` to its end, which waits for the last answers."""

    address: str
    public_url: str
    token: str
    account: str
    number: str
    per_second: int = 100
    outcomes: Counter[str] = field(default_factory=Counter[str])
    slowest_s: float = 0.0
    began: float = 0.0
    lasted_s: float = 0.0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        self.began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            count = 0
            while not self._stop.is_set():
                tasks.create_task(self._one(count))
                count += 1
                await asyncio.sleep(max(0.0, self.began + count / self.per_second - time.monotonic()))
            self.lasted_s = time.monotonic() - self.began

    async def _one(self, count: int) -> None:
        began = time.monotonic()
        try:
            outcome = await asyncio.wait_for(self._post(count), ANSWER_WITHIN_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcome = type(error).__name__
        self.outcomes[outcome] += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    async def _post(self, count: int) -> str:
        form = {
            "MessageSid": f"SM{secrets.token_hex(16)}",
            "AccountSid": self.account,
            "From": f"whatsapp:+1555030{count % PERSONS:04d}",
            "To": self.number,
            "Body": f"Who knows about music? ({count})",
        }
        body = urlencode(form).encode()
        host, _, port = self.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = (
                "POST /whatsapp HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(body)}\r\n"
                f"X-Twilio-Signature: {sign(f'{self.public_url}/whatsapp', form, self.token)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        return answer.split(b"\r\n", 1)[0].decode() if b"<Response" in answer else f"no TwiML: {answer[:40]!r}"
