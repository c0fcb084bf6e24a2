"""Fresh directories for servers; what a killed run left behind goes when the next one starts."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_OWNER: Final = "owner"


def fresh_directory(name: str, parent: Path) -> Path:
    """Returns a new private directory under `parent`; removes those of the same name whose process is gone."""
    prefix = f"sisters-{name}-"
    for old in parent.glob(f"{prefix}*"):
        if _is_abandoned(old):
            shutil.rmtree(old, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    (directory / _OWNER).write_text(f"{os.getpid()} {_started(os.getpid())}", encoding="ascii")
    return directory


def _is_abandoned(directory: Path) -> bool:
    """False also for what is not ours to judge: without our note, or not readable."""
    with suppress(OSError, ValueError):
        pid, started = (directory / _OWNER).read_text(encoding="ascii").split(" ")
        return not directory.is_symlink() and _started(int(pid)) != started
    return False


def _started(pid: int) -> str:
    """When that process began, as the kernel counts: a number is given to another process after a while."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)  # no /proc here: then only whether there is such a process
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "running"
