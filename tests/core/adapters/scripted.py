"""A real HTTP server on loopback that answers as a test says: well, late, byte by byte, wrongly, or not at all."""

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


Step = Callable[[socket.socket, Seen], None]
"""Answers one request. To end the connection it closes the socket."""


def reply(status: int, body: Any, **headers: str) -> Step:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in named.items())

    def step(wire: socket.socket, _seen: Seen) -> None:
        wire.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    return step


def cut(after: bytes = b"") -> Step:
    def step(wire: socket.socket, _seen: Seen) -> None:
        wire.sendall(after)
        wire.shutdown(socket.SHUT_RDWR)
        wire.close()

    return step


def trickle(whole: bytes, *, every: float) -> Step:
    def step(wire: socket.socket, _seen: Seen) -> None:
        for position in range(len(whole)):
            wire.sendall(whole[position : position + 1])
            time.sleep(every)

    return step


def hang(seconds: float) -> Step:
    return lambda _wire, _seen: time.sleep(seconds)


def in_turn(*steps: Step) -> Step:
    def all_of_them(wire: socket.socket, seen: Seen) -> None:
        for step in steps:
            step(wire, seen)

    return all_of_them


class ScriptedServer:
    """Works through `script`, one step a request; the last step stays."""

    def __init__(self, *script: Step) -> None:
        self.script = deque(script)
        self.seen: list[Seen] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._wires: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self._wires:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()
        for thread in self._threads:
            thread.join(10)

    def drop_connections(self) -> None:
        """Closes what clients keep open, as a server does after its idle time."""
        for wire in self._wires:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._wires.append(wire)
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(wire, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, wire: socket.socket, number: int) -> None:
        with suppress(OSError, ValueError), wire.makefile("rb") as stream:
            while line := stream.readline():
                method, target, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while (header := stream.readline().decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                seen = Seen(method=method, target=target, headers=headers, body=body, connection=number)
                with self._lock:
                    self.seen.append(seen)
                    step = self.script.popleft() if len(self.script) > 1 else self.script[0]
                step(wire, seen)


def closed_port() -> str:
    """The URL of a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
