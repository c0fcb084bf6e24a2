"""Recording stand-ins for what we do not own, met through the ports, and a bot built on them with a real store."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from core.adapters.redis_inbox import RedisDoor, RedisInboxes, door, inboxes
from core.cast.characters import Cast, load_cast
from core.config import (
    DEFAULT_PROMPTS,
    DatabaseSettings,
    EmbeddingSettings,
    LimitSettings,
    PromptSettings,
    TurnSettings,
)
from core.deliveries.outbox import Outbox
from core.errors import Permanent
from core.intake import HeldTurn, Intake
from core.keeping.catchup import CatchUp
from core.keeping.erasure import Eraser
from core.keeping.latecomers import Latecomers, Line
from core.keeping.upkeep import Upkeep
from core.model import InboundMessage, Media, StatusReport
from core.ports import ChatMessage, Choice, Completion, Llm, Outgoing, ProviderMessage, Verdict
from core.routing.route import Router
from core.store import Store
from core.turns.answer import Answerer
from core.turns.limits import Limits
from core.turns.presence import Presence
from core.turns.speech import Speech
from core.turns.turn import Turns
from core.wiring.router import routing_of

OUR_NUMBER = "whatsapp:+15550006000"
SOMEBODY = "whatsapp:+491700000001"


@cache
def shipped_cast() -> Cast:
    return load_cast(DEFAULT_PROMPTS)


@cache
def shipped_router() -> Router:
    return routing_of(PromptSettings(), EmbeddingSettings(), shipped_cast(), cache=None).router


def completion(text: str = "Sure.", **changes: Any) -> Completion:
    values: dict[str, Any] = {
        "text": text,
        "cut": False,
        "refused": False,
        "provider": "fake",
        "model": "fake-1",
        "tokens_in": 10,
        "tokens_out": 5,
        "cost_usd": Decimal("0.001"),
        "took": timedelta(milliseconds=20),
    }
    return Completion(**values | changes)


@dataclass
class FakeLlm:
    """Answers what it is told to, else "Answer N."; raises an exception in the list; `meanwhile` runs in each call."""

    answers: list[str | Completion | Exception] = field(default_factory=list[str | Completion | Exception])
    prompts: list[Sequence[ChatMessage]] = field(default_factory=list[Sequence[ChatMessage]])
    choices: list[Choice | None] = field(default_factory=list["Choice | None"])
    meanwhile: Callable[[int], None] = lambda _: None

    def complete(self, prompt: Sequence[ChatMessage], *, deadline: float, choice: Choice | None = None) -> Completion:
        assert deadline > time.monotonic()
        self.prompts.append(prompt)
        self.choices.append(choice)
        self.meanwhile(len(self.prompts))
        answer = self.answers.pop(0) if self.answers else f"Answer {len(self.prompts)}."
        if isinstance(answer, Exception):
            raise answer
        return completion(answer) if isinstance(answer, str) else answer

    def own_texts(self, call: int = -1) -> list[str]:
        """The last `user` messages of that call."""
        texts: list[str] = []
        for message in reversed(self.prompts[call]):
            if message.role != "user":
                break
            texts.insert(0, message.text)
        return texts


@dataclass
class FakeModerator:
    """Flags texts that hold one of the words."""

    refuse: str = "flag-me"
    crisis: str = "crisis-me"

    def check(self, texts: Sequence[str]) -> Verdict:
        joined = " ".join(texts)
        categories = [("harassment", self.refuse), ("self-harm", self.crisis)]
        return Verdict(
            flagged=self.refuse in joined or self.crisis in joined,
            self_harm=self.crisis in joined,
            categories=tuple(name for name, word in categories if word in joined),
        )


@dataclass
class FakeChannel:
    """Accepts what it is sent unless told otherwise; keeps a log like the provider's."""

    outcomes: list[Exception | None] = field(default_factory=list[Exception | None])
    accepts_before_failing: bool = False
    look_up_fails: Exception | None = None
    meanwhile: Callable[[], None] = lambda: None
    sent: list[Outgoing] = field(default_factory=list[Outgoing])
    log: list[ProviderMessage] = field(default_factory=list[ProviderMessage])
    typing: list[str] = field(default_factory=list[str])
    readings: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    fetched: list[str] = field(default_factory=list[str])
    attachments: dict[str, Sequence[Media]] = field(default_factory=dict[str, Sequence[Media]])
    while_reading: Callable[[], None] = lambda: None
    log_fails: Exception | None = None
    log_fails_after: int = 0
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, message: Outgoing) -> str:
        self.sent.append(message)
        self.meanwhile()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is None or self.accepts_before_failing:
            provider_id = f"MM{next(self.ids):032x}"
            self.log.insert(0, self._logged(provider_id, message))
            if outcome is None:
                return provider_id
        raise outcome

    def recent_to(self, recipient: str, *, limit: int) -> Sequence[ProviderMessage]:
        if self.look_up_fails is not None:
            raise self.look_up_fails
        return [message for message in self.log if message.recipient == recipient][:limit]

    def received(self, recipient: str, *, since: datetime, until: datetime) -> Iterator[ProviderMessage]:
        """As Twilio does it: newest first, whole seconds, both ends included."""
        self.readings.append((since, until))
        self.while_reading()
        for number, message in enumerate(self.log):
            if self.log_fails is not None and number >= self.log_fails_after:
                raise self.log_fails
            at = message.sent_at
            if at is None or not since.replace(microsecond=0) <= at <= until:
                continue
            if message.inbound and message.recipient == recipient:
                yield message

    def fetch(self, provider_id: str) -> ProviderMessage:
        self.fetched.append(provider_id)
        if self.log_fails is not None:
            raise self.log_fails
        for message in self.log:
            if message.provider_id == provider_id:
                return message
        raise Permanent("rejected", code="20404")

    def media(self, provider_id: str) -> Sequence[Media]:
        if provider_id not in self.attachments:
            raise Permanent("rejected", code="20404")
        return self.attachments[provider_id]

    def show_typing(self, provider_id: str) -> None:
        self.typing.append(provider_id)

    @property
    def bodies(self) -> list[str]:
        return [message.body for message in self.sent]

    @staticmethod
    def _logged(provider_id: str, message: Outgoing) -> ProviderMessage:
        return ProviderMessage(
            provider_id=provider_id,
            sender=message.sender,
            recipient=message.recipient,
            body=message.body,
            inbound=False,
            status="sent",
            error_code="",
            created_at=datetime.now(UTC),
        )


class AtOnce(Executor):
    """Senders that send on the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@dataclass
class FakeMessageLog:
    """The provider's record of both directions: what the channel accepted, and the messages in `came`."""

    channel: FakeChannel
    came: list[ProviderMessage] = field(default_factory=list[ProviderMessage])
    fetched: list[str] = field(default_factory=list[str])

    def hears(self, *messages: InboundMessage) -> None:
        self.came += [
            ProviderMessage(
                provider_id=message.provider_id,
                sender=message.sender,
                recipient=message.recipient,
                body=message.text,
                inbound=True,
                status="received",
                error_code="",
                created_at=message.received_at,
            )
            for message in messages
        ]

    def log(self, since: datetime, until: datetime) -> Iterator[ProviderMessage]:
        rows = [(m.created_at, m) for m in (*self.came, *self.channel.log) if m.created_at is not None]
        yield from (m for at, m in sorted(rows, key=lambda row: row[0], reverse=True) if since <= at <= until)

    def fetch(self, provider_id: str) -> ProviderMessage:
        self.fetched.append(provider_id)
        for message in (*self.came, *self.channel.log):
            if message.provider_id == provider_id:
                return message
        raise Permanent("rejected", code="20404")


class RunsHere:
    """Slots that run a turn at once on the caller's thread; `places` 0 means that none is free."""

    def __init__(self, run: Callable[[HeldTurn], None], places: int = 1) -> None:
        self.run = run
        self.places = places

    def reserve(self) -> bool:
        return self.places > 0

    def release(self) -> None:
        pass

    def start(self, turn: HeldTurn) -> None:
        self.run(turn)


class Bot:
    """One worker's parts on a real Postgres and a real Redis, with the outside world faked."""

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        *,
        asks: Llm | None = None,
        send_every: timedelta | None = None,
        **settings: float,
    ) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.llm = FakeLlm()
        self.channel = FakeChannel()
        self.worker_id: UUID = uuid4()
        self._ahead_s = 0.0
        self.store = Store(DatabaseSettings.model_validate({"DATABASE_URL": database_url}), connections=4)
        self.door: RedisDoor = door(redis_url, redis_url)
        self.inboxes: RedisInboxes = inboxes(redis_url)
        self.cast = shipped_cast()
        self.presence = Presence({"twilio": self.channel})
        self.settings = TurnSettings.model_validate(
            {"TURN_DEADLINE_S": 120, "AMBIGUOUS_WAIT_S": 30, "RETRY_MAX_AGE_S": 3600} | settings
        )
        self.limits = Limits(
            store=self.store, settings=LimitSettings.model_validate({"PERSON_MESSAGES_PER_MINUTE": 0} | settings)
        )
        speech = Speech(
            cast=self.cast,
            llm=asks or self.llm,
            moderator=FakeModerator(),
            presence=self.presence,
            call_takes_at_most=timedelta(seconds=45),
        )
        answerer = Answerer(cast=self.cast, router=shipped_router(), speech=speech, limits=self.limits)
        self.outbox = Outbox(
            store=self.store,
            inboxes=self.inboxes,
            channels={"twilio": self.channel},
            worker_id=self.worker_id,
            settings=self.settings,
            senders=AtOnce(),
            send_every=send_every,
        )
        self.turns = Turns(
            store=self.store, answerer=answerer, outbox=self.outbox, worker_id=self.worker_id, settings=self.settings
        )
        self.intake = Intake(
            store=self.store,
            inboxes=self.inboxes,
            cast=self.cast,
            worker_id=self.worker_id,
            turn_deadline=self.settings.deadline,
        )
        self.upkeep = Upkeep(store=self.store, intake=self.intake, worker_id=self.worker_id, clock=self.clock)
        self.catch_up = self.started_catch_up()
        self.eraser = Eraser(store=self.store, inboxes=self.inboxes)
        self.slots = RunsHere(self.turns.run)
        self._numbers = itertools.count(1)
        self.upkeep.beat()

    def started_catch_up(self) -> CatchUp:
        """As a worker has it that has just started."""
        line = Line(name="twilio", channel=self.channel, number=OUR_NUMBER)
        latecomers = Latecomers(
            store=self.store,
            intake=self.intake,
            line=line,
            retry_max_age=self.settings.retry_max_age,
        )
        return CatchUp(store=self.store, latecomers=latecomers, line=line, worker_id=self.worker_id)

    def clock(self) -> float:
        """The worker's own clock, moved on by `time_passes`."""
        return time.monotonic() + self._ahead_s

    def time_passes(self, seconds: float) -> None:
        """For the worker's own clock only; rows are aged by `change`."""
        self._ahead_s += seconds

    def message(self, text: str, **changes: Any) -> InboundMessage:
        values: dict[str, Any] = {
            "channel": "twilio",
            "provider_id": f"SM{next(self._numbers):032x}",
            "sender": SOMEBODY,
            "recipient": OUR_NUMBER,
            "received_at": datetime.now(UTC),
            "text": text,
        }
        return InboundMessage(**values | changes)

    def accept(self, text: str, **changes: Any) -> InboundMessage:
        """The message comes through the door; nobody has taken it in yet."""
        message = self.message(text, **changes)
        self.door.accept(message)
        return message

    def take_in(self) -> int:
        """Drains every inbox that waits."""
        return sum(
            self.intake.drain(person, self.slots) for person in self.inboxes.waiting(older_than=timedelta(0), limit=100)
        )

    def say(self, text: str, **changes: Any) -> InboundMessage:
        """A message comes, is stored and answered."""
        message = self.accept(text, **changes)
        self.take_in()
        return message

    def tell(self, status: str, *, delivery_id: int = 0, provider_id: str = "SM1", error_code: str = "") -> None:
        """The provider reports; that waits at the door."""
        self.door.report(
            StatusReport(
                channel="twilio",
                provider_id=provider_id,
                status=status,
                received_at=datetime.now(UTC),
                delivery_id=delivery_id,
                error_code=error_code,
            )
        )

    def report(self, status: str, *, delivery_id: int = 0, provider_id: str = "SM1", error_code: str = "") -> None:
        """The provider reports; the report is applied."""
        self.tell(status, delivery_id=delivery_id, provider_id=provider_id, error_code=error_code)
        self.outbox.take_reports()

    def rows(self, query: str, **params: object) -> list[dict[str, Any]]:
        """What the database holds, seen from outside."""
        with psycopg.connect(self.database_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), params).fetchall()

    def change(self, query: str, **params: object) -> None:
        """Time travel and other things that only a test does."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(query.encode(), params)

    def close(self) -> None:
        self.presence.close()
        self.store.close()
