"""Traces, where OTEL_EXPORTER_OTLP_ENDPOINT is set; else nothing at all.

A trace begins at the webhook and goes on across Redis, rows and workers: its context travels as W3C's `traceparent`.
No text, address, name or secret enters a span: attributes are ids, numbers and words of ours, and an exception is told
by its kind, never by its message, as in the logs. Names are those of OpenTelemetry's semantic conventions where it has
one, else they begin with `sisters.`.
"""

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeAlias

from core.config import Environment, TracingSettings

Attributes: TypeAlias = Mapping[str, str | int | bool]
Kind: TypeAlias = Literal["internal", "server", "client", "consumer"]


class Span(Protocol):
    """One step of a trace, from its `with` to the end of the block; what is raised in there it tells by its kind."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def set(self, attributes: Attributes) -> None:
        """Says more about the step."""
        ...


class Tracer(Protocol):
    """Makes spans; `core.spans` does it with OpenTelemetry's SDK."""

    def span(self, name: str, attributes: Attributes, kind: Kind) -> Span:
        """A step of what runs now."""
        ...

    def resume(self, name: str, carried: Iterable[str | None], attributes: Attributes, kind: Kind) -> Span:
        """A step of the first trace that is carried, linked to the others."""
        ...

    def traceparent(self) -> str:
        """The context of what runs now, or ""."""
        ...

    def stop(self) -> None:
        """Sends what was not sent yet, within a bound."""
        ...


class _Nothing:
    """The span of everything that is not traced: there is one, and it does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def set(self, attributes: Attributes) -> None:
        pass


_NOTHING: Final = _Nothing()
_tracer: Tracer | None = None


def start(service: str, *, instance: str = "") -> None:
    """Traces this process from now on, if the environment says so; spans are sent on a thread of their own.

    To be called after a fork, which would lose the thread. `service` is its name unless OTEL_SERVICE_NAME gives
    another, `instance` what tells it from others of that name. Raises: ConfigurationError.
    """
    global _tracer  # noqa: PLW0603 - one a process, as with metrics
    environment = Environment(os.environ)
    settings = environment.read(TracingSettings)
    environment.check()
    if settings.on:
        from core.spans import Spans  # an optional package, and a third of a second

        _tracer = Spans(settings, service=service, instance=instance)


def stop() -> None:
    """Traces nothing more; what was not sent yet is sent within 2 s, or lost."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.stop()


def span(name: str, attributes: Attributes | None = None, *, kind: Kind = "internal") -> Span:
    """Returns a step of what runs on this thread."""
    return _NOTHING if _tracer is None else _tracer.span(name, attributes or {}, kind)


def resume(
    name: str, carried: Iterable[str | None], attributes: Attributes | None = None, *, kind: Kind = "consumer"
) -> Span:
    """Returns a step of the first trace that a message or a row carries, linked to the others; a new trace without."""
    return _NOTHING if _tracer is None else _tracer.resume(name, carried, attributes or {}, kind)


def traceparent() -> str:
    """Returns the context of what runs on this thread, for a message or a row to carry; "" where nothing is traced."""
    return "" if _tracer is None else _tracer.traceparent()
