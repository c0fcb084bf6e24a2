"""Moderations: flags trigger words and a few plain cries for help, so that every test knows what to expect."""

import hashlib
import re
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.simulator.faults import Faults
from deploy.simulator.openai_api import invalid, request_id
from deploy.simulator.wire import Answer, json_answer

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""Source: OpenAI docs on omni-moderation as of 2026-11."""
_TRIGGERS: Final = {
    **{f"simulate-{category.replace('/', '-')}": (category,) for category in CATEGORIES},
    "simulate-flag": ("harassment",),
    "simulate-self-harm": ("self-harm", "self-harm/intent"),
    # Whoever tries the bot without a key tries this as well; the real model knows countless ways to say it.
    **dict.fromkeys(
        (
            "kill myself",
            "killing myself",
            "end my life",
            "suicidal",
            "want to die",
            "hurt myself",
            "quiero morir",
            "suicidarme",
            "matarme",
            "quero morrer",
            "me matar",
            "mich umbringen",
            "nicht mehr leben",
            "bunuh diri",
            "ingin mati",
            "marna chahta",
            "marna chahti",
            "khudkushi",
            "死にたい",
            "自杀",
            "自殺",
            "不想活",
        ),
        ("self-harm", "self-harm/intent"),
    ),
}
_ON_IMAGES: Final = frozenset(
    {"self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "violence", "violence/graphic"}
)
_WORD: Final = re.compile("|".join(re.escape(t) for t in sorted(_TRIGGERS, key=len, reverse=True)), re.IGNORECASE)


class _ImageUrl(BaseModel):
    url: str


class _Input(BaseModel):
    type: str
    text: str = ""
    image_url: _ImageUrl | None = None


class ModerationRequest(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="ignore")
    input: str | list[str] | list[_Input]
    model: str = "omni-moderation-latest"


class Moderations:
    """The moderation endpoint."""

    def __init__(self, *, faults: Faults) -> None:
        self._faults = faults

    async def create(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`POST /v1/moderations`: one result a text; parts of one input are judged together."""
        del request, fault
        try:
            asked = ModerationRequest.model_validate_json(body)
        except ValidationError:
            return invalid("Invalid value for 'input'.", param="input")
        forced = self._forced()
        results = [_result(text, image=image, forced=forced) for text, image in _texts(asked.input)]
        digest = hashlib.sha256(body).hexdigest()[:24]
        return json_answer({"id": f"modr-{digest}", "model": asked.model, "results": results}, headers=request_id())

    def _forced(self) -> tuple[str, ...]:
        return (self._faults.document.moderation.flag_category,) if self._faults.take_flag() else ()


def _texts(given: str | list[str] | list[_Input]) -> list[tuple[str, bool]]:
    """Returns each text to be judged, and whether an image goes with it."""
    if isinstance(given, str):
        return [(given, False)]
    plain = [each for each in given if isinstance(each, str)]
    if plain or not given:
        return [(text, False) for text in plain]
    parts = [each for each in given if isinstance(each, _Input)]
    return [(" ".join(part.text for part in parts), any(part.image_url for part in parts))]


def _result(text: str, *, image: bool, forced: tuple[str, ...]) -> dict[str, Any]:
    flagged = set(forced)
    for word in _WORD.findall(text):
        flagged.update(_TRIGGERS[word.lower()])
    return {
        "flagged": bool(flagged),
        "categories": {category: category in flagged for category in CATEGORIES},
        "category_scores": {category: 0.97 if category in flagged else 0.0001 for category in CATEGORIES},
        "category_applied_input_types": {
            category: ["text", "image"] if image and category in _ON_IMAGES else ["text"] for category in CATEGORIES
        },
    }
