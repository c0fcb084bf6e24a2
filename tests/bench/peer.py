"""Peer: the article's architecture on the same load. The LLM is asked inside the webhook and the reply is its answer.

A small stand-in of our own, written as such bots are: Flask, twilio's validator, openai's client, a table of messages.
It runs on the same gunicorn with the same threads. Twilio waits 15 s for an answer and repeats nothing by default.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
from flask import Flask, Response, abort, request
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from psycopg_pool import ConnectionPool
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from tests.bench.acknowledge import forget_everything
from tests.bench.figures import Figure, Goal
from tests.bench.ground import Ground, ground
from tests.bench.load import Loaded, drive, spec
from tests.bench.processes import webhook
from tests.bench.talk import SYSTEM_PROMPT

HISTORY: Final = 20
SLOW_LLM_MS: Final = 20_000
TWILIO_WAITS_MS: Final = 15_000
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS peer_messages (id bigserial PRIMARY KEY, person text, role text, text text);"
    "CREATE INDEX IF NOT EXISTS peer_messages_of_person ON peer_messages (person, id);"
)
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
    lost_of, slow_ms = (4, 300) if smoke else (16, SLOW_LLM_MS)
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory), MODERATION="off") as place:
        with psycopg.connect(place.postgres.url) as connection:
            connection.execute(_TABLE.encode())
        with webhook(place, PEER) as peer, webhook(place) as ours:
            place.standin.delay(chat=llm_ms)
            for served in (peer, ours):
                drive(spec(place.environ, served.port, 16), None)
            pairs = [(_drive(place, ours.port, messages), _drive(place, peer.port, messages)) for _ in range(rounds)]
            place.standin.delay(chat=slow_ms)
            slow = drive(spec(place.environ, peer.port, lost_of, connections=lost_of), place.guard)
            fast = drive(spec(place.environ, ours.port, lost_of, connections=lost_of), place.guard)
    return [*_beside(pairs, llm_ms, messages), _lost(lost_of, fast, slow), *place.guard.rows("peer")]


def _drive(place: Ground, port: int, messages: int) -> Loaded:
    """Many people at once, each with one message."""
    forget_everything(place)
    return drive(spec(place.environ, port, messages, connections=messages), place.guard)


def _beside(pairs: Sequence[tuple[Loaded, Loaded]], llm_ms: float, messages: int) -> Sequence[Figure]:
    named = f"{messages} messages at once, LLM {llm_ms / 1000:g} s"
    return [
        Figure(
            name=f"ack p99 of {named}",
            unit="ms",
            rounds=[ours.percentile(99) for ours, _ in pairs],
            limit_name="LLM call inside the webhook",
            limit_rounds=[peer.percentile(99) for _, peer in pairs],
        ),
        Figure(
            name=f"messages acknowledged/s, {named}",
            unit="1/s",
            rounds=[messages / ours.seconds for ours, _ in pairs],
            limit_name="LLM call inside the webhook",
            limit_rounds=[messages / peer.seconds for _, peer in pairs],
            note="theirs carry the answer, ours is sent through the REST API afterwards",
        ),
    ]


def _lost(messages: int, ours: Loaded, peer: Loaded) -> Figure:
    """What Twilio would have given up on."""
    late = [sum(latency > TWILIO_WAITS_MS for latency in loaded.latencies_ms) for loaded in (ours, peer)]
    return Figure(
        name=f"of {messages} messages lost to Twilio's 15 s while an LLM call takes {SLOW_LLM_MS / 1000:g} s",
        unit="lost",
        rounds=[float(late[0])],
        goal=Goal(bound=0, sense="at most", of="value"),
        note=f"LLM call inside the webhook: {late[1]}",
    )
