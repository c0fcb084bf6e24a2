"""Makes the router out of the cast's files; apart from the other wiring because `sisters route` has to start fast."""

import os
from collections.abc import Mapping

from core.adapters.model_files import cache_directory, model_of
from core.characters import Cast, load_cast
from core.config import PromptSettings
from core.routing.likeness import Likeness
from core.routing.phrases import load_phrases
from core.routing.route import Router, Tier
from core.routing.words import Vocabulary


def router_of(prompts: PromptSettings, cast: Cast | None = None, environ: Mapping[str, str] = os.environ) -> Router:
    """Returns the router compiled for the cast in that directory; a cast that has changed is learnt first.

    Raises: ConfigurationError naming file and key.
    """
    cast = cast or load_cast(prompts.directory)
    phrases = load_phrases(prompts.directory)
    vocabulary = Vocabulary(cast, phrases)
    tiers: list[Tier] = []
    if cast.examples:
        model = model_of(cast, phrases, vocabulary, prompts=prompts.directory, cache=cache_directory(environ))
        tiers.append(Likeness(cast, phrases, model, vocabulary))
    return Router(cast, phrases, more=tiers, vocabulary=vocabulary)
