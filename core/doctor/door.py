"""The door: does our webhook answer where Twilio calls, under a certificate that Twilio accepts."""

import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import httpx2

from core.adapters.line import CONNECT, Answer, Call, CallError
from core.adapters.transport import Transport, proxy_of
from core.adapters.twilio import MESSAGE_PATH
from core.config import WebSettings
from core.doctor.finding import Findings
from core.errors import reason_of

AREA: Final = "door"
_SUBJECT: Final = "webhook"
_TIMEOUT: Final = timedelta(seconds=10)
_PATH: Final = MESSAGE_PATH.partition("#")[0]
_OURS: Final = b"unsigned"
"""With what our webhook refuses a post that nobody signed: it tells it from all else that may answer at an address."""
_ENDS_SOON: Final = timedelta(days=14)
_FIRST: Final = "start it, and Caddy, nginx or ngrok before it (before the first deploy this is as it should be)"
_CALLED: Final = "PUBLIC_URL and its DNS must name the machine that Twilio is to call"


def check(web: WebSettings) -> Findings:
    """Returns whether PUBLIC_URL leads to our webhook, within about 15 s.

    It posts what nobody signed where Twilio posts messages, for a proxy may let nothing else through: the webhook
    refuses it and keeps nothing.
    """
    findings, address = Findings(AREA), urlsplit(web.public_url)
    call = _call(address)
    try:
        if address.scheme == "https" and proxy_of(call) is None:
            _weigh_certificate(findings, call)
        with closing(Transport(connections=1)) as transport:
            answer = transport.call(call)
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or ""
        findings.broken(
            "TLS",
            f"no valid certificate at {_place(call)} ({reason_of(error, why)}): Twilio does not call it",
            "is the name right, does port 80 answer? See the log of what ends TLS there (caddy, certbot, cert-manager)",
        )
    except (OSError, CallError) as error:
        said = error.reason if isinstance(error, CallError) else error.strerror or ""
        findings.broken(
            _SUBJECT,
            f"nothing answers at {_place(call)} from here ({reason_of(error, said)})",
            f"{_FIRST}; {_CALLED}; where this network has no way back in to itself, ask from another one",
        )
    else:
        _weigh_answer(findings, answer, call)
    return findings


def _call(address: SplitResult) -> Call:
    host = (address.hostname or "").encode("idna")
    headers = [
        (b"Host", address.netloc.rpartition("@")[2].encode("idna")),
        (b"Content-Type", b"application/x-www-form-urlencoded"),
    ]
    if address.username is not None:  # Twilio sends it so, too
        account = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers.append((b"Authorization", b"Basic " + b64encode(account.encode())))
    return Call(
        method="POST",
        scheme=address.scheme.encode(),
        host=host,
        port=address.port or (443 if address.scheme == "https" else 80),
        target=f"{address.path}{_PATH}".encode(),
        headers=headers,
        body=b"from=doctor",  # some proxies want a length
        timeout=_TIMEOUT,
        repeatable=True,
    )


def _place(call: Call) -> str:
    return f"{call.host.decode()}:{call.port}"


def _weigh_certificate(findings: Findings, call: Call) -> None:
    """Raises: OSError, of which ssl.SSLError is one."""
    host = call.host.decode()
    context = httpx2.create_ssl_context()
    with (
        socket.create_connection((host, call.port), timeout=CONNECT.total_seconds()) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        certificate = secured.getpeercert() or {}
    begins, ends = (_moment(certificate, name) for name in ("notBefore", "notAfter"))
    weigh_life(findings, _place(call), begins, ends)


def weigh_life(findings: Findings, place: str, begins: datetime, ends: datetime) -> None:
    """Says whether a certificate of this life should have been renewed by now."""
    left = ends - datetime.now(UTC)
    # Some live for a few days only and are renewed at a third.
    if left < min(_ENDS_SOON, (ends - begins) / 3):
        findings.risky(
            "TLS",
            f"the certificate of {place} ends on {ends.date().isoformat()}, and nothing renewed it yet",
            "look at the log of what renews it (caddy, certbot, cert-manager)",
        )
    else:
        findings.good("TLS", f"the certificate is valid until {ends.date().isoformat()}")


def _moment(certificate: Mapping[str, Any], name: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate[name]), UTC)


def _weigh_answer(findings: Findings, answer: Answer, call: Call) -> None:
    where = f"{_place(call)}{call.target.decode()}"
    if answer.status == HTTPStatus.FORBIDDEN and answer.body.strip() == _OURS:
        findings.good(_SUBJECT, f"answers at {where}")
    elif answer.status == HTTPStatus.FORBIDDEN:
        findings.risky(
            _SUBJECT,
            f"something before it refuses what nobody signed at {where}, perhaps Twilio too",
            "let every POST through to the webhook, which checks signatures itself",
        )
    elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        findings.broken(
            _SUBJECT,
            f"{answer.status} at {where}: what stands before the webhook does not reach it",
            "start the webhook (before the first deploy this is as it should be), then look at the proxy's log",
        )
    else:
        findings.broken(
            _SUBJECT, f"{answer.status} at {where}: that is not our webhook", f"{_CALLED}, with the path to the webhook"
        )
