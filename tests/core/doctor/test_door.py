"""What Twilio would meet at PUBLIC_URL: our webhook, something else, or nothing."""

import ssl
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.doctor import checkup, door
from core.doctor.finding import Findings, Severity
from tests.core.adapters.scripted import ScriptedServer, closed_port, hang, reply
from tests.core.doctor.test_services import worse
from tests.webhook.posting import RecordingDoor, Twilio, twilio_settings, web_settings
from webhook.app import create_app

UNSIGNED = reply(403, b"unsigned\n")


def only(findings: Findings) -> tuple[str, Severity, str]:
    [found] = findings.found
    return found.subject, found.severity, found.what


def test_a_webhook_of_ours_is_known_by_how_it_refuses():
    with ScriptedServer(UNSIGNED) as server:
        assert worse(door.check(web_settings(f"{server.url}/bot"))) == {}
        [seen] = server.seen
    assert (seen.method, seen.target) == ("POST", "/bot/whatsapp")
    app = create_app(web_settings(), twilio_settings(), kept := RecordingDoor())
    answer = Twilio(app).send("/whatsapp", seen.body, content_type=seen.headers["content-type"])
    assert (answer.status_code, answer.data) == (403, b"unsigned\n")
    assert (kept.messages, kept.reports) == ([], [])


def test_an_account_in_the_address_is_shown_as_twilio_shows_it():
    with ScriptedServer(UNSIGNED) as server:
        door.check(web_settings(server.url.replace("//", "//me:p%40ss@")))
        assert server.seen[0].headers["authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    ("answer", "severity"),
    [
        (reply(502, b""), Severity.BROKEN),
        (reply(404, b"not found"), Severity.BROKEN),
        (reply(200, b"welcome"), Severity.BROKEN),
        (reply(301, b"", Location="https://elsewhere.example"), Severity.BROKEN),
        (reply(403, b"<html>are you human?"), Severity.RISKY),
    ],
)
def test_what_is_not_our_webhook_is_told(answer: Any, severity: Severity):
    with ScriptedServer(answer) as server:
        assert worse(door.check(web_settings(server.url))) == {"webhook": severity}


def test_before_the_first_deploy_nothing_answers_and_that_is_said_kindly():
    findings = door.check(web_settings(closed_port()))
    assert worse(findings) == {"webhook": Severity.BROKEN}
    assert "before the first deploy this is as it should be" in findings.found[0].fix


def test_a_door_that_hangs_is_broken_within_its_bound():
    with ScriptedServer(hang(11)) as server:
        assert worse(door.check(web_settings(server.url))) == {"webhook": Severity.BROKEN}


@pytest.mark.debian("openssl")
@pytest.mark.parametrize(
    ("days", "name", "known", "told"),
    [
        (90, "IP:127.0.0.1", True, ""),
        (-1, "IP:127.0.0.1", True, "certificate has expired"),
        (90, "DNS:elsewhere.example", True, "IP address mismatch"),
        (90, "IP:127.0.0.1", False, "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_twilio_would_not_accept_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, name: str, *, known: bool, told: str
):
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with under_tls(tmp_path, days=days, name=name) as port:
        if known:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        findings = door.check(web_settings(f"https://127.0.0.1:{port}"))
    assert worse(findings) == ({"TLS": Severity.BROKEN} if told else {})
    assert told in findings.found[0].what


@pytest.mark.parametrize(
    ("lives", "left", "severity"),
    [(90, 30, Severity.GOOD), (90, 13, Severity.RISKY), (6, 3, Severity.GOOD), (6, 1, Severity.RISKY)],
)
def test_a_certificate_that_should_have_been_renewed_is_risky(lives: int, left: int, severity: Severity):
    findings, ends = Findings("door"), datetime.now(UTC) + timedelta(days=left)
    door.weigh_life(findings, "bot.example.com:443", ends - timedelta(days=lives), ends)
    assert only(findings)[1] is severity


@pytest.mark.parametrize(
    ("changed", "offline", "asked"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"TWILIO_BASE_URL": "http://127.0.0.1:1"}, False, False),
        ({"PUBLIC_URL": "http://10.0.0.1:1"}, False, False),
    ],
)
def test_the_door_is_asked_where_the_real_twilio_comes_in(changed: dict[str, str], *, offline: bool, asked: bool):
    environ = {
        "PUBLIC_URL": "https://bot.invalid",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "t",
        "TWILIO_WHATSAPP_NUMBER": "whatsapp:+15550001111",
    }
    # Sockets are for loopback only here: what is asked outside cannot be reached, and says so.
    found = checkup.check(environ | changed, offline=offline)
    assert (door.AREA in {finding.area for finding in found}) is asked


@contextmanager
def under_tls(directory: Path, *, days: int, name: str) -> Generator[int]:
    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], cwd=directory, check=True, capture_output=True, timeout=30)

    (directory / "names.txt").write_text(f"subjectAltName={name}\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req", "-x509", *new, "-days", "91", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority",
        "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    openssl("req", *new, "-keyout", "key.pem", "-out", "asked.pem", "-subj", "/CN=bot")
    openssl(
        "x509", "-req", "-in", "asked.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days),
        "-extfile", "names.txt", "-out", "cert.pem",
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    server = _Quiet(("127.0.0.1", 0), _Refuses)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Quiet(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that the other side broke off is what is tried here."""


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"unsigned\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name for it
        pass
