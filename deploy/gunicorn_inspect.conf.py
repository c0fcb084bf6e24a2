# ruff: noqa: N999 - named like the other one
"""gunicorn for `sisters inspect`, configured by the environment alone."""

import os
import sys

from core.errors import ConfigurationError
from core.wiring.inspector import THREADS, check_inspector
from webhook.server_log import InspectorLogger

try:
    _settings = check_inspector(os.environ)
except ConfigurationError as _error:
    sys.stderr.write(f"{_error}\n")
    raise SystemExit(2) from None

wsgi_app = "webhook.inspector:from_environment()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = 1
worker_class = "gthread"
threads = THREADS
preload_app = False  # no pool is opened before the fork
timeout = 120  # a cast that has changed is learnt first
graceful_timeout = 5
limit_request_line = 4094
limit_request_fields = 50
accesslog = None
errorlog = "-"
logger_class = InspectorLogger
control_socket_disable = True
