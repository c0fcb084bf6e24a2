"""A RabbitMQ of our own from Debian's package."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from deploy.local.child import free_port


class RabbitMq:
    """One broker on a loopback port, in a directory of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self._port = port
        self._environ = os.environ | {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/lib/rabbitmq/bin",
            "HOME": str(directory), "RABBITMQ_NODENAME": f"sisters{port}@localhost", "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            # A name server of its own: it outlives the broker, and is ended below.
            "ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(directory), "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_PID_FILE": str(directory / "pid"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        }  # fmt: skip

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        subprocess.run(["epmd", "-kill"], env=self._environ, stdout=subprocess.DEVNULL, check=True)

    def restart(self) -> None:
        """Stops it and starts it on its data."""
        self._stop()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            ["/usr/lib/rabbitmq/bin/rabbitmq-server"], env=self._environ, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return

    def _stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(30)
