"""The webhook: HTTP in, Redis out. What belongs to no single channel stands here; a channel is one blueprint more."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from core import __version__, tracing
from core.config import TwilioSettings, WebSettings
from core.errors import Transient
from core.ports import Door
from core.wiring.webhook import webhook_parts
from webhook import metrics, twilio
from webhook.limits import Refusal
from webhook.signature import Signatures

_RETRY_AFTER_S: Final = 2
_SAME_REFUSAL_EVERY_S: Final = 10.0

_log = structlog.get_logger(__name__)


def create_app(web: WebSettings, twilio_settings: TwilioSettings, door: Door) -> Flask:
    """Returns the application; it reads no environment and opens nothing."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would break the signature
    signatures = Signatures(web.public_url, twilio_settings.auth_tokens)
    app.register_blueprint(twilio.blueprint(twilio_settings, signatures, door))
    app.register_blueprint(metrics.blueprint(web.metrics_token))
    _add_health(app, door)
    _add_errors(app)
    if web.public_path:
        routes = frozenset(rule.rule for rule in app.url_map.iter_rules())
        app.wsgi_app = _PublicPath(app.wsgi_app, unquote(web.public_path), routes)
    return app


def from_environment() -> Flask:
    """What gunicorn serves. Raises: ConfigurationError."""
    tracing.start("sisters-webhook")  # gunicorn has forked: this is one of its processes
    return create_app(*webhook_parts(os.environ))


def _add_health(app: Flask, door: Door) -> None:
    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(alive=True)

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        """Asks Redis only: with Postgres away messages still wait safely in their inboxes."""
        ready = door.ready()
        return jsonify(ready=ready, version=__version__, redis=ready), 200 if ready else 503


def _add_errors(app: Flask) -> None:
    """Every answer that is no acknowledgement: short plain text, counted by reason."""
    told = _Told()

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        metrics.REFUSALS.labels(refusal.reason).inc()
        told.refusal(refusal)
        answer = Response(f"{refusal.reason}\n", refusal.status, mimetype="text/plain")
        if refusal.status != 403:  # noqa: PLR2004 - the rest of the body may still be on its way
            answer.headers["Connection"] = "close"
        return answer

    @app.errorhandler(Transient)
    def unavailable(error: Transient) -> Response:
        metrics.REFUSALS.labels("redis").inc()
        # Twilio's own id of this delivery attempt: the same in its retries.
        _log.error("not_accepted", reason=str(error), token=request.headers.get("I-Twilio-Idempotency-Token", "")[:64])
        return Response("unavailable\n", 503, {"Retry-After": str(_RETRY_AFTER_S)}, mimetype="text/plain")

    @app.errorhandler(HTTPException)
    def plain(error: HTTPException) -> Response:
        code = error.code or 500
        metrics.REFUSALS.labels(error.name.lower().replace(" ", "_")).inc()
        answer = Response(f"{error.name}\n", code, mimetype="text/plain")
        for name, value in error.get_headers():
            if name == "Allow":
                answer.headers[name] = value
        return answer


class _Told:
    """Logs the same refusal once per 10 s: anybody can post to a public address, and the counters count."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def refusal(self, refusal: Refusal) -> None:
        now = time.monotonic()
        if now < self._next.get(refusal.reason, 0.0):
            return
        self._next[refusal.reason] = now + _SAME_REFUSAL_EVERY_S
        hint = "compare PUBLIC_URL and TWILIO_AUTH_TOKEN with Twilio's console" if refusal.reason == "signature" else ""
        _log.warning("refused", reason=refusal.reason, status=refusal.status, **({"hint": hint} if hint else {}))


class _PublicPath:
    """Serves the same routes below PUBLIC_URL's path, for proxies that do not strip it."""

    def __init__(self, app: Callable[..., Iterable[bytes]], prefix: str, routes: frozenset[str]) -> None:
        self._app = app
        # WSGI carries a path's UTF-8 as latin-1. Source: PEP 3333
        self._prefix = prefix.encode().decode("latin-1")
        self._routes = routes

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        rest = path.removeprefix(self._prefix)
        if rest != path and (rest.rstrip("/") or "/") in self._routes:
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._prefix
            environ["PATH_INFO"] = rest
        return self._app(environ, start_response)
