"""Becomes another program that ends when its parent ends: `launch.py PARENT_PID UID GID COMMAND...`.

A program of its own and no `preexec_fn`: that one may deadlock where the parent has threads. It imports nothing of
ours, because it runs with `-I -S`, and it works before it gives up root, because the account may be unable to read us.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, uid: int, gid: int, command: list[str]) -> None:
    """Replaces this process by `command`; uid -1 keeps the account."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":  # elsewhere only the parent's own clean-up ends its children
        # After the change of account, which clears it. It survives exec.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)  # the parent ended before we asked to be told
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the parent's own
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
