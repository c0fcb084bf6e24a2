"""Several hosts on one machine: network namespaces on a bridge, which stands in a namespace of its own.

A thread that entered a namespace starts its processes there: each host has one, for all that happens on it.
"""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

_CLONE_NEWNET: Final = 0x40000000
_PREFIX: Final = "sisters"
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Host:
    """One namespace with one address."""

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace: Final = namespace
        self.address: Final = address
        self._thread: Final = ThreadPoolExecutor(
            1, thread_name_prefix=namespace, initializer=_enter, initargs=(namespace,)
        )

    def run(self, call: Callable[_P, _R], *args: _P.args, **more: _P.kwargs) -> _R:
        """Calls it on this host: what it connects to, listens on and starts is there."""
        return self._thread.submit(call, *args, **more).result()

    def close(self) -> None:
        """Ends the thread, and with it whatever it started and did not end."""
        self._thread.shutdown()


class Network:
    """A bridge and its hosts. Everything goes away with the `with` block, also what an earlier, killed test left."""

    def __init__(self, *names: str) -> None:
        self._names: Final = names
        self._switch: Final = f"{_PREFIX}-{os.getpid()}-switch"
        self.hosts: Final[dict[str, Host]] = {}

    def __enter__(self) -> Self:
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._remove()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def cut(self, name: str) -> None:
        """Takes the host's cable out: nothing goes in or out, and nobody is told."""
        _ip("-n", self._switch, "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """Puts it in again."""
        _ip("-n", self._switch, "link", "set", f"to-{name}", "up")

    def _build(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        for number, name in enumerate(self._names, 2):
            namespace, address = f"{_PREFIX}-{os.getpid()}-{name}", f"10.83.0.{number}"
            _ip("netns", "add", namespace)
            cable = ("link", "add", f"to-{name}", "netns", self._switch, "type", "veth")
            _ip(*cable, "peer", "name", "eth0", "netns", namespace)
            _ip("-n", self._switch, "link", "set", f"to-{name}", "master", "bridge", "up")
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", namespace, "link", "set", device, "up")
            self.hosts[name] = Host(namespace, address)

    def _remove(self) -> None:
        for host in self.hosts.values():
            host.close()
        for name in [*(host.namespace for host in self.hosts.values()), self._switch]:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def remove_leftovers() -> None:
    """Removes the namespaces of processes that are gone."""
    for path in Path("/run/netns").glob(f"{_PREFIX}-*"):
        found = re.fullmatch(rf"{_PREFIX}-(\d+)-\w+", path.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _ip("netns", "del", path.name)


def _enter(namespace: str) -> None:
    """Only the calling thread moves."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open() as handle:
        if libc.setns(handle.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def _ip(*arguments: str) -> None:
    program = shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, ["ip", *arguments], done.stdout, done.stderr)
