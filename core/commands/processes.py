"""Work spread over all cores, for a command in a terminal: whatever ends the command ends its processes at once.

Not multiprocessing.Pool: interrupted while it hands out a piece that is larger than a pipe, its end waits for ever.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess
from signal import SIG_BLOCK, SIG_UNBLOCK, SIGINT, pthread_sigmask
from typing import Any, TypeVar

import click

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def spread(work: Callable[[_Piece], _Result], pieces: Sequence[_Piece]) -> Generator[_Result, None, None]:
    """Yields the result of each piece as it is done; each is worked on in a process of its own, one a core at a time.

    The processes are forked, so that pieces need not be copied to them: call it before anything starts a thread.
    Raises: click.ClickException when one ended without a result (what it raised, it has printed).
    """
    waiting, running = deque(pieces), dict[Connection, BaseProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                # They inherit that Ctrl-C is held back: it ends this process, and this one them. Ours waits so long.
                try:
                    pthread_sigmask(SIG_BLOCK, {SIGINT})  # in here: what came just before is raised by this very call
                    result, process = _started(work, waiting.popleft())
                    running[result] = process
                finally:
                    pthread_sigmask(SIG_UNBLOCK, {SIGINT})
            for result in wait(list(running)):
                assert isinstance(result, Connection)
                yield _received(result, running[result])
                running.pop(result).join()
                result.close()
    finally:
        for process in running.values():
            process.kill()
        for process in running.values():
            process.join()


def _started(work: Callable[[_Piece], _Result], piece: _Piece) -> tuple[Connection, BaseProcess]:
    ours, its = Pipe(duplex=False)
    assert isinstance(ours, Connection)  # where there is no Windows
    with its:  # held open by it alone: its end is the end of the pipe
        process = get_context("fork").Process(target=_work, args=(work, piece, its), daemon=True)
        process.start()
    return ours, process


def _work(work: Callable[[_Piece], _Result], piece: _Piece, result: Connection) -> None:
    with result:
        result.send(work(piece))


def _received(result: Connection, process: BaseProcess) -> Any:
    try:
        return result.recv()
    except EOFError:
        process.join()
        raise click.ClickException(f"a process ended without a result (exit code {process.exitcode})") from None
