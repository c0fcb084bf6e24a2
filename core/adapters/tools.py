"""A choice that the model may make instead of answering, in the form of OpenAI's function tools, read strictly."""

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from core.ports import Choice

_TOOLS: Final = re.compile(r"\btools?\b|\btool_(?:choice|calls?)\b|\bfunction[ _-]call", re.IGNORECASE)


def as_tool(choice: Choice) -> dict[str, object]:
    """Returns the entry of a request's `tools`. Source: OpenAI's API description as of 2026-11."""
    argument = {
        "type": "string",
        "enum": list(choice.options),
        "description": "\n".join(f"{option}: {what}" for option, what in choice.options.items()),
    }
    parameters = {
        "type": "object",
        "properties": {choice.argument: argument},
        "required": [choice.argument],
        "additionalProperties": False,
    }
    function = {"name": choice.name, "description": choice.description, "parameters": parameters}
    return {"type": "function", "function": function}


def chosen_option(tool_calls: object, choice: Choice) -> str | None:
    """Returns the option that the first call names, "" when it names none of them, None when there is no call."""
    if not tool_calls:
        return None
    try:
        function = _calls.validate_python(tool_calls)[0].function
        arguments = function.arguments
        named = _arguments.validate_json(arguments) if isinstance(arguments, str) else arguments
    except ValidationError:
        return ""
    value = named.get(choice.argument) if function.name == choice.name else None
    option = value.strip().casefold() if isinstance(value, str) else ""
    return option if option in choice.options else ""


def speaks_of_tools(text: str) -> bool:
    """Whether a server's complaint is about tools, in whatever words.

    Source: vLLM ("auto" tool choice requires ...), Ollama (does not support tools) and OpenRouter (no endpoints found
    that support tool use) as of 2026-11.
    """
    return _TOOLS.search(text) is not None


class _Function(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    name: str
    arguments: str | dict[str, object]  # an object where a server has read the model's JSON already


class _Call(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    function: _Function


_calls: Final = TypeAdapter(list[_Call])
_arguments: Final = TypeAdapter(dict[str, object])
