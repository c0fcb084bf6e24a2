import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(**environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.simulator"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_prints_its_port_serves_and_stops_at_once_when_asked():
    with run(SIMULATOR_PORT="0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[4]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{url}/", timeout=5) as answer:
            assert b"simulated" in answer.read()
        faults = urllib.request.Request(f"{url}/simulator/faults", data=b'{"llm":{"hang":1}}', method="PUT")
        urllib.request.urlopen(faults, timeout=5).close()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as hanging:
            hanging.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\r\n"
            )
            time.sleep(0.1)
            _stops_at_once(process)


def _stops_at_once(process: subprocess.Popen[str]) -> None:
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=5)
    assert time.monotonic() - started < 2
    assert (process.returncode, out, err) == (0, "", "")


def test_a_wrong_environment_ends_with_2_and_one_line_a_problem():
    with run(SIMULATOR_PORT="x", TWILIO_WHATSAPP_NUMBER="123") as process:
        _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert [line.split()[0] for line in err.splitlines()] == ["SIMULATOR_PORT", "TWILIO_WHATSAPP_NUMBER"]


def test_it_imports_nothing_of_the_bot():
    code = "import sys, deploy.simulator.server; print([m for m in sys.modules if m.split('.')[0] in %r])"
    names = ("core", "webhook", "worker", "flask", "celery")
    done = subprocess.run([sys.executable, "-c", code % (names,)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
