"""Twilio's Content resources: templates with buttons and lists, and the text that a person sees of them."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from deploy.simulator.state import iso, new_sid, now
from deploy.simulator.twilio_api import not_found, problem
from deploy.simulator.wire import Answer, json_answer

CONTENTS_KEPT: Final = 1_000


class _Content(BaseModel):
    friendly_name: str = ""
    language: str
    variables: dict[str, str] = {}
    types: dict[str, dict[str, Any]]


_variables = TypeAdapter(dict[str, str])


class Contents:
    """The templates that were created."""

    def __init__(self, *, account_sid: str) -> None:
        self._account = account_sid
        self._all: dict[str, dict[str, Any]] = {}

    def clear(self) -> None:
        """Forgets them all."""
        self._all.clear()

    async def create(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`POST /v1/Content`: 201 and the template."""
        del request, fault
        try:
            given = _Content.model_validate_json(body)
        except ValidationError:
            return problem(20001, message="language and types are required")
        sid, at = new_sid("HX"), iso(now())
        url = f"https://content.twilio.com/v1/Content/{sid}"
        self._all[sid] = {
            "sid": sid,
            "account_sid": self._account,
            **given.model_dump(),
            "date_created": at,
            "date_updated": at,
            "url": url,
            "links": {
                "approval_create": f"{url}/ApprovalRequests/whatsapp",
                "approval_fetch": f"{url}/ApprovalRequests",
            },
        }
        while len(self._all) > CONTENTS_KEPT:
            del self._all[next(iter(self._all))]
        return json_answer(self._all[sid], status=201)

    async def fetch(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`GET /v1/Content/{sid}`."""
        del body, fault
        found = self._all.get(request.match_info["sid"])
        return json_answer(found) if found else not_found(request.path)

    def render(self, form: Mapping[str, str]) -> str | int:
        """Returns the text of a template with its variables, or Twilio's code for why not."""
        content = self._all.get(form["ContentSid"])
        if content is None:
            return 21655
        try:
            given = _variables.validate_json(form.get("ContentVariables") or "{}")
        except ValidationError:
            return 21656
        values: dict[str, str] = {**content["variables"], **given}
        types: dict[str, dict[str, Any]] = content["types"]
        body = next((str(t["body"]) for t in types.values() if "body" in t), json.dumps(types))
        return re.sub(r"\{\{(\w+)\}\}", lambda m: values.get(m[1], m[0]), body)
