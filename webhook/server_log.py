"""gunicorn's own lines through core/log.py."""

from typing import Any

import structlog
from gunicorn.glogging import Logger

from core import log


class JsonLogger(Logger):
    """With ACCESS_LOG=1 one line a request as well, logger "access"."""

    process = "webhook"

    def setup(self, cfg: Any) -> None:
        """Called in the master before any fork, and again when it reloads."""
        super().setup(cfg)
        log.setup(self.process, cfg.loglevel)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self._access = structlog.stdlib.get_logger("access") if cfg.accesslog else None

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Without the query and the address: whoever calls may put anything there."""
        if self._access is not None:
            self._access.info(
                "request",
                method=req.method,
                path=req.path[:64],
                status=resp.status_code,
                bytes=resp.sent,
                token=environ.get("HTTP_I_TWILIO_IDEMPOTENCY_TOKEN", "")[:64],  # the same in Twilio's retries
                ms=round(request_time.total_seconds() * 1000, 1),
            )


class InspectorLogger(JsonLogger):
    """The same for `sisters inspect`."""

    process = "inspect"
