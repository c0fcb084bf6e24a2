"""Makes the router out of the cast's files; apart from the other wiring because `sisters route` has to start fast."""

from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from core.adapters.model_files import cache_directory, model_of
from core.cast.characters import Cast, load_cast
from core.config import DatabaseSettings, EmbeddingSettings, Environment, PromptSettings
from core.errors import OutsideError
from core.routing.embeddings import Embeddings
from core.routing.likeness import Likeness
from core.routing.phrases import load_phrases
from core.routing.route import Router, Tier
from core.routing.words import Vocabulary

if TYPE_CHECKING:  # loaded where embeddings are switched on
    from core.adapters.embeddings import Embedder

_CONNECTIONS: Final = 16
"""Kept to the server of embeddings: few messages need it."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The router; and, where embeddings are switched on, its tier, which has to be taught, and whom it asks."""

    router: Router
    embeddings: Embeddings | None = None
    embedder: "Embedder | None" = None


def routing_of(
    prompts: PromptSettings, asked: EmbeddingSettings, cast: Cast | None = None, *, cache: Path | None
) -> Routing:
    """Returns the router compiled for the cast in that directory; a cast that has changed is learnt first.

    What was learnt is kept in `cache`, where it is not None.

    Raises: ConfigurationError naming file and key.
    """
    cast = cast or load_cast(prompts.directory)
    phrases = load_phrases(prompts.directory)
    vocabulary = Vocabulary(cast, phrases)
    if not cast.examples:
        return Routing(router=Router(cast, phrases, vocabulary=vocabulary))
    model = model_of(cast, phrases, vocabulary, prompts=prompts.directory, cache=cache)
    likeness = Likeness(cast, phrases, model, vocabulary)
    tiers: list[Tier] = [likeness]
    if not asked.base_url:
        return Routing(router=Router(cast, phrases, more=tiers, vocabulary=vocabulary))
    from core.adapters.embeddings import Embedder

    embedder = Embedder(asked, connections=_CONNECTIONS)
    embeddings = Embeddings(cast, phrases, likeness, embed=embedder.of_message)
    router = Router(cast, phrases, more=[*tiers, embeddings], vocabulary=vocabulary)
    return Routing(router=router, embeddings=embeddings, embedder=embedder)


@contextmanager
def ready_router(environ: Mapping[str, str]) -> Generator[Router]:
    """The router of PROMPTS_DIR. Where embeddings are switched on this waits for the examples' vectors.

    These are kept in Postgres where there is one; without the server the router does without embeddings.
    Raises: ConfigurationError.
    """
    environment = Environment(environ)
    prompts, asked = environment.read(PromptSettings), environment.read(EmbeddingSettings)
    environment.check()
    routing = routing_of(prompts, asked, cache=cache_directory(environ))
    if routing.embeddings is None or routing.embedder is None:
        yield routing.router
        return
    with closing(routing.embedder):
        _teach(routing.embeddings, routing.embedder, environ)
        yield routing.router


def _teach(embeddings: Embeddings, embedder: "Embedder", environ: Mapping[str, str]) -> None:
    from core.store import Store
    from core.vectors import ExampleVectors

    environment = Environment(environ)
    database = environment.read(DatabaseSettings)
    try:
        if environment.problems:  # no database: they are asked for each time
            embeddings.learn(ExampleVectors(embedder, None).load(embeddings.texts))
        else:
            with closing(Store(database, connections=1)) as store:
                embeddings.learn(ExampleVectors(embedder, store).load(embeddings.texts))
    except OutsideError as error:
        _log.warning("example_vectors_missing", reason=error.reason, code=error.code)
