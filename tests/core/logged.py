"""Log lines as a process would write them, with everything that `log.setup` changes put back afterwards."""

import io
import json
import logging
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import structlog

from core import log


class Lines(io.StringIO):
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@contextmanager
def restored() -> Generator[None]:
    """Puts back what `log.setup` changes."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in (*log.QUIET, "")}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(capture=False)
        logging.raiseExceptions = True
        structlog.reset_defaults()


@contextmanager
def logged(process: str = "test", level: str = "info") -> Generator[Lines]:
    with restored():
        stream = Lines()
        log.setup(process, level, stream=stream)
        yield stream
