"""A master with two replicas, watched by three sentinels: real servers on loopback, set up as README wants them."""

import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import redis

from deploy.local.child import Child, free_port
from deploy.local.redis import find_program

PASSWORD = "p@ss,w/rd"
QUOTED = "p%40ss%2Cw%2Frd"
OF_SENTINELS = "watch&men"
MASTER = "sisters"


class Watched:
    """Three servers, any of which may be the master. Without a replica a master refuses to write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ports = [free_port() for _ in range(3)]
        self.sentinel_ports = [free_port() for _ in range(3)]
        self.servers: dict[int, Child] = {}
        self.sentinels: list[Child] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"sentinel://:{QUOTED}@{hosts}/0?master={MASTER}&sentinel_password=watch%26men"

    def start(self) -> None:
        first, *others = self.ports
        self.start_server(first, replica_of=None)
        for port in others:
            self.start_server(port, replica_of=first)
        wait(self._replicates, what="the replicas follow")  # sentinels look for replicas every 10 s only
        for number, port in enumerate(self.sentinel_ports):
            config = self._directory / f"sentinel{number}.conf"
            config.write_text(
                f'bind 127.0.0.1\nport {port}\ndir {self._directory}\nrequirepass "{OF_SENTINELS}"\n'
                f'sentinel sentinel-pass "{OF_SENTINELS}"\n'
                f'sentinel monitor {MASTER} 127.0.0.1 {first} 2\nsentinel auth-pass {MASTER} "{PASSWORD}"\n'
                f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 3000\n"
            )
            self.sentinels.append(self._run([str(config), "--sentinel"], f"sentinel{number}"))
        wait(self._all_know_each_other, what="the sentinels know each other and the replica")

    def start_server(self, port: int, replica_of: int | None) -> None:
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        config = directory / "redis.conf"
        if not config.exists():  # sentinels write into it who the master is now
            config.write_text(
                f'bind 127.0.0.1\nport {port}\ndir {directory}\nrequirepass "{PASSWORD}"\nmasterauth "{PASSWORD}"\n'
                'appendonly yes\nsave ""\nrepl-diskless-sync-delay 0\nmin-replicas-to-write 1\nmin-replicas-max-lag 3\n'
                + (f"replicaof 127.0.0.1 {replica_of}\n" if replica_of else "")
            )
        if port in self.servers:
            self.servers[port].kill()
        self.servers[port] = self._run([str(config)], f"redis-{port}")

    def master(self) -> int:
        """The port of whom two sentinels call the master."""
        told = [self._ask(port, "SENTINEL", "get-master-addr-by-name", MASTER) for port in self.sentinel_ports]
        ports = [int(answer[1]) for answer in told]
        return max(ports, key=ports.count)

    def fail_over(self, by: signal.Signals = signal.SIGKILL) -> int:
        """Ends (or freezes) the master, waits for its successor, and returns the port of the one that failed."""
        failed = self.master()
        self.servers[failed].ask_to_end(by)
        wait(lambda: self.master() != failed, what="another master")
        return failed

    def ask_to_fail_over(self) -> None:
        """Has the sentinels demote a master that is well."""
        before = self.master()
        self._ask(self.sentinel_ports[0], "SENTINEL", "failover", MASTER)
        wait(lambda: self.master() != before, what="another master")

    def stop(self) -> None:
        for child in [*self.sentinels, *self.servers.values()]:
            child.kill()

    def _run(self, arguments: list[str], name: str) -> Child:
        return Child([find_program(), *arguments], log=self._directory / f"{name}.log")

    def _replicates(self) -> bool:
        try:
            with closing(redis.Redis("127.0.0.1", self.ports[0], password=PASSWORD, decode_responses=True)) as client:
                told: Any = client.info("replication")  # pyright: ignore[reportUnknownMemberType]
        except redis.RedisError:
            return False
        return told["min_slaves_good_slaves"] == 2

    def _all_know_each_other(self) -> bool:
        try:
            told = [self._ask(port, "SENTINEL", "master", MASTER) for port in self.sentinel_ports]
        except redis.RedisError:
            return False
        return all(
            (one["num-other-sentinels"], one["num-slaves"], one["flags"]) == ("2", "2", "master") for one in told
        )

    def _ask(self, port: int, *command: str) -> Any:
        with closing(redis.Redis("127.0.0.1", port, password=OF_SENTINELS, decode_responses=True)) as client:
            return client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


@contextmanager
def watched(directory: Path) -> Generator[Watched]:
    servers = Watched(directory)
    with ExitStack() as ending:
        ending.callback(servers.stop)
        servers.start()
        yield servers


def wait(done: Callable[[], bool], *, what: str, within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.05)
