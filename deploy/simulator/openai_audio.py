"""Transcriptions: a recording that carries its words tells them, any other one gets a sentence about itself."""

import re
from pathlib import PurePosixPath
from typing import Any, Final

from aiohttp import web

from deploy.simulator.openai_api import invalid, request_id, tokens_in
from deploy.simulator.wire import Answer, json_answer

SPOKEN: Final = re.compile(rb"simulated-words:([^\x00\n]{1,4000})")
"""Bytes inside a recording that say what is spoken in it."""
_FORMATS: Final = frozenset({"flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"})
"""Source: OpenAI docs on transcriptions as of 2026-11."""
_BYTES_PER_SECOND: Final = 4_000


async def transcribe(request: web.Request, body: bytes, fault: str) -> Answer:
    """`POST /v1/audio/transcriptions`: json, verbose_json or text."""
    del fault
    name, audio, fields = _read(request.headers.get("Content-Type", ""), body)
    if not name or "model" not in fields:
        return invalid("'file' and 'model' are required.", param="model" if name else "file")
    if PurePosixPath(name).suffix.lower().lstrip(".") not in _FORMATS:
        return invalid(f"Unrecognized file format. Supported formats: {sorted(_FORMATS)}", param="file")
    found = SPOKEN.search(audio)
    text = found[1].decode("utf-8", errors="replace").strip() if found else _about(audio)
    seconds = round(len(audio) / _BYTES_PER_SECOND, 2)
    match fields.get("response_format", "json"):
        case "json":
            return json_answer({"text": text, "usage": _usage(text, seconds)}, headers=request_id())
        case "verbose_json":
            duration = {"type": "duration", "seconds": seconds}
            answer: dict[str, Any] = {"language": fields.get("language", "english"), "duration": seconds, "text": text}
            return json_answer({**answer, "segments": [], "usage": duration}, headers=request_id())
        case "text":
            return Answer(body=f"{text}\n".encode(), content_type="text/plain", headers=request_id())
        case other:
            return invalid(f"response_format '{other}' is not supported with this model.", param="response_format")


def _about(audio: bytes) -> str:
    return f"This is a simulated transcript of a recording of {len(audio)} bytes."


def _usage(text: str, seconds: float) -> dict[str, Any]:
    heard, written = max(1, int(seconds * 10)), tokens_in(text)
    details = {"text_tokens": 0, "audio_tokens": heard}
    counts = {"input_tokens": heard, "output_tokens": written, "total_tokens": heard + written}
    return {"type": "tokens", "input_token_details": details, **counts}


def _read(content_type: str, body: bytes) -> tuple[str, bytes, dict[str, str]]:
    """Returns the file's name and bytes and the other fields of a multipart body; empty where there are none."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    name, audio, fields = "", b"", dict[str, str]()
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:] if boundary else ():
        head, _, content = part.partition(b"\r\n\r\n")
        field = re.search(rb'[ ;]name="([^"]*)"', head)
        file = re.search(rb'filename="([^"]*)"', head)
        if field and file and field[1] == b"file":
            name, audio = file[1].decode(errors="replace"), content
        elif field:
            fields[field[1].decode(errors="replace")] = content.decode(errors="replace")
    return name, audio, fields
