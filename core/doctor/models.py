"""The models: does each answer one tiny question, how fast, and until when does its vendor offer it."""

import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Final

from core.adapters.embeddings import Embedder
from core.adapters.model_list import ends_on
from core.adapters.moderation import OpenAiModerator
from core.adapters.openai import OpenAiLlm
from core.config import EmbeddingSettings, LlmSettings, Provider
from core.doctor.environment import origin
from core.doctor.finding import Findings, told
from core.errors import OutsideError, Permanent, Transient
from core.ports import ChatMessage

AREA: Final = "models"
_WITHIN: Final = timedelta(seconds=20)
_SOON: Final = timedelta(days=90)
_QUESTION: Final = (
    ChatMessage(role="system", text="Answer with the one word OK."),
    ChatMessage(role="user", text="Are you there?"),
)


def check(settings: LlmSettings) -> Findings:
    """Returns how each provider and the moderation answer, within about 30 s each; costs some twenty tokens."""
    findings = Findings(AREA)
    for provider in settings.providers:
        _ask(findings, provider)
    if settings.moderation == "openai":
        with closing(
            OpenAiModerator(settings.moderation_base_url, settings.moderation_api_key, connections=1)
        ) as moderator:
            if moderator.check(["hello"]).checked:
                findings.good("moderation", "answers")
            else:
                findings.risky(
                    "moderation",
                    "does not answer: every text passes unjudged",
                    "check OPENAI_API_KEY and OPENAI_BASE_URL, or set MODERATION=off to say that it is meant",
                )
    return findings


def check_embeddings(settings: EmbeddingSettings) -> Findings:
    """Returns whether the server of embeddings answers."""
    findings = Findings(AREA)
    with closing(Embedder(settings, connections=1)) as embedder:
        try:
            [vector] = embedder.vectors(["hello"], timeout=_WITHIN)
        except OutsideError as error:
            findings.risky(
                "embeddings", f"no answer ({told(error)}): likeness does without", "check EMBEDDINGS_BASE_URL"
            )
        else:
            findings.good("embeddings", f"{settings.model} answers, {len(vector)} numbers a text")
    return findings


def _ask(findings: Findings, provider: Provider) -> None:
    subject = f"{provider.name} ({provider.model})"
    with closing(OpenAiLlm(provider, timeout=_WITHIN, connections=1)) as llm:
        try:
            answer = llm.complete(_QUESTION, deadline=time.monotonic() + _WITHIN.total_seconds())
        except Permanent as error:
            findings.wrong(
                subject, f"refuses us ({told(error)})", "check the key, the model's name and the account's credit"
            )
            return
        except Transient as error:
            findings.broken(subject, f"no answer ({told(error)})", "try again; is base_url right, with /v1?")
            return
    findings.good(subject, f"answers after {answer.took.total_seconds():.1f} s from {origin(provider.base_url)}")
    _weigh_end(findings, subject, ends_on(provider))


def _weigh_end(findings: Findings, subject: str, ends: date | None) -> None:
    if ends is None:
        return
    left = ends - datetime.now(UTC).date()
    if left < _SOON:
        findings.risky(subject, f"its vendor ends it on {ends}", "name a successor in OPENAI_MODEL or LLM_PROVIDERS")
