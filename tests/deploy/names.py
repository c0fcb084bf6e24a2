"""Which metrics there are, and which of them a query of Prometheus names."""

import re
from importlib import import_module
from pathlib import Path

from prometheus_client import REGISTRY

import core.sampling

_REGISTER = (
    "core.adapters.embeddings", "core.adapters.failover", "core.adapters.moderation", "core.adapters.wakeups",
    "core.metrics", "webhook.metrics",
)  # fmt: skip
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
_LOOKED_AT = re.compile(r'name=f?"(sisters_\w*(?:\{what\})?\w*)"')


def metrics_that_exist() -> set[str]:
    """As a scrape tells them: what is counted, and what the workers look at now and then."""
    for module in _REGISTER:
        import_module(module)
    counted = {
        f"{family.name}{suffix}"
        for family in REGISTRY.collect()
        if family.name.startswith("sisters_")
        for suffix in _SUFFIXES[family.type]
    }
    source = Path(core.sampling.__file__).read_text(encoding="utf-8")
    looked_at = {
        name.replace("{what}", what) for name in _LOOKED_AT.findall(source) for what in ("turns", "deliveries")
    }
    assert len(looked_at) > 10
    return counted | looked_at


def metrics_in(query: str) -> set[str]:
    """Those of ours."""
    return set(re.findall(r"\bsisters_\w+", query))
