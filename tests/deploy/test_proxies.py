"""Caddy and nginx as they are shipped, with TLS, in front of a real webhook: what passes, and what stays outside."""

import http.client
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from core.adapters.redis_inbox import inboxes, person_key
from core.model import load_inbound
from deploy.local.child import Child, free_port
from deploy.local.redis import Redis
from tests.webhook.posting import PUBLIC_URL, message_form, report_form, sign
from tests.webhook.serving import FORM, ROOT, serving

CADDYFILE = ROOT / "deploy/caddy/Caddyfile"
NGINX = ROOT / "deploy/nginx/sisters.conf"
HOST = PUBLIC_URL.partition("://")[2]
WITHIN = timedelta(seconds=60)


@dataclass
class Proxy:
    port: int
    authority: Path

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> int:
        connection = http.client.HTTPConnection(HOST, timeout=20)
        context = ssl.create_default_context(cafile=str(self.authority))
        plain = socket.create_connection(("127.0.0.1", self.port), 20)
        connection.sock = context.wrap_socket(plain, server_hostname=HOST)
        try:
            sent = iter([body]) if chunked else body or None
            with suppress(BrokenPipeError, ConnectionResetError):  # an answer may come before the last byte went out
                connection.request(method, target, sent, headers or {}, encode_chunked=chunked)
            return connection.getresponse().status
        finally:
            connection.close()

    def post(self, target: str, form: dict[str, str], *, chunked: bool = False, signature: str = "") -> int:
        headers = {"Content-Type": FORM, "X-Twilio-Signature": signature or sign(PUBLIC_URL + target, form)}
        return self.request("POST", target, urlencode(form).encode(), headers, chunked=chunked)

    def answers(self) -> bool:
        try:
            return self.request("GET", "/healthz") == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def webhook_port(redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(redis_server.database_url(0), tmp_path_factory.mktemp("webhook")) as served:
        yield served.port


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("caddy", marks=pytest.mark.debian("caddy")),
        pytest.param("nginx", marks=pytest.mark.debian("nginx", "openssl")),
    ],
)
def proxy(
    request: pytest.FixtureRequest, webhook_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp(request.param)
    port = free_port()
    prepare = {"caddy": _caddy, "nginx": _nginx}[request.param]
    command, authority = prepare(directory, port, webhook_port)
    child = Child(command, log=directory / "log", environ=_environ(directory, webhook_port))
    proxy = Proxy(port, authority)
    try:
        child.wait_until(lambda: authority.exists() and proxy.answers(), within=WITHIN, name=request.param)
        yield proxy
    finally:
        child.stop()


def _environ(directory: Path, webhook_port: int) -> dict[str, str]:
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    return {"PATH": path, "PUBLIC_URL": PUBLIC_URL, "UPSTREAM": f"127.0.0.1:{webhook_port}", "HOME": str(directory)}


def _caddy(directory: Path, port: int, webhook_port: int) -> tuple[list[str], Path]:
    """The shipped file as Caddy itself reads it; only port and authority are the test's, where a real one is asked."""
    adapt = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    adapted = subprocess.run(
        adapt, env=_environ(directory, webhook_port), capture_output=True, check=True, timeout=30
    ).stdout
    config = json.loads(adapted)
    config["admin"] = {"disabled": True}
    config["storage"] = {"module": "file_system", "root": str(directory)}
    config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    config["apps"]["tls"] = {"automation": {"policies": [{"issuers": [{"module": "internal"}]}]}}
    [server] = config["apps"]["http"]["servers"].values()
    server["listen"] = [f"127.0.0.1:{port}"]
    server["automatic_https"] = {"disable_redirects": True}
    (directory / "caddy.json").write_text(json.dumps(config))
    run = ["caddy", "run", "--config", str(directory / "caddy.json")]
    return run, directory / "pki/authorities/local/root.crt"


def _nginx(directory: Path, port: int, webhook_port: int) -> tuple[list[str], Path]:
    key, certificate = directory / "privkey.pem", directory / "fullchain.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run(
        [*make, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=30
    )
    site = NGINX.read_text().replace(f"/etc/letsencrypt/live/{HOST}", str(directory))
    site = site.replace("127.0.0.1:8000", f"127.0.0.1:{webhook_port}")
    site = re.sub(r"^ *listen \[::\].*\n", "", site, flags=re.MULTILINE)
    site = site.replace("listen 80;", f"listen 127.0.0.1:{free_port()};").replace(
        "listen 443", f"listen 127.0.0.1:{port}"
    )
    (directory / "site.conf").write_text(site)
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    as_root = "user root;\n" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(
        f"{as_root}daemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {directory}/site.conf;\n}}\n"
    )
    command = ["nginx", "-e", "stderr", "-c", str(directory / "nginx.conf")]
    test = subprocess.run([*command, "-t"], env=_environ(directory, 0), capture_output=True, timeout=30, check=False)
    assert test.returncode == 0, test.stderr.decode()
    assert b"warn" not in test.stderr, test.stderr.decode()
    return command, certificate


@pytest.mark.debian("caddy")
@pytest.mark.parametrize("site", [PUBLIC_URL, "http://127.0.0.1:8088"])
def test_caddy_finds_its_file_valid_and_well_formed(tmp_path: Path, site: str):
    for command in (["validate", "--adapter", "caddyfile", "--config"], ["fmt"]):
        done = subprocess.run(
            ["caddy", *command, str(CADDYFILE)],
            env=_environ(tmp_path, 8000) | {"PUBLIC_URL": site}, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == CADDYFILE.read_text()


def test_what_twilio_signed_arrives_as_it_was_sent(proxy: Proxy, redis_server: Redis):
    person = f"whatsapp:+1555060{secrets.randbelow(9999):04d}"
    form = message_form(From=person, ExternalUserId=None, Body="¿qué tal? 100% + 🌸\n" + "x" * 40_000)
    assert proxy.post("/whatsapp?a=%3a%20b+c&d=%2F..%2f", form) == 200
    assert proxy.post("/whatsapp/status?delivery=5&e=", report_form()) == 200
    within = inboxes(redis_server.database_url(0))
    [entry] = within.read(person_key(person), limit=9).entries
    within.close()
    assert load_inbound(entry).text == form["Body"]
    assert proxy.post("/whatsapp", form, signature=sign(f"{PUBLIC_URL}/whatsapp?", form)) == 403


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_65_kib_are_refused(proxy: Proxy, *, chunked: bool):
    assert proxy.post("/whatsapp", {"Body": "x" * 65 * 1024}, chunked=chunked) == 413


@pytest.mark.parametrize(
    "target",
    [
        "/metrics", "/metrics?x=/healthz", "//metrics", "/healthz/../metrics", "/whatsapp/../metrics", "/%6detrics",
        "/readyz", "/", "/whatsapp/x", "/healthz/", "/whatsapp/%2e%2e/metrics",
    ],
)  # fmt: skip
def test_nothing_else_is_reachable(proxy: Proxy, target: str):
    assert proxy.request("GET", target) in (400, 403, 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_twilios_method_passes(proxy: Proxy, method: str):
    assert proxy.request(method, "/whatsapp") in (403, 404, 405)
