"""Makes the parts of a worker, and of the operator's commands, out of the environment; knows the concrete classes."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID, uuid4

import structlog

from core.adapters.failover import Failover
from core.adapters.model_files import cache_directory
from core.adapters.moderation import NoModerator, OpenAiModerator
from core.adapters.openai import OpenAiLlm
from core.adapters.redis_inbox import inboxes, knock
from core.adapters.twilio import STATUS_PATH, TwilioChannel
from core.adapters.wakeups import QueueDepth
from core.cast.characters import Cast, load_cast
from core.config import (
    SANDBOX_NUMBER,
    DatabaseSettings,
    EmbeddingSettings,
    Environment,
    LimitSettings,
    LlmSettings,
    PromptSettings,
    RedisSettings,
    RetentionSettings,
    TracingSettings,
    TurnSettings,
    TwilioSettings,
    WebSettings,
    WorkerSettings,
    too_short_a_deadline,
)
from core.deliveries.outbox import Outbox
from core.errors import ConfigurationError
from core.intake import Intake
from core.keeping.catchup import CatchUp
from core.keeping.erasure import Eraser
from core.keeping.latecomers import Latecomers, Line
from core.keeping.retention import Retention
from core.keeping.upkeep import Upkeep
from core.metrics import Levels
from core.model import TWILIO
from core.routing.phrases import load_phrases
from core.sampling import GOOD_FOR, Sampler
from core.store import CommandStore, Store
from core.turns.answer import Answerer
from core.turns.limits import Limits
from core.turns.presence import Presence
from core.turns.speech import Speech
from core.turns.turn import Turns
from core.vectors import ExampleVectors
from core.wiring.router import Routing, routing_of

SENDERS: Final = 16
"""Threads of one worker that send what no turn is waiting for: later pieces, retries, look-ups."""
DATABASE_CONNECTIONS: Final = 16
"""Of one worker: a turn holds one for milliseconds at its beginning and its end, none while it thinks."""
SIGN_OF_LIFE_CONNECTIONS: Final = 2
"""Beside them, so that no sign of life waits for a turn's."""

_log = structlog.stdlib.get_logger(__name__)


class Closes(Protocol):
    """What keeps connections."""

    def close(self) -> None:
        """Closes them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """What one worker process works with."""

    worker_id: UUID
    concurrency: int
    llm_timeout: timedelta
    settings: WorkerSettings
    store: Store
    intake: Intake
    turns: Turns
    outbox: Outbox
    upkeep: Upkeep
    eraser: Eraser
    catch_up: CatchUp
    retention: Retention
    presence: Presence
    sampler: Sampler
    levels: Levels
    clients: Sequence[Closes]

    def close(self) -> None:
        """Stops what runs in the background."""
        self.presence.close()
        for part in (*self.clients, self.store):
            part.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnvironment:
    """What the environment and the cast's files say to a worker, checked."""

    database: DatabaseSettings
    redis: RedisSettings
    twilio: TwilioSettings
    web: WebSettings
    llm: LlmSettings
    turn: TurnSettings
    limits: LimitSettings
    worker: WorkerSettings
    retention: RetentionSettings
    prompts: PromptSettings
    embeddings: EmbeddingSettings
    cast: Cast
    cache: Path | None
    """Where a cast that was learnt is kept."""


def worker_parts(read: WorkerEnvironment, *, concurrency: int) -> WorkerParts:
    """Returns the parts of a worker of which so many turns run at once. Connects in the background.

    Raises: ConfigurationError.
    """
    routing = routing_of(read.prompts, read.embeddings, read.cast, cache=read.cache)
    worker_id = uuid4()
    store = Store(read.database, connections=DATABASE_CONNECTIONS)
    box = inboxes(read.redis.url)
    connections = concurrency + DATABASE_CONNECTIONS
    channel = TwilioChannel(read.twilio, status_url=f"{read.web.public_url}{STATUS_PATH}", connections=connections)
    llm = Failover([OpenAiLlm(p, timeout=read.llm.timeout, connections=connections) for p in read.llm.providers])
    moderator = _moderator(read.llm, connections)
    presence = Presence({TWILIO: channel})
    answerer = Answerer(
        cast=read.cast,
        router=routing.router,
        speech=Speech(
            cast=read.cast, llm=llm, moderator=moderator, presence=presence, call_takes_at_most=read.llm.timeout
        ),
        limits=Limits(store=store, settings=read.limits),
    )
    intake = Intake(store=store, inboxes=box, cast=read.cast, worker_id=worker_id, turn_deadline=read.turn.deadline)
    outbox = Outbox(
        store=store,
        inboxes=box,
        channels={TWILIO: channel},
        worker_id=worker_id,
        settings=read.turn,
        senders=ThreadPoolExecutor(SENDERS, thread_name_prefix="sender"),
        send_every=send_every(read.limits, read.twilio),
    )
    queue, levels = QueueDepth(read.redis.broker), Levels(good_for=GOOD_FOR)
    signs = Store(read.database, connections=SIGN_OF_LIFE_CONNECTIONS)
    return WorkerParts(
        worker_id=worker_id,
        concurrency=concurrency,
        llm_timeout=read.llm.timeout,
        settings=read.worker,
        store=store,
        intake=intake,
        turns=Turns(store=store, answerer=answerer, outbox=outbox, worker_id=worker_id, settings=read.turn),
        outbox=outbox,
        upkeep=Upkeep(store=signs, intake=intake, worker_id=worker_id),
        eraser=Eraser(store=store, inboxes=box),
        catch_up=_catch_up(store, intake, _line(read.twilio, channel), worker_id, read.turn),
        retention=Retention(store=store, settings=read.retention),
        presence=presence,
        sampler=Sampler(store=store, inboxes=box, queue=queue, levels=levels, budget_usd=read.limits.budget_usd),
        levels=levels,
        clients=(outbox, llm, moderator, channel, queue, *_learn_vectors(routing, store)),
    )


def send_every(limits: LimitSettings, twilio: TwilioSettings) -> timedelta | None:
    """Twilio's rates, unless one is given: none at a stand-in, 1 per 3 s for the sandbox number, else 80 per second.

    Source: Twilio docs as of 2026-11.
    """
    if limits.send_per_second is not None:
        return timedelta(seconds=1 / limits.send_per_second)
    if twilio.base_url:
        return None
    return timedelta(seconds=3) if twilio.number == SANDBOX_NUMBER else timedelta(seconds=1 / 80)


@contextmanager
def catch_up(environ: Mapping[str, str]) -> Generator[CatchUp]:
    """What `sisters catch-up` needs: no model, and no address of ours. Raises: ConfigurationError, Unreachable."""
    environment = Environment(environ)
    database, redis = environment.read(DatabaseSettings), environment.read(RedisSettings)
    twilio, turn = environment.read(TwilioSettings), environment.read(TurnSettings)
    prompts = environment.read(PromptSettings)
    environment.check()
    cast = load_cast(prompts.directory)
    store, box = CommandStore(database), inboxes(redis.url)
    worker_id = uuid4()  # holds nothing: what it stores waits for a worker
    intake = Intake(store=store, inboxes=box, cast=cast, worker_id=worker_id, turn_deadline=turn.deadline)
    with closing(store), closing(box), closing(TwilioChannel(twilio, status_url="", connections=1)) as channel:
        knock(redis.url)
        yield _catch_up(store, intake, _line(twilio, channel), worker_id, turn)


def read_worker(environ: Mapping[str, str]) -> WorkerEnvironment:
    """Returns what a worker is made of. The router is made later, with the parts: that takes a second or two.

    Raises: ConfigurationError with everything that is wrong at once, the cast's mistakes with the environment's.
    """
    environment = Environment(environ)
    database, redis, twilio = (
        environment.read(DatabaseSettings),
        environment.read(RedisSettings),
        environment.read(TwilioSettings),
    )
    web, llm = environment.read(WebSettings), environment.read(LlmSettings)
    turn, worker = environment.read(TurnSettings), environment.read(WorkerSettings)
    limits, retention = environment.read(LimitSettings), environment.read(RetentionSettings)
    prompts, embeddings = environment.read(PromptSettings), environment.read(EmbeddingSettings)
    environment.read(TracingSettings)  # told with the rest; `tracing.start` reads it again
    try:
        cast = load_cast(prompts.directory)
        load_phrases(prompts.directory)
    except ConfigurationError as error:
        raise ConfigurationError(sorted({*environment.problems, *error.problems})) from None
    if problem := too_short_a_deadline(llm, turn):
        environment.problems.append(problem)
    environment.check()
    return WorkerEnvironment(
        database=database,
        redis=redis,
        twilio=twilio,
        web=web,
        llm=llm,
        turn=turn,
        limits=limits,
        worker=worker,
        retention=retention,
        prompts=prompts,
        embeddings=embeddings,
        cast=cast,
        cache=cache_directory(environ),
    )


def _learn_vectors(routing: Routing, store: Store) -> Sequence[Closes]:
    """Begins to get the examples' vectors, where embeddings are switched on; returns what has to be closed."""
    if routing.embeddings is None or routing.embedder is None:
        return ()
    vectors = ExampleVectors(routing.embedder, store)
    vectors.load_in_background(routing.embeddings.texts, routing.embeddings.learn)
    return vectors, routing.embedder


def _line(twilio: TwilioSettings, channel: TwilioChannel) -> Line:
    return Line(name=TWILIO, channel=channel, number=twilio.number)


def _catch_up(store: Store, intake: Intake, line: Line, worker_id: UUID, turn: TurnSettings) -> CatchUp:
    latecomers = Latecomers(store=store, intake=intake, line=line, retry_max_age=turn.retry_max_age)
    return CatchUp(store=store, latecomers=latecomers, line=line, worker_id=worker_id)


def _moderator(llm: LlmSettings, connections: int) -> NoModerator | OpenAiModerator:
    if llm.moderation == "off":
        _log.warning("moderation_off")
        return NoModerator()
    return OpenAiModerator(llm.moderation_base_url, llm.moderation_api_key, connections=connections)
