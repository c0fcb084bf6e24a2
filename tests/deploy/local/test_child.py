import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.local.child import Child, StartFailed, free_port, is_free

_POLITE = "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)"
_STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
_PARENT_OF_ONE = (
    "import subprocess,sys,time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
)
_SUPERVISOR = """
import sys, time
from pathlib import Path
from deploy.local.child import Child
child = Child(["sleep", "60"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(60)
"""


def _python(code: str, log: Path) -> Child:
    return Child([sys.executable, "-c", code], log=log)


def _wait_for(log: Path, text: str = "\n") -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if log.exists() and text in log.read_text():
            return log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{text!r} did not appear in {log.name}")


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def _ends(pid: int) -> bool:
    end = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _alive(pid)


def test_stop_asks_with_sigterm_and_returns_the_exit_code(logs: Path):
    child = _python(
        "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)",
        logs / "a.log",
    )
    _wait_for(child.log, "up")
    assert child.stop() == 7
    assert not child.running


def test_who_does_not_listen_is_killed_after_the_grace(logs: Path):
    child = _python(_STUBBORN, logs / "a.log")
    _wait_for(child.log, "up")
    started = time.monotonic()
    assert child.stop(grace=timedelta(seconds=0.3)) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - started < 5


def test_kill_takes_the_children_of_the_child_with_it(logs: Path):
    child = _python(_PARENT_OF_ONE, logs / "a.log")
    grandchild = int(_wait_for(child.log))
    child.kill()
    assert _ends(grandchild)


def test_stop_leaves_no_children_of_the_child_behind(logs: Path):
    child = _python(_PARENT_OF_ONE, logs / "a.log")
    grandchild = int(_wait_for(child.log))
    child.stop()
    assert _ends(grandchild)


def test_a_child_ends_when_its_parent_is_killed(logs: Path):
    parent = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, str(logs / "a.log")], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _ends(pid)


def test_a_child_that_ends_before_it_is_ready_is_named_with_the_end_of_its_log(logs: Path):
    child = _python("import sys; print('no configuration'); sys.exit(2)", logs / "a.log")
    with pytest.raises(StartFailed, match=r"(?s)webhook ended with exit code 2.*no configuration"):
        child.wait_until(lambda: False, within=timedelta(seconds=20), name="webhook")


def test_waiting_is_bounded(logs: Path):
    child = _python("import time; time.sleep(60)", logs / "a.log")
    with pytest.raises(StartFailed, match="not ready after 0 s"):
        child.wait_until(lambda: False, within=timedelta(seconds=0.2), name="webhook")
    child.kill()


def test_a_command_that_does_not_exist_is_said_in_the_log(logs: Path):
    child = Child(["/does/not/exist"], log=logs / "a.log")
    with pytest.raises(StartFailed, match="/does/not/exist: No such file"):
        child.wait_until(lambda: False, within=timedelta(seconds=20), name="it")


def test_no_port_is_given_to_two_servers_that_are_yet_to_start():
    given = [free_port() for _ in range(300)]
    assert len(set(given)) == len(given)


def test_a_port_that_is_listened_on_is_not_free():
    import socket

    port = free_port()
    assert is_free(port)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert not is_free(port)
