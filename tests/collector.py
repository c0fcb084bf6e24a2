"""An OTLP/HTTP collector on loopback: keeps what it is sent, decoded and as it came."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One span, its ids as hex."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    events: int
    began_s: float
    """Since the epoch."""
    ended_s: float


@dataclass
class Collector:
    url: str = ""
    spans: list[Seen] = field(default_factory=list[Seen])
    raw: bytes = b""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Seen:
        [span] = self.named(name)
        return span

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        self.raw += body
        self.headers.append(headers)
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(told.resource.attributes)
            self.spans += [_seen(span, resource) for scope in told.scope_spans for span in scope.spans]


def _seen(span: Span, resource: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=[link.trace_id.hex() for link in span.links],
        attributes=_values(span.attributes),
        resource=resource,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        events=len(span.events),
        began_s=span.start_time_unix_nano / 1e9,
        ended_s=span.end_time_unix_nano / 1e9,
    )


def _values(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@contextmanager
def collecting() -> Generator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
