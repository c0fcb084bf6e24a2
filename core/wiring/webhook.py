"""Makes the parts of the webhook out of the environment; knows the concrete classes."""

from collections.abc import Mapping

from core.adapters import redis_inbox
from core.config import Environment, RedisSettings, TracingSettings, TwilioSettings, WebSettings
from core.ports import Door


def webhook_parts(environ: Mapping[str, str]) -> tuple[WebSettings, TwilioSettings, Door]:
    """Everything that the webhook needs. Opens no connection: it may run before a fork.

    Raises: ConfigurationError.
    """
    environment = Environment(environ)
    web, twilio, where = (
        environment.read(WebSettings),
        environment.read(TwilioSettings),
        environment.read(RedisSettings),
    )
    environment.read(TracingSettings)  # told with the rest; `tracing.start` reads it in each process
    environment.check()
    return web, twilio, redis_inbox.door(where.url, where.broker)
