"""The webhook's own counters, and who may read them."""

import os

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector  # pyright: ignore[reportUnknownVariableType]

from core.scrape import may_read

MESSAGES = Counter("sisters_webhook_messages", "Messages that stand in an inbox")
REPORTS = Counter("sisters_webhook_reports", "Status reports that stand on the list")
REFUSALS = Counter("sisters_webhook_refusals", "Requests that enqueued nothing", ["reason"])
for _reason in ("redis", "signature"):
    REFUSALS.labels(_reason)  # told as 0 before the first, which is a rise then and wakes whom it should
ACK_SECONDS = Histogram(
    "sisters_webhook_ack_seconds",
    "From the first byte of a message's body to its acknowledgement",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)


def blueprint(token: str) -> Blueprint:
    """`GET /metrics`, for whoever shows the token, and for direct callers from loopback and private networks."""
    pages = Blueprint("metrics", __name__)

    @pages.get("/metrics")
    def metrics() -> Response:
        peer = request.environ.get("REMOTE_ADDR", "")
        if not may_read(peer=peer, header=request.headers.get, token=token):
            REFUSALS.labels("metrics_forbidden").inc()
            return Response("forbidden\n", 403, mimetype="text/plain")
        return Response(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)

    return pages


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry
