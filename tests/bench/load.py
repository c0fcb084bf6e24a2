"""Posts signed messages as fast as they are answered, or at a fixed rate: `python -m tests.bench.load SPEC`.

A process of its own on one thread. All requests are made and signed before the first is sent, each with a MessageSid,
a body and (unless told otherwise) a sender of its own, so that nothing is cached by accident. It tells how much of its
core it used: near 1 it would have measured itself, and the guard refuses the result.
"""

import base64
import hashlib
import hmac
import json
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

from deploy.local.stack import ROOT
from tests.bench.cores import OTHERS, pinned
from tests.bench.figures import percentile
from tests.bench.guard import Guard, NotMeasured
from tests.bench.talk import inbound_text, person

_GIVES_UP_AFTER_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to post, and where to. `rate` 0: each connection sends its next message when its last was answered."""

    port: int
    public_url: str
    token: str
    account: str
    number: str
    messages: int
    people: int = 0
    """How many different senders; 0: one for each message."""
    connections: int = 16
    rate: float = 0.0
    first_person: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came back. Latencies count from when a message was due, so that a stall is not left out."""

    seconds: float
    driver_share: float
    statuses: dict[str, int]
    latencies_ms: list[float] = field(repr=False)
    replies: int
    """How many answers carried a message in their TwiML."""

    def percentile(self, percent: int) -> float:
        """That percentile of the latencies, in ms."""
        return percentile(self.latencies_ms, percent)


def requests_of(spec: Spec) -> list[bytes]:
    """Every request of the run as it goes over the wire."""
    run = uuid4().hex[:12]
    url = f"{spec.public_url}/whatsapp"
    key = spec.token.encode()
    prepared: list[bytes] = []
    for number in range(spec.messages):
        who = spec.first_person + (number % spec.people if spec.people else number)
        sid = f"SM{run}{number:020d}"
        form = {
            "SmsMessageSid": sid, "NumMedia": "0", "ProfileName": f"Ana {who}", "MessageType": "text", "SmsSid": sid,
            "WaId": f"1555{who:07d}", "SmsStatus": "received", "Body": f"{inbound_text(number)} ¿{run}?",
            "To": spec.number, "NumSegments": "1", "MessageSid": sid, "AccountSid": spec.account, "From": person(who),
            "ApiVersion": "2010-04-01",
        }  # fmt: skip
        told = url + "".join(name + value for name, value in sorted(form.items()))
        signature = base64.b64encode(hmac.new(key, told.encode(), hashlib.sha1).digest()).decode()
        body = urlencode(form, quote_via=quote).encode()
        head = (
            "POST /whatsapp HTTP/1.1\r\nHost: bot.example.com\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
            f"X-Twilio-Signature: {signature}\r\nI-Twilio-Idempotency-Token: {uuid4()}\r\n"
            f"Connection: keep-alive\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        prepared.append(head.encode() + body)
    return prepared


class _Line:
    """One connection: at most one request on it at a time."""

    __slots__ = ("answer", "began", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self.answer = b""


class Driver:
    """Sends what was prepared and times each answer."""

    def __init__(self, spec: Spec, prepared: Sequence[bytes]) -> None:
        self._spec = spec
        self._prepared = prepared
        self._ready = select.epoll()
        self._lines: dict[int, _Line] = {}
        self._idle: deque[_Line] = deque()
        self._statuses: dict[str, int] = {}
        self._replies = 0
        self._latencies: list[float] = []

    def run(self) -> Loaded:
        """Returns when every message was answered, or its connection broke."""
        for _ in range(self._spec.connections):
            self._connect()
        began, cpu = time.perf_counter(), time.process_time()
        sent, total, rate = 0, len(self._prepared), self._spec.rate
        done = 0
        while done < total:
            now = time.perf_counter()
            if now - began > _GIVES_UP_AFTER_S + total / (rate or total):
                self._statuses["unanswered"] = total - done
                break
            while sent < total and self._idle and (due := began + sent / rate if rate else now) <= now:
                self._send(self._idle.popleft(), self._prepared[sent], due)
                sent += 1
            wait_s = 1.0
            if rate and sent < total and self._idle:
                wait_s = max(0.0, began + sent / rate - time.perf_counter())
            for number, _ in self._ready.poll(wait_s):
                done += self._receive(self._lines[number])
        return Loaded(
            seconds=time.perf_counter() - began,
            driver_share=(time.process_time() - cpu) / (time.perf_counter() - began),
            statuses=self._statuses,
            latencies_ms=self._latencies,
            replies=self._replies,
        )

    def _connect(self) -> None:
        line = _Line(self._spec.port)
        self._lines[line.socket.fileno()] = line
        self._ready.register(line.socket, select.EPOLLIN)
        self._idle.append(line)

    def _send(self, line: _Line, request: bytes, due: float) -> None:
        line.began, line.answer = due, b""
        line.socket.sendall(request)

    def _receive(self, line: _Line) -> int:
        """Returns 1 when that was the end of an answer."""
        try:
            chunk = line.socket.recv(65536)
        except OSError:
            chunk = b""
        line.answer += chunk
        head, found, body = line.answer.partition(b"\r\n\r\n")
        whole = found and len(body) >= _length(head)
        if not whole and chunk:
            return 0
        status = line.answer[9:12].decode("ascii", "replace") if whole else "broken"
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._latencies.append((time.perf_counter() - line.began) * 1000)
        self._replies += b"<Message" in body
        if not chunk:
            self._ready.unregister(line.socket)
            del self._lines[line.socket.fileno()]
            line.socket.close()
            self._connect()
        else:
            self._idle.append(line)
        return 1


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0] or 0)


def spec(environ: Mapping[str, str], port: int, messages: int, **more: Any) -> Spec:
    """A run against the webhook that has that environment."""
    return Spec(
        port=port,
        public_url=environ["PUBLIC_URL"],
        token=environ["TWILIO_AUTH_TOKEN"],
        account=environ["TWILIO_ACCOUNT_SID"],
        number=environ["TWILIO_WHATSAPP_NUMBER"],
        messages=messages,
        **more,
    )


def drive(what: Spec, guard: Guard | None, *, began: Callable[[], object] | None = None, strict: bool = True) -> Loaded:
    """Runs it in a process of its own on the other core; `began` is called right before the first message.

    Without a guard where nothing is measured yet.

    Raises: NotMeasured when driver or stand-in was the bottleneck; with `strict` also when not every message was
    acknowledged.
    """
    command = [sys.executable, "-m", "tests.bench.load", json.dumps(asdict(what))]
    with pinned(OTHERS):
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            if process.stdout.readline() != "ready\n":
                raise NotMeasured("the driver did not start")
            if began is not None:
                began()
            since = guard.look() if guard else None
            told, _ = process.communicate("go\n", timeout=300)
        finally:
            process.kill()
    loaded = Loaded(**json.loads(told))
    if guard and since:
        guard.tell("driver", loaded.driver_share)
        guard.judge(since, drives=False)
    if strict and loaded.statuses != {"200": what.messages}:
        raise NotMeasured(f"not every message was acknowledged: {loaded.statuses}")
    return loaded


def _main(what: Spec) -> Loaded:
    """Prepares, waits for a line on stdin (so that all start together), and runs."""
    prepared = requests_of(what)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    return Driver(what, prepared).run()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_main(Spec(**json.loads(sys.argv[1]))))))
