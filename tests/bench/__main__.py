"""`make bench`: every figure beside its limit, in one run. ARGS: names of parts, --full, --smoke (says little)."""

import json
import logging
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Final

import structlog

from deploy.local.child import StartFailed
from deploy.local.stack import ROOT
from tests.bench import acknowledge, burst, growth, in_flight, overhead, peer, scale, work
from tests.bench.figures import Figure, table
from tests.bench.guard import NotMeasured

OUT: Final = ROOT / ".cache" / "bench"
Measure = Callable[..., Sequence[Figure]]
PARTS: Final[Mapping[str, Measure]] = {
    "acknowledge": acknowledge.measure,
    "work": work.measure,
    "in_flight": in_flight.measure,
    "overhead": overhead.measure,
    "growth": growth.measure,
    "scale": scale.measure,
    "burst": burst.measure,
    "peer": peer.measure,
}


def main(arguments: Sequence[str], *, parts: Mapping[str, Measure] = PARTS, out: Path = OUT) -> int:
    """Returns the exit code: 0 when every goal is reached, 1 when one is missed or a part failed, 2 for wrong usage."""
    flags = {argument for argument in arguments if argument.startswith("--")}
    names = [argument for argument in arguments if argument not in flags] or list(parts)
    if flags - {"--full", "--smoke"} or set(names) - parts.keys():
        sys.stderr.write(f"usage: make bench ARGS='[--full] [--smoke] [{' | '.join(parts)}]...'\n")
        return 2
    met = _machine()
    began = time.monotonic()
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    how = {flag.removeprefix("--"): True for flag in flags}
    for name in names:
        sys.stderr.write(f"{time.monotonic() - began:4.0f} s  {name} ...\n")
        part = parts[name]
        try:
            figures += part(**{flag: value for flag, value in how.items() if flag in signature(part).parameters})
        except Exception as error:  # noqa: BLE001 - minutes of the other parts are not thrown away for any of them
            failed[name] = _reason(error)
    seconds = time.monotonic() - began
    sys.stdout.write(f"{met}; {seconds:.0f} s\n\n{table(figures)}\n")
    if failed:
        sys.stdout.write("\nfailed:\n" + "".join(f"- {name}: {reason}\n" for name, reason in failed.items()))
    if "--smoke" in flags:
        return 1 if failed else 0
    _keep(out, figures, failed, met=met, seconds=seconds)
    missed = [figure for figure in figures if figure.met is False and figure.expected]
    if missed:
        sys.stdout.write("\nmissed:\n" + "".join(f"- {figure.name}\n" for figure in missed))
    return 1 if missed or failed else 0


def _reason(error: Exception) -> str:
    """Why a part has no rows; what is not one of the two kinds that are expected comes with its traceback on stderr."""
    if isinstance(error, NotMeasured | StartFailed):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


def _machine() -> str:
    """Where this runs and what load it meets, in one line; asked before the run adds its own."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    model = next((line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")), "?")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {memory_gb:.0f} GB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, met a load of {load:.1f} at its start"
    )


def _keep(out: Path, figures: Sequence[Figure], failed: Mapping[str, str], *, met: str, seconds: float) -> None:
    """Writes the run to that directory, under its time and as `latest.json`."""
    out.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    run = {
        "at": at.isoformat(timespec="seconds"),
        "machine": met,
        "seconds": round(seconds),
        "figures": [figure.as_json() for figure in figures],
        "failed": dict(failed),
    }
    text = json.dumps(run, indent=1) + "\n"
    for name in (f"{at:%Y%m%dT%H%M%SZ}.json", "latest.json"):
        (out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sys.exit(main(sys.argv[1:]))
