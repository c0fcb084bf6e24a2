"""`sisters inspect`: timelines, cast and routing as JSON, for whoever holds the token; it reads and never writes."""

import hmac
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from threading import Lock
from typing import Annotated, Any, Final, TypeVar

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException

from core.cast.characters import Character, Topics, topics_of
from core.cast.files import TopicsTable
from core.config import InspectSettings
from core.errors import NOT_MIGRATED, Transient
from core.model import TWILIO
from core.operations.timeline import story
from core.routing.decision import Decision, Evidence
from core.routing.lab import NONE, Change, Judged, Lab, Line, tally
from core.store import Store
from core.wiring.inspector import inspector_parts

LARGEST_REQUEST: Final = 1024 * 1024
_LABS_KEPT: Final = 4
"""Edited casts that stay compiled; each takes about a second and 20 MB."""
_WRONG_SHOWN: Final = 200
_NOTE: Final = (
    "likeness was learnt with the words in the files: it takes edited ones into account, and learns them at the next "
    "start"
)

_Text = Annotated[str, Field(max_length=4_000)]
_Topics = dict[str, dict[str, TopicsTable]]
_Edits = Mapping[str, Mapping[str, Topics]]
_Model = TypeVar("_Model", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Line(_Body):
    text: _Text
    current: str | None = None
    state: Annotated[str, Field(max_length=2_000)] = ""
    idle_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None

    def line(self) -> Line:
        idle = None if self.idle_s is None else timedelta(seconds=self.idle_s)
        return Line(text=self.text, current=self.current, state=self.state, idle=idle)


class _Route(_Body):
    lines: Annotated[list[_Line], Field(max_length=500)]
    topics: _Topics = {}
    changes: bool = True


class _Labelled(_Body):
    text: _Text
    label: str


class _Evaluate(_Body):
    lines: Annotated[list[_Labelled], Field(max_length=2_000)]
    topics: _Topics = {}


class Wrong(Exception):
    """A request that cannot be served; one sentence a problem, the key first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def create_app(settings: InspectSettings, store: Store, lab: Lab) -> Flask:
    """Returns the application; it reads no environment and opens nothing."""
    app = Flask(__name__, static_folder=None)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    labs = _Labs(lab)
    _add_errors(app)
    _add_door(app, settings.token)

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(alive=True)

    @app.get("/timeline/<path:name>")
    def timeline(name: str) -> Response:
        found = story(store, name, channels=(TWILIO,), texts=True)
        if found is None:
            raise Unknown
        return jsonify({"id": name, **found.as_json()})

    @app.get("/cast")
    def whole_cast() -> Response:
        return jsonify(_cast_json(lab))

    @app.post("/route")
    def route() -> Response:
        asked = _read(_Route)
        used = labs.edited(_edits(lab, asked.topics))
        results = [_routed(used, each, changes=asked.changes) for each in asked.lines]
        return jsonify(results=results, edited=sorted(asked.topics), note=_NOTE if asked.topics else "")

    @app.post("/evaluate")
    def evaluate() -> Response:
        asked = _read(_Evaluate)
        known = (*lab.cast.characters, NONE)
        _check(
            f"lines.{place}.label: unknown, known here: {', '.join(known)}"
            for place, each in enumerate(asked.lines)
            if each.label not in known
        )
        judged = labs.edited(_edits(lab, asked.topics)).judge([(each.text, each.label) for each in asked.lines])
        wrong = [_wrong(each) for each in judged if not each.right]
        return jsonify({**tally(judged, tuple(lab.cast.characters)), "wrong": wrong[:_WRONG_SHOWN]})

    return app


def from_environment() -> Flask:
    """What gunicorn serves. Raises: ConfigurationError."""
    parts = inspector_parts(os.environ)
    return create_app(parts.settings, parts.store, parts.lab)


class Unknown(Exception):
    """Nothing bears the id."""


def _add_door(app: Flask, token: str) -> None:
    expected = f"Bearer {token}".encode()

    @app.before_request
    def only_with_the_token() -> tuple[Response, int, Mapping[str, str]] | None:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if request.path == "/healthz" or hmac.compare_digest(given, expected):
            return None
        return _problem(["Authorization: should be Bearer INSPECT_TOKEN"]), 401, {"WWW-Authenticate": "Bearer"}

    @app.after_request
    def keep_to_yourself(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _add_errors(app: Flask) -> None:
    @app.errorhandler(Wrong)
    def wrong(error: Wrong) -> tuple[Response, int]:
        return _problem(error.problems), 400

    @app.errorhandler(Unknown)
    def unknown(_: Unknown) -> tuple[Response, int]:
        return _problem(["id: no message, turn or delivery bears it; it may not be stored yet, or be erased"]), 404

    @app.errorhandler(Transient)
    def unavailable(error: Transient) -> tuple[Response, int]:
        migrate = "DATABASE_URL: the database lacks this release's schema; run sisters migrate"
        return _problem([migrate if error.reason == NOT_MIGRATED else "Postgres does not answer"]), 503

    @app.errorhandler(HTTPException)
    def plain(error: HTTPException) -> tuple[Response, int]:
        return _problem([error.name.lower()]), error.code or 500


def _problem(problems: list[str]) -> Response:
    return jsonify(error="; ".join(problems), problems=problems)


def _check(problems: Iterable[str]) -> None:
    if found := list(problems)[:20]:
        raise Wrong(found)


def _read(model: type[_Model]) -> _Model:
    if request.mimetype != "application/json":
        raise Wrong(["Content-Type: must be application/json"])
    try:
        return model.model_validate_json(request.get_data())
    except (ValidationError, UnicodeEncodeError) as error:
        if not isinstance(error, ValidationError):
            raise Wrong(["not valid Unicode"]) from None
        details = error.errors(include_url=False, include_input=False, include_context=False)
        raise Wrong([f"{'.'.join(map(str, d['loc'])) or 'body'}: {d['msg']}" for d in details[:20]]) from None


def _edits(lab: Lab, topics: _Topics) -> _Edits:
    """Returns the edited words as the cast would have them. Raises: Wrong."""
    known, languages = lab.cast.characters, lab.cast.languages
    _check(f"topics.{each}: unknown character, known here: {', '.join(known)}" for each in topics if each not in known)
    _check(
        f"topics.{each}.{tag}: unknown language, known here: {', '.join(languages)}"
        for each, tables in topics.items()
        for tag in tables
        if tag not in languages
    )
    return {each: {tag: topics_of(table) for tag, table in tables.items()} for each, tables in topics.items()}


class _Labs:
    """The cast as it is, and the latest edited ones; they are compiled one at a time."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._compiling = Lock()
        self._compiled: dict[str, Lab] = {}

    def edited(self, edits: _Edits) -> Lab:
        if not edits:
            return self._lab
        key = repr(sorted((each, sorted(tables.items())) for each, tables in edits.items()))
        with self._compiling:
            lab = self._compiled.pop(key, None) or self._lab.edited(edits)
            self._compiled[key] = lab
            if len(self._compiled) > _LABS_KEPT:
                del self._compiled[next(iter(self._compiled))]
        return lab


def _cast_json(lab: Lab) -> dict[str, Any]:
    whole = lab.cast
    return {
        "default": whole.default.id,
        "family": whole.family,
        "languages": list(whole.languages),
        "characters": [_character_json(each) for each in whole.characters.values()],
    }


def _character_json(character: Character) -> dict[str, Any]:
    return {
        "id": character.id,
        "name": character.name,
        "emoji": character.emoji,
        "default": character.default,
        "summary": character.summary,
        "aliases": list(character.aliases),
        "topics_file": f"{character.id}.topics.toml",
        "topics": {
            tag: {"keywords": list(topics.keywords), "triggers": list(topics.triggers)}
            for tag, topics in character.topics.items()
        },
    }


def _routed(lab: Lab, asked: _Line, *, changes: bool) -> dict[str, Any]:
    line = asked.line()
    decision = lab.route(line)
    tried = [_change_json(each) for each in lab.changes(line, decision)] if changes else []
    return {"text": asked.text, **_decision_json(decision), "changes": tried}


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "character": decision.character,
        "characters": list(decision.characters),
        "tier": decision.tier,
        "confidence": decision.confidence,
        "scores": dict(decision.scores),
        "margins": dict(decision.margins),
        "evidence": list(map(_evidence_json, decision.evidence)),
        "why": decision.why,
        "asked": [
            {
                "tier": each.tier,
                "characters": list(each.characters),
                "sure": each.sure,
                "confidence": each.confidence,
                "scores": dict(each.scores),
                "evidence": list(map(_evidence_json, each.evidence)),
                "why": each.why,
            }
            for each in decision.asked
        ],
        "switched": decision.switched,
        "state": decision.state,
    }


def _evidence_json(evidence: Evidence) -> dict[str, Any]:
    return {"term": evidence.term, "character": evidence.character, "points": evidence.points}


def _change_json(change: Change) -> dict[str, Any]:
    shown: dict[str, Any] = {"change": change.change, "character": change.character, "tier": change.tier}
    match change.change:
        case "remove" | "remove_all":
            return shown | {"terms": list(change.terms)}
        case "add":
            return shown | {"to": change.to, "points": change.points}
        case "current":
            return shown | {"to": change.to}


def _wrong(judged: Judged) -> dict[str, Any]:
    decision = judged.decision
    return {
        "line": judged.number,
        "text": judged.text,
        "label": judged.label,
        "character": decision.character,
        "tier": decision.tier,
        "confidence": decision.confidence,
        "why": decision.why,
    }
