#!/usr/bin/env python3
"""`sisters` on a server: one of the commands, as the user and with the environment and secrets of the processes.

Installed by deploy.sh as /usr/local/sbin/sisters, for root. It stands for itself: which release serves may change.
"""

import os
import pwd
import sys
from pathlib import Path
from typing import Final, NoReturn

USER: Final = "sisters"
CURRENT: Final = Path("/opt/sisters/current")
SECRETS: Final = Path("/etc/sisters/secrets")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def environment(file: Path, secrets: Path) -> dict[str, str]:
    """Returns what a process is given: the lines of its EnvironmentFile, and each secret by its name.

    Of systemd's format what deploy.sh writes: NAME=value, whole values in quotes, comments. Source: systemd.exec(5).
    """
    found: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, sign, value = line.strip().partition("=")
        if not sign or name[:1] in "#;":
            continue
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        found[name.strip()] = value[1:-1] if quoted else value
    if secrets.is_dir():
        found |= {each.name: each.read_text(encoding="utf-8").strip() for each in secrets.iterdir() if each.is_file()}
    return found


def main(arguments: list[str]) -> NoReturn:
    """Becomes the command; ends with 2 when it cannot."""
    if os.geteuid() != 0:
        sys.exit(_cannot("run it as root, such as with sudo; it goes on as the bot's user"))
    try:
        given = environment(CURRENT / "env", SECRETS)
    except OSError as error:
        sys.exit(_cannot(f"{error.filename}: {error.strerror}; is anything deployed here?"))
    user = pwd.getpwnam(USER)
    os.chdir(CURRENT)
    os.initgroups(USER, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    terminal = {name: os.environ[name] for name in ("LANG", "TERM") if name in os.environ}
    program = str(CURRENT / ".venv/bin/sisters")
    os.execve(program, [program, *arguments], {"PATH": _PATH} | terminal | given)  # noqa: S606 - it is to have no shell


def _cannot(why: str) -> int:
    print(f"sisters: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main(sys.argv[1:])
