"""Overhead: from the webhook's request to the call that sends the answer, the LLM taking no time, phase by phase."""

import base64
import hashlib
import hmac
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from core.cast.characters import load_cast
from core.config import DEFAULT_PROMPTS
from deploy.local.child import free_port
from deploy.local.loopback import reachable
from tests.bench.figures import Figure, Goal, percentile, table
from tests.bench.ground import Ground, Steady, ground
from tests.bench.guard import NotMeasured
from tests.bench.phases import phases_ms
from tests.bench.talk import inbound_text, person
from tests.collector import collecting

MESSAGES: Final = 150
WARM_UP: Final = 30
HALF_LOAD_PER_S: Final = 30.0
"""About half of what one worker core carries (`work`)."""
PEOPLE: Final = 400
LOADS: Final = ("idle", "half load")
_PHASES: Final = Path(__file__).with_name("phases.sql")
_TOLD: Final = {
    "queued": "in the queue and stored",
    "thought": "read, routed, prompt built, LLM asked, answer stored",
    "asked": "of that the LLM call itself",
    "claimed": "until the delivery is claimed",
    "sent": "Twilio's call and its acceptance stored",
}


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: a few messages, whose values say nothing."""
    messages, warm_up, rate = (5, 2, 2.0) if smoke else (MESSAGES, WARM_UP, HALF_LOAD_PER_S)
    port, figures = free_port(), list[Figure]()
    more = {"MODERATION": "off", "HOST": "127.0.0.1", "PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), **more) as place:
        place.remember(PEOPLE, load_cast(DEFAULT_PROMPTS).default.id)
        with place.webhook() as webhook, place.worker(100):
            webhook.wait_until(lambda: reachable(f"http://127.0.0.1:{port}/readyz"), within=place.patience, name="web")
            _delays_ms(place, port, warm_up, first=PEOPLE // 2 - warm_up)
            for load in LOADS:
                with _busy(place, load, rate), place.guard.watching():
                    run, delays = _delays_ms(place, port, messages)
                figures += _figures(load, delays, _phases(place, run))
        figures += _traced(place, port, warm_up, messages // 3, rate)
    return [*figures, *place.guard.rows("overhead")]


def _traced(place: Ground, port: int, warm_up: int, messages: int, rate: float) -> list[Figure]:
    """The finer phases of a message, of processes that keep all spans in memory until they stop.

    The others that make half a load come past the webhook: their traces do not begin there and are left out.
    """
    between: dict[str, tuple[float, float]] = {}
    with collecting() as collector:
        traced = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "OTEL_BSP_MAX_QUEUE_SIZE": "16384",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16384",
        }
        with place.webhook(**traced) as webhook, place.worker(100, **traced, MODERATION="openai"):
            webhook.wait_until(lambda: reachable(f"http://127.0.0.1:{port}/readyz"), within=place.patience, name="web")
            _delays_ms(place, port, warm_up)
            for load in LOADS:
                with _busy(place, load, rate), place.guard.watching():
                    since_s = time.time()
                    _delays_ms(place, port, messages, first=warm_up)
                    between[load] = since_s, time.time()
    figures: list[Figure] = []
    for load, (since_s, until_s) in between.items():
        phases = phases_ms(collector.spans, since_s=since_s, until_s=until_s)
        if len(phases.get("sent", ())) < messages // 2:
            raise NotMeasured(f"{len(phases.get('sent', ()))} of {messages} traces are whole, {load}")
        figures += [_phase(f"{phase}, {load}, by its trace", values) for phase, values in phases.items()]
    return figures


def _busy(place: Ground, load: str, rate: float) -> AbstractContextManager[object]:
    """What others write meanwhile, if anything."""
    return Steady(place, PEOPLE // 2, PEOPLE, rate) if load == LOADS[1] else nullcontext()


def _phase(name: str, values: Sequence[float]) -> Figure:
    return Figure(name=f"{name}, p50", unit="ms", rounds=[median(values)], note=f"p99 {percentile(values, 99):.1f} ms")


def _figures(load: str, delays: Sequence[float], phases: Sequence[dict[str, float]]) -> list[Figure]:
    goals = (Goal(bound=25, sense="at most", of="value"), Goal(bound=100, sense="at most", of="value"))
    rows = [
        Figure(
            name=f"webhook in to Twilio call out, LLM 0 s, {load}, {name}",
            unit="ms",
            rounds=[value],
            goal=goal if load == "idle" else None,
            expected=False,
        )
        for name, value, goal in (("p50", median(delays), goals[0]), ("p99", percentile(delays, 99), goals[1]))
    ]
    rows += [_phase(f"{told}, {load}", [float(row[phase] or 0) for row in phases]) for phase, told in _TOLD.items()]
    return rows


def _delays_ms(place: Ground, port: int, messages: int, *, first: int = 0) -> tuple[str, list[float]]:
    """One message after the other, each by somebody else (a second answer to one person has to wait for the first
    one's report); with the run's mark in their ids."""
    line, run, delays = HTTPConnection("127.0.0.1", port, timeout=30), f"SMb{uuid4().hex[:8]}", list[float]()
    for number in range(first, first + messages):
        sender = person(number % (PEOPLE // 2))
        seen, began = place.standin.counts().get("send", 0), time.monotonic()
        _post(place, line, {"MessageSid": f"{run}{number:023d}", "From": sender, "Body": inbound_text(number)})
        delays.append(1000 * (_sent_at(place, seen, sender) - began))
    return run, delays


def _sent_at(place: Ground, seen: int, recipient: str) -> float:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sends = place.standin.sends(seen)
        seen += len(sends)
        for to, at, _ in sends:
            if to == recipient:
                return at
    raise NotMeasured("an answer did not come within a minute")


def _post(place: Ground, line: HTTPConnection, message: dict[str, str]) -> None:
    environ = place.environ
    form = {**message, "To": environ["TWILIO_WHATSAPP_NUMBER"], "AccountSid": environ["TWILIO_ACCOUNT_SID"]}
    signed = f"{environ['PUBLIC_URL']}/whatsapp" + "".join(name + value for name, value in sorted(form.items()))
    digest = hmac.new(environ["TWILIO_AUTH_TOKEN"].encode(), signed.encode(), hashlib.sha1).digest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": base64.b64encode(digest).decode(),
    }
    line.request("POST", "/whatsapp", urlencode(form), headers)
    answer = line.getresponse()
    answer.read()
    if answer.status != 200:
        raise NotMeasured(f"the webhook answered {answer.status}")


def _phases(place: Ground, run: str) -> list[dict[str, float]]:
    time.sleep(0.5)  # the last acceptance is being stored
    with psycopg.connect(place.postgres.url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_PHASES.read_bytes(), {"of_run": run}).fetchall()


if __name__ == "__main__":
    sys.stdout.write(table(measure(smoke="--smoke" in sys.argv)) + "\n")
