"""What the sisters are and do: rules, use cases, and the edge that wires them; entry points live outside."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _version() -> str:
    """The package's version, and the release where a deployment left its id beside us: old code must show."""
    try:
        told = version("sisters")
    except PackageNotFoundError:  # run from a checkout that was never installed
        told = "0"
    try:
        release = (Path(__file__).resolve().parent.parent / "RELEASE").read_text(encoding="utf-8").strip()
    except OSError:
        return told
    return f"{told}+{release}"


__version__ = _version()
