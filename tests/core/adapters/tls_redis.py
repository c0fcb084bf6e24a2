"""A Redis that speaks TLS alone, with a certificate of an authority of our own."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import redis

from deploy.local.child import Child, free_port
from deploy.local.redis import find_program


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRedis:
    port: int
    authority: Path
    stranger: Path
    """An authority that signed nothing here."""

    def url(self, authority: Path | None = None) -> str:
        return f"rediss://:secret@127.0.0.1:{self.port}/0?ssl_ca_certs={authority or self.authority}"


@contextmanager
def tls_redis(directory: Path) -> Generator[TlsRedis]:
    """Needs Debian's redis-server (a wheel's is built without TLS) and openssl."""
    key, asked, certificate = directory / "key.pem", directory / "asked.pem", directory / "cert.pem"
    authorities = [_authority(directory, name) for name in ("ours", "theirs")]
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", asked, "-subj", "/CN=redis")
    names = directory / "names.txt"
    names.write_text("subjectAltName=IP:127.0.0.1\n")
    ca, ca_key = authorities[0]
    _openssl(
        "x509", "-req", "-in", asked, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "1", "-out", certificate,
        "-extfile", names,
    )  # fmt: skip
    port = free_port()
    config = directory / "redis.conf"
    config.write_text(
        f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
        f'tls-ca-cert-file {ca}\ntls-auth-clients no\nrequirepass secret\nappendonly yes\nsave ""\ndir {directory}\n'
    )
    server = Child([find_program(), str(config)], log=directory / "redis.log")
    made = TlsRedis(port=port, authority=ca, stranger=authorities[1][0])
    try:
        server.wait_until(lambda: _answers(made), within=timedelta(seconds=20), name="Redis")
        yield made
    finally:
        server.stop()


def _authority(directory: Path, name: str) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.ca.pem", directory / f"{name}.ca.key"
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key, "-out", certificate,
        "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return certificate, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def _answers(made: TlsRedis) -> bool:
    try:
        with redis.Redis.from_url(made.url()) as client:  # pyright: ignore[reportUnknownMemberType]
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
    except redis.RedisError:
        return False
