"""Who may read /metrics: one rule for the webhook and for workers."""

import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

_FORWARDED: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


def may_read(*, peer: str, header: Callable[[str], str | None], token: str) -> bool:
    """Whether a request shows the token, or comes straight from loopback or a private network.

    A forwarded request has a near proxy as its peer and anybody behind it; a peer without an address is a proxy.
    """
    given = header("Authorization") or ""
    if token and hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
        return True
    if any(header(name) is not None for name in _FORWARDED):
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_private
