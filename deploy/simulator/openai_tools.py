"""When the simulated model calls a function instead of answering: a rule that anyone can try, never chance."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from deploy.simulator.state import new_sid

_NAMED: Final = re.compile(r"simulate-hand-over[-=: ]+([^\s.,!?]+)", re.IGNORECASE)
"""Who writes this has the first function called with that name, whether it may be named or not."""
_SOMEBODY_ELSE: Final = re.compile(r"\b(?:some(?:one|body) else|another (?:one )?of you)\b", re.IGNORECASE)
"""Who asks for somebody else has it called with the first name that may be named."""


class Function(BaseModel):
    """A function as a request offers it."""

    model_config = ConfigDict(extra="ignore")
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] = {}


class Tool(BaseModel):
    """One entry of `tools`."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["function"]
    function: Function


def call(tools: Sequence[Tool], tool_choice: object, texts: Sequence[str]) -> Mapping[str, Any] | None:
    """Returns the message's `tool_calls` entry when the person's last text, or the request itself, asks for one."""
    if not tools or tool_choice == "none":
        return None
    function = tools[0].function
    argument, allowed = _first_argument(function)
    last = texts[-1] if texts else ""
    named = _NAMED.search(last)
    if named:
        value = named[1]
    elif _SOMEBODY_ELSE.search(last) or tool_choice not in (None, "auto"):
        value = allowed[0] if allowed else "anything"
    else:
        return None
    arguments = json.dumps({argument: value}, ensure_ascii=False)
    return {"id": new_sid("call_"), "type": "function", "function": {"name": function.name, "arguments": arguments}}


def _first_argument(function: Function) -> tuple[str, list[str]]:
    """Returns the name of its first argument and what may stand there (nothing listed: anything)."""
    properties: dict[str, Any] = function.parameters.get("properties") or {}
    for name, schema in properties.items():
        return name, [str(value) for value in schema.get("enum", [])]
    return "value", []
