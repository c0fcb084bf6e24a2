"""OpenTelemetry's SDK behind `core.tracing`; imported only where traces are on.

Nobody waits for the collector: ended spans go into a bounded queue (OTEL_BSP_*), from which a thread sends them in
batches, each within OTEL_EXPORTER_OTLP_TIMEOUT; what finds the queue full is dropped, and the SDK logs that it was.
"""

import os
import threading
from collections.abc import Iterable
from contextvars import Token
from datetime import timedelta
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core import __version__
from core.config import TracingSettings
from core.errors import OutsideError
from core.tracing import Attributes, Kind

FLUSH_WITHIN: Final = timedelta(seconds=2)
"""A process that stops waits no longer for a collector that does not answer."""
_HEADER: Final = "traceparent"
_W3C: Final = TraceContextTextMapPropagator()


class Spans:
    """Meets `core.tracing.Tracer`. Made after a fork; not the SDK's global one, so no other library's spans join."""

    def __init__(self, settings: TracingSettings, *, service: str, instance: str) -> None:
        _prepare_environment(settings)
        own = {"service.name": service, "service.version": __version__, "service.instance.id": instance or str(uuid4())}
        given = Resource(own).merge(OTELResourceDetector().detect())  # what OTEL_* says wins
        self._provider = TracerProvider(resource=Resource.create(given.attributes), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("sisters", __version__)

    def span(self, name: str, attributes: Attributes, kind: Kind) -> "Recorded":
        """A step of what runs on this thread."""
        return Recorded(self._tracer.start_span(name, kind=SpanKind[kind.upper()], attributes=attributes))

    def resume(self, name: str, carried: Iterable[str | None], attributes: Attributes, kind: Kind) -> "Recorded":
        """A step of the first trace that is carried, linked to the others; what cannot be read counts as absent."""
        contexts = [context for each in carried if each and _spoken_of(context := _read(each)).is_valid]
        span = self._tracer.start_span(
            name,
            context=contexts[0] if contexts else Context(),
            kind=SpanKind[kind.upper()],
            attributes=attributes,
            links=[Link(_spoken_of(context)) for context in contexts[1:]],
        )
        return Recorded(span)

    def traceparent(self) -> str:
        """The context of what runs on this thread, "" where nothing does."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_HEADER, "")

    def stop(self) -> None:
        """Sends what waits. On a thread, as the SDK itself would wait for half a minute."""
        flush = threading.Thread(target=self._provider.shutdown, name="spans-flush", daemon=True)
        flush.start()
        flush.join(FLUSH_WITHIN.total_seconds())
        if flush.is_alive():
            self._exporter.shutdown()  # tries no more


class Recorded:
    """Meets `core.tracing.Span`."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        self._token = attach(set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            detach(self._token)
        if error is not None:
            self._fail(error)
        self._span.end()

    def set(self, attributes: Attributes) -> None:
        """Says more about the step."""
        self._span.set_attributes(attributes)

    def _fail(self, error: BaseException) -> None:
        """No event and no description: a library's message may repeat what people wrote."""
        self._span.set_status(StatusCode.ERROR)
        if isinstance(error, OutsideError):
            self._span.set_attributes({"error.type": error.reason, "sisters.error.code": error.code})
        else:
            self._span.set_attribute("error.type", f"{type(error).__module__}.{type(error).__qualname__}")


def _prepare_environment(settings: TracingSettings) -> None:
    """The SDK reads the environment by itself: to it an empty variable is a value, and NAME_FILE is unknown."""
    for name in [name for name, value in os.environ.items() if name.startswith("OTEL_") and not value.strip()]:
        del os.environ[name]
    if settings.headers:
        os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = settings.headers


def _read(traceparent: str) -> Context:
    return _W3C.extract({_HEADER: traceparent}, Context())


def _spoken_of(context: Context) -> SpanContext:
    return get_current_span(context).get_span_context()
