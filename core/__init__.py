"""What the sisters are and do: rules, use cases, and the edge that wires them; entry points live outside."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sisters")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
