"""Logs of every process: one JSON object a line on stdout, without texts and without addresses.

Two belts. Exceptions are told by type and place, never by their message or values: psycopg's DETAIL, pydantic's input
and Twilio's sentences hold what people wrote and where they write from. And whatever looks like an address in any
string is masked.

Where the stream is systemd's journal each line begins with its priority, which the journal takes off: `journalctl -p`
then finds errors, and the message is the JSON alone.
"""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import Processor

QUIET: Final = ("twilio.http_client", "openai", "httpx2", "httpcore2", "urllib3", "aiohttp.access")
"""Loggers whose INFO lines repeat requests, or say nothing. Source: twilio 9.13.0 logs its parameters at INFO."""

_FRAMES: Final = 12
_ROOT: Final = str(Path(__file__).resolve().parent.parent) + os.sep
_ADDRESS: Final = re.compile(
    r"(?i:whatsapp(?::|%3A))[^\s\"',;)\]}]*"  # with its scheme: a number or a BSUID
    r"|(?:\+|%2B|%2b)\d{6,15}"  # E.164
    r"|(?<![\w.-])\d{9,15}(?![\w-])"  # the same without its plus (WaId); part of a UUID or of a SID it is not
    r"|(?<!\w)[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{6,128}(?!\w)",  # a bare BSUID
)
_MASK: Final = "[address]"
_UNMASKED: Final = frozenset({"timestamp", "level", "logger", "process"})
_PRIORITIES: Final = (
    (logging.CRITICAL, "<2>"),
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
)
"""From this level on. Source: sd-daemon(3)."""

_Event = MutableMapping[str, Any]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def setup(process: str, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Sends our own and every library's log lines to `stream` (stdout); `process` is told with each line."""

    def identify(_logger: Any, _method: str, event: _Event) -> _Event:
        event["process"] = process
        event["pid"] = os.getpid()  # not bound once: processes fork after this
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        identify,
    ]
    formatter = _Formatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _exceptions_as_places,
            _mask,
            structlog.processors.JSONRenderer(default=_kind, ensure_ascii=False),
        ],
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(_Prioritised(formatter) if _is_journal(handler.stream) else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # what logging prints about its own failures repeats the arguments
    _hook_uncaught()


def as_read(problem: str, stream: TextIO) -> str:
    """Returns a line about what keeps a command from its work, as whoever reads `stream` wants it.

    The words alone; in the journal JSON with the priority of an error, as every line of a process is there.
    """
    if not _is_journal(stream):
        return problem
    now = datetime.now(UTC).isoformat()
    return "<3>" + json.dumps({"event": problem, "level": "error", "logger": "sisters", "timestamp": now})


def _hook_uncaught() -> None:
    """What nobody caught would reach stderr with its message."""
    log = logging.getLogger("uncaught")

    def main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught", exc_info=(kind, error, trace))

    def other_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            log.critical("uncaught", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            log.error("uncaught", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook = main_thread
    threading.excepthook = other_thread
    sys.unraisablehook = unraisable


def _is_journal(stream: TextIO) -> bool:
    """Whether it is the socket that systemd names: a stream that was redirected is not."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(stream.fileno())
    except OSError:  # a stream that is no file
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


class _Prioritised(logging.Formatter):
    """A line as the journal wants it."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next((prefix for level, prefix in _PRIORITIES if record.levelno >= level), "<7>")
        return priority + self._inner.format(record)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Takes exceptions out of a library's line before it becomes text."""

    def format(self, record: logging.LogRecord) -> str:
        if not isinstance(record.msg, dict):  # a dict is an event of our own
            record = logging.makeLogRecord(record.__dict__)
            record.msg, record.args = _without_exceptions(record), ()
        return super().format(record)


def _without_exceptions(record: logging.LogRecord) -> str:
    """The line with each exception's message ("failed: %s") replaced by its type."""
    args, error = record.args, _error_of(record)
    if isinstance(args, tuple):
        args = tuple(_type_of(arg) if isinstance(arg, BaseException) else arg for arg in args)
    elif isinstance(args, dict) and "exc" in args:
        # Celery's lines about tasks. Source: celery 5.7.0, celery/app/trace.py: `exc` is a repr, `traceback` a text.
        args = {**args, "exc": _type_of(error), "traceback": "", "args": "", "kwargs": ""}
    line = _told(record.msg, args)
    if error is not None and str(error).strip():
        line = line.replace(repr(error), _type_of(error)).replace(str(error), _type_of(error))
    return line


def _told(message: object, args: Any) -> str:
    try:
        return str(message) % args if args else str(message)
    except (TypeError, ValueError, KeyError):
        return str(message)


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if isinstance(record.exc_info, tuple) else None


def _type_of(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__module__}.{type(error).__qualname__}"


def _exceptions_as_places(_logger: Any, _method: str, event: _Event) -> _Event:
    """`exc_info` becomes `error`: the types from the outermost to the cause, and the innermost frames of the first."""
    event.pop("stack_info", None)
    info: object = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = cast("_ExcInfo", info)[1] if isinstance(info, tuple) else info
    if not isinstance(error, BaseException):
        return event
    event["error"] = {"types": _chain(error), "frames": _frames(error.__traceback__)}
    return event


def _chain(error: BaseException) -> list[str]:
    found: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        found.append(_type_of(current))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return found


def _frames(trace: TracebackType | None) -> list[str]:
    found: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{code.co_filename.removeprefix(_ROOT)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return found[-_FRAMES:]


def _kind(value: object) -> str:
    """What JSON cannot carry is told by its kind: its repr may hold anything."""
    return type(value).__name__


def _mask(_logger: Any, _method: str, event: _Event) -> _Event:
    for key, value in event.items():
        if key not in _UNMASKED:
            event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    match value:
        case str():
            return _ADDRESS.sub(_MASK, value)
        case dict():
            return {_masked(key): _masked(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list() | tuple() | set() | frozenset():
            return [_masked(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
        case BaseException():
            return _type_of(value)
        case _:
            return value
