"""Keeps what goes on after an answer was given: webhooks on their way, reports that are due."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Running tasks; asyncio itself holds them only weakly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Starts it; its result is dropped, its error goes to asyncio's own handler."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Cancels everything that runs."""
        for task in tuple(self._tasks):
            task.cancel()
