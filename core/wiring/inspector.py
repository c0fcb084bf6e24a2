"""Makes the parts of `sisters inspect` out of the environment: a store that cannot write, the laboratory of routing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.adapters.model_files import cache_directory, model_of
from core.cast.characters import load_cast
from core.config import DatabaseSettings, Environment, InspectSettings, PromptSettings
from core.errors import ConfigurationError
from core.routing.lab import Lab
from core.routing.phrases import load_phrases
from core.routing.words import Vocabulary
from core.store import Store

THREADS: Final = 8
"""Requests at once; each may read Postgres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectorParts:
    """What the process needs."""

    settings: InspectSettings
    store: Store
    lab: Lab


def check_inspector(environ: Mapping[str, str]) -> InspectSettings:
    """Returns where it listens. Raises: ConfigurationError for everything that is wrong, the cast included."""
    environment = _environment(environ)
    settings, _, prompts = (
        environment.read(InspectSettings),
        environment.read(DatabaseSettings),
        environment.read(PromptSettings),
    )
    problems = list(environment.problems)
    if prompts.directory.is_dir():
        try:
            load_cast(prompts.directory)
            load_phrases(prompts.directory)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(sorted(set(problems)))
    return settings


def inspector_parts(environ: Mapping[str, str] = os.environ) -> InspectorParts:
    """Returns the parts; opens connections. INSPECT_DATABASE_URL, where set, stands for DATABASE_URL.

    Raises: ConfigurationError.
    """
    environment = _environment(environ)
    settings, database, prompts = (
        environment.read(InspectSettings),
        environment.read(DatabaseSettings),
        environment.read(PromptSettings),
    )
    environment.check()
    cast, phrases = load_cast(prompts.directory), load_phrases(prompts.directory)
    model = None
    if cast.examples:
        cache = cache_directory(environ)
        model = model_of(cast, phrases, Vocabulary(cast, phrases), prompts=prompts.directory, cache=cache)
    store = Store(database, connections=THREADS, read_only=True)
    return InspectorParts(settings=settings, store=store, lab=Lab(cast, phrases, model))


def _environment(environ: Mapping[str, str]) -> Environment:
    environment = Environment(environ)
    environment.prefer("INSPECT_DATABASE_URL", instead_of="DATABASE_URL")
    return environment
