"""What our counters rose by while something happened."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from prometheus_client import REGISTRY


def _values(names: tuple[str, ...], *, sums: bool) -> dict[str, float]:
    return {
        sample.name
        + (
            "{" + ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items())) + "}" if sample.labels else ""
        ): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name.startswith(names)
        and sample.name.endswith(("_total", "_count", "_sum") if sums else ("_total", "_count"))
    }


@contextmanager
def counted(*names: str, sums: bool = False) -> Generator[Callable[[], dict[str, float]]]:
    """Gives what can be asked afterwards: each counter of these beginnings that rose, and by how much."""
    before = _values(names or ("sisters_",), sums=sums)
    yield lambda: {
        name: value - before.get(name, 0)
        for name, value in _values(names or ("sisters_",), sums=sums).items()
        if value != before.get(name, 0)
    }
