"""Peer: the article's architecture on the same load. The LLM is asked inside the webhook and the reply is its answer.

A small stand-in of our own, written as such bots are: Flask, twilio's validator, openai's client, a table of messages.
It runs on the same gunicorn with the same threads; beside ours a worker runs, on the same core. Twilio waits 15 s for
an answer and repeats nothing by default.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from flask import Flask, Response, abort, request
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from psycopg_pool import ConnectionPool
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from core.adapters.redis_inbox import DOOR_THREADS
from tests.bench.figures import Figure, Goal
from tests.bench.ground import Ground, ground
from tests.bench.load import Loaded, drive, spec
from tests.bench.processes import webhook
from tests.bench.talk import SYSTEM_PROMPT, person

HISTORY: Final = 20
SLOW_LLM_MS: Final = 20_000
TWILIO_WAITS_MS: Final = 15_000
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS peer_messages (id bigserial PRIMARY KEY, person text, role text, text text);"
    "CREATE INDEX IF NOT EXISTS peer_messages_of_person ON peer_messages (person, id);"
)
PLACES: Final = 100
ANSWERED_WITHIN_S: Final = 45.0
"""Of a message of ours; after that it counts as lost."""
BESIDE: Final = "LLM call inside the webhook"
PEER: Final = "tests.bench.peer:answering()"


def answering() -> Flask:
    """The peer: what gunicorn serves."""
    app = Flask(__name__)
    validator = RequestValidator(os.environ["TWILIO_AUTH_TOKEN"])
    url = os.environ["PUBLIC_URL"] + "/whatsapp"
    llm = OpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
    pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=16, open=True)

    @app.post("/whatsapp")
    def whatsapp() -> Response:
        signature = request.headers.get("X-Twilio-Signature", "")
        if not validator.validate(url, request.form, signature):  # pyright: ignore[reportUnknownMemberType]
            abort(403)
        person, text = request.form["From"], request.form["Body"]
        with pool.connection() as connection:
            said = connection.execute(
                "SELECT role, text FROM peer_messages WHERE person = %s ORDER BY id DESC LIMIT %s", [person, HISTORY]
            ).fetchall()
        answer = _ask(llm, [*reversed(said), ("user", text)])
        with pool.connection() as connection:
            connection.execute(
                "INSERT INTO peer_messages (person, role, text) VALUES (%s, 'user', %s), (%s, 'assistant', %s)",
                [person, text, person, answer],
            )
        twiml = MessagingResponse()
        twiml.message(answer)  # pyright: ignore[reportUnknownMemberType]
        return Response(str(twiml), mimetype="text/xml")

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    return app


def _ask(llm: OpenAI, said: Sequence[tuple[str, str]]) -> str:
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": SYSTEM_PROMPT}]
    for role, text in said:
        messages.append(
            {"role": "assistant", "content": text} if role == "assistant" else {"role": "user", "content": text}
        )
    answer = llm.chat.completions.create(model=os.environ["OPENAI_MODEL"], messages=messages)
    return answer.choices[0].message.content or ""


def measure(*, smoke: bool = False) -> Sequence[Figure]:
    """Returns the rows; `smoke`: one short round, whose values say nothing."""
    rounds, llm_ms, messages = (1, 200, 20) if smoke else (2, 2000, 48)
    few, slow_ms = (4, 300) if smoke else (16, SLOW_LLM_MS)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), MODERATION="off") as place:
        with psycopg.connect(place.postgres.url) as connection:
            connection.execute(_TABLE.encode())
        with webhook(place, PEER) as peer, webhook(place) as ours, place.worker(PLACES):
            people = itertools.count(step=max(messages, few))
            place.standin.delay(chat=llm_ms)
            _both(place, ours.port, peer.port, few, next(people))  # modules loaded, connections made
            pairs = [
                (
                    _collected(place, _sent(place, ours.port, messages, first), messages, first),
                    _by_twiml(place, peer.port, messages, first),
                )
                for first in itertools.islice(people, rounds)
            ]
            place.standin.delay(chat=slow_ms)
            slow = _both(place, ours.port, peer.port, few, next(people))
    return [
        *_beside(pairs, f"{messages} messages at once, LLM {llm_ms / 1000:g} s"),
        _lost(pairs, f"of {messages} messages at once, LLM {llm_ms / 1000:g} s"),
        _lost([slow], f"of {few} messages at once, LLM {slow_ms / 1000:g} s"),
        *place.guard.rows("peer"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """What came of messages that were sent all at once, each by somebody new."""

    loaded: Loaded
    lost: int
    """Those to which no answer came, or none that Twilio would have passed on."""
    per_s: float
    """Answers, from the first message sent to the last answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """Acknowledged by us, and perhaps not answered yet."""

    loaded: Loaded
    began: float
    seen: int
    """Of what went to Twilio before."""


def _both(place: Ground, ours: int, peer: int, messages: int, first: int) -> tuple[_Answered, _Answered]:
    """Ours wait for the LLM while the peer does: a slow one is waited for once."""
    sent = _sent(place, ours, messages, first)
    by_twiml = _by_twiml(place, peer, messages, first)
    return _collected(place, sent, messages, first), by_twiml


def _sent(place: Ground, port: int, messages: int, first: int) -> _Sent:
    began, seen = list[float](), place.standin.counts().get("send", 0)
    what = spec(place.environ, port, messages, first_person=first, connections=messages)
    loaded = drive(what, place.guard, began=lambda: began.append(time.monotonic()))
    return _Sent(loaded=loaded, began=began[0], seen=seen)


def _collected(place: Ground, sent: _Sent, messages: int, first: int) -> _Answered:
    """Waits, but not for ever, until Twilio has accepted an answer to each of these people."""
    missing, seen, last = {person(number) for number in range(first, first + messages)}, sent.seen, sent.began
    with place.guard.watching(drives=False):
        while missing and time.monotonic() < sent.began + ANSWERED_WITHIN_S:
            sends = place.standin.sends(seen)
            seen += len(sends)
            for recipient, at, _ in sends:
                if recipient in missing:
                    missing.remove(recipient)
                    last = at
    answers = messages - len(missing)
    return _Answered(loaded=sent.loaded, lost=len(missing), per_s=answers / (last - sent.began) if answers else 0.0)


def _by_twiml(place: Ground, port: int, messages: int, first: int) -> _Answered:
    """The peer's acknowledgements are its answers; Twilio drops those that come too late."""
    loaded = drive(spec(place.environ, port, messages, first_person=first, connections=messages), place.guard)
    in_time = sum(latency <= TWILIO_WAITS_MS for latency in loaded.latencies_ms)
    answers = min(in_time, loaded.replies)
    return _Answered(loaded=loaded, lost=messages - answers, per_s=answers / loaded.seconds)


def _beside(pairs: Sequence[tuple[_Answered, _Answered]], named: str) -> Sequence[Figure]:
    return [
        Figure(
            name=f"answers/s, {named}",
            unit="1/s",
            rounds=[ours.per_s for ours, _ in pairs],
            limit_name=BESIDE,
            limit_rounds=[peer.per_s for _, peer in pairs],
            goal=Goal(bound=1.0, sense="at least"),
            note=f"theirs in TwiML, on {DOOR_THREADS} threads; ours accepted by Twilio's API, by a worker of {PLACES} "
            "places on the core of the webhook",
        ),
        Figure(
            name=f"ack p99 of {named}",
            unit="ms",
            rounds=[ours.loaded.percentile(99) for ours, _ in pairs],
            limit_name=BESIDE,
            limit_rounds=[peer.loaded.percentile(99) for _, peer in pairs],
        ),
        Figure(
            name=f"acknowledgements/s, {named}",
            unit="1/s",
            rounds=[len(ours.loaded.latencies_ms) / ours.loaded.seconds for ours, _ in pairs],
            limit_name=BESIDE,
            limit_rounds=[len(peer.loaded.latencies_ms) / peer.loaded.seconds for _, peer in pairs],
            note="theirs carry the answer, ours come before it",
        ),
    ]


def _lost(pairs: Sequence[tuple[_Answered, _Answered]], named: str) -> Figure:
    theirs = " and ".join(str(peer.lost) for _, peer in pairs)
    return Figure(
        name=f"never answered, {named}",
        unit="lost",
        rounds=[float(ours.lost) for ours, _ in pairs],
        goal=Goal(bound=0, sense="at most", of="value"),
        note=f"{BESIDE}: {theirs} came later than Twilio's {TWILIO_WAITS_MS / 1000:g} s",
    )
