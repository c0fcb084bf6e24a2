# ruff: noqa: N999 - the name that gunicorn itself gives to such a file
"""gunicorn for the webhook: `gunicorn --config deploy/gunicorn.conf.py`, configured by the environment alone."""

import os
import shutil
import sys
import tempfile
from typing import Any

several = os.environ.get("WEB_CONCURRENCY", "").strip() not in ("", "1")
own_metrics_dir = None
if several and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    # prometheus_client reads this when it is imported, hence before our own imports.
    own_metrics_dir = tempfile.mkdtemp(prefix="sisters-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = own_metrics_dir

from prometheus_client.multiprocess import mark_process_dead  # noqa: E402  # pyright: ignore[reportUnknownVariableType]

from core import tracing  # noqa: E402
from core.adapters.redis_inbox import DOOR_THREADS  # noqa: E402
from core.errors import ConfigurationError  # noqa: E402
from core.wiring.webhook import webhook_parts  # noqa: E402
from webhook.server_log import JsonLogger  # noqa: E402


def _remove_metrics() -> None:
    if own_metrics_dir is not None:
        shutil.rmtree(own_metrics_dir, ignore_errors=True)


try:
    _web, _, _ = webhook_parts(os.environ)
except ConfigurationError as _error:
    _remove_metrics()
    sys.stderr.write(f"{_error}\n")
    raise SystemExit(2) from None


wsgi_app = "webhook.app:from_environment()"
bind = f"[{_web.host}]:{_web.port}" if ":" in _web.host else f"{_web.host}:{_web.port}"
workers = _web.processes
worker_class = "gthread"
threads = DOOR_THREADS
worker_connections = 1000
backlog = 2048
preload_app = False  # nothing may be published, and no pool opened, before the fork
timeout = 30
graceful_timeout = 10
keepalive = 65  # longer than the proxies in front, so that they close first
limit_request_line = 8190  # Twilio signs the whole query
limit_request_fields = 100
limit_request_field_size = 8190
accesslog = "-" if os.environ.get("ACCESS_LOG", "").strip() == "1" else None
errorlog = "-"
logger_class = JsonLogger
control_socket_disable = True
# PUBLIC_URL says what Twilio called: no header of a proxy is believed, and none that contradicts another is refused.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""


def worker_exit(_server: Any, _worker: Any) -> None:
    """In the process that ends: sends the spans that wait."""
    tracing.stop()


def child_exit(_server: Any, worker: Any) -> None:
    """Takes a dead process's gauges out of /metrics; its counts stay."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Leaves nothing behind."""
    _remove_metrics()
