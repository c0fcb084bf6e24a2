"""gunicorn's own lines through core/log.py."""

from typing import Any

from gunicorn.glogging import Logger

from core import log


class JsonLogger(Logger):
    """There is no access log unless one is asked for; it would hold ids of people's messages."""

    process = "webhook"

    def setup(self, cfg: Any) -> None:
        """Called in the master before any fork, and again when it reloads."""
        super().setup(cfg)
        log.setup(self.process, cfg.loglevel)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class InspectorLogger(JsonLogger):
    """The same for `sisters inspect`."""

    process = "inspect"
