from pathlib import Path

import pytest

from core.cast.characters import load_cast
from core.routing.addressed import Addressed
from core.routing.phrases import load_phrases
from core.routing.route import Router
from tests.fakes import shipped_router

PROMPTS = Path(__file__).resolve().parents[3] / "prompts"


@pytest.fixture(scope="session")
def shipped() -> Router:
    return shipped_router()


@pytest.fixture(scope="session")
def addressed() -> Addressed:
    return Addressed(load_cast(PROMPTS), load_phrases(PROMPTS))
