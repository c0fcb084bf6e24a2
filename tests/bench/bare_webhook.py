"""What the webhook is held against: views as one would write them, served by the same gunicorn."""

import os
from collections.abc import Callable

import redis
from flask import Flask, Response, abort, request
from twilio.request_validator import RequestValidator

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


def validating() -> Flask:
    """Validates the signature and answers."""
    return _app(lambda: None)


def writing() -> Flask:
    """The same with one raw write into Redis."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])  # pyright: ignore[reportUnknownMemberType]

    def write() -> None:
        client.xadd("messages", {"sid": request.form["MessageSid"], "body": request.form["Body"]})  # pyright: ignore[reportUnknownMemberType]

    return _app(write)


def _app(act: Callable[[], None]) -> Flask:
    app = Flask(__name__)
    validator = RequestValidator(os.environ["TWILIO_AUTH_TOKEN"])
    url = os.environ["PUBLIC_URL"] + "/whatsapp"

    @app.post("/whatsapp")
    def whatsapp() -> Response:
        signature = request.headers.get("X-Twilio-Signature", "")
        if not validator.validate(url, request.form, signature):  # pyright: ignore[reportUnknownMemberType]
            abort(403)
        act()
        return Response(EMPTY_TWIML, mimetype="text/xml")

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    return app
