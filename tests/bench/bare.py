"""The bare loop: the same client calls without queue, turn or outbox, as anyone would write them by hand.

300 threads; per message one INSERT, one SELECT of the last 20 messages, `chat.completions.create` with these and a
2,000-character system prompt, one INSERT, `messages.create` with status_callback, one UPDATE. Shared clients, pooled
psycopg. It is what our worker's cost is held against, so it stays as it is. It runs as `python -m tests.bench.bare`,
with its settings in the environment, until it is ended.
"""

import itertools
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import openai
import twilio.rest
from psycopg_pool import ConnectionPool
from twilio.http.http_client import TwilioHttpClient

from tests.bench.talk import SYSTEM_PROMPT, inbound_text, person

THREADS: Final = 300
HISTORY: Final = 20
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS bare_messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person text NOT NULL,
    role text NOT NULL,
    text text NOT NULL,
    sid text,
    status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS bare_messages_of_person ON bare_messages (person, id);
"""


class Bare:
    """One process of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._number = environ["TWILIO_WHATSAPP_NUMBER"]
        self._model = environ["OPENAI_MODEL"]
        self._callback = f"{environ['PUBLIC_URL']}/whatsapp/status"
        self._pool = ConnectionPool(environ["DATABASE_URL"], min_size=4, max_size=16, open=True)
        self._llm = openai.OpenAI(base_url=environ["OPENAI_BASE_URL"], api_key=environ["OPENAI_API_KEY"], timeout=45)
        http = TwilioHttpClient(timeout=10)
        self._twilio = twilio.rest.Client(environ["TWILIO_ACCOUNT_SID"], environ["TWILIO_AUTH_TOKEN"], http_client=http)
        self._twilio.api.base_url = environ["TWILIO_BASE_URL"]
        with self._pool.connection() as connection:
            connection.execute(SCHEMA)

    def answer(self, sender: str, sid: str, text: str) -> None:
        """One message from its arrival to its answer's acceptance."""
        with self._pool.connection() as connection:
            connection.execute(
                "INSERT INTO bare_messages (person, role, text, sid, status) VALUES (%s, 'user', %s, %s, 'received')",
                (sender, text, sid),
            )
            history = connection.execute(
                "SELECT role, text FROM bare_messages WHERE person = %s ORDER BY id DESC LIMIT %s", (sender, HISTORY)
            ).fetchall()
        messages: list[Any] = [{"role": "system", "content": SYSTEM_PROMPT}]
        messages += [{"role": role, "content": said} for role, said in reversed(history)]
        completion = self._llm.chat.completions.create(
            model=self._model, messages=messages, temperature=0.7, max_completion_tokens=500
        )
        reply = completion.choices[0].message.content or ""
        with self._pool.connection() as connection:
            row = connection.execute(
                "INSERT INTO bare_messages (person, role, text, status) VALUES (%s, 'assistant', %s, 'sending') "
                "RETURNING id",
                (sender, reply),
            ).fetchone()
        sent = self._twilio.messages.create(from_=self._number, to=sender, body=reply, status_callback=self._callback)
        with self._pool.connection() as connection:
            connection.execute(
                "UPDATE bare_messages SET status = %s, sid = %s WHERE id = %s", (sent.status, sent.sid, row and row[0])
            )

    def serve(self, number: int) -> None:
        """One person who writes again as soon as the answer is there. The first messages spread over two seconds."""
        time.sleep(2 * number / THREADS)
        sender = person(number)
        for count in itertools.count(1):
            self.answer(sender, f"SM{number:016x}{count:016x}", inbound_text(count))


def main() -> None:
    """Runs until it is ended."""
    bare = Bare(os.environ)
    threads = [threading.Thread(target=bare.serve, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
