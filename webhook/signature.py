"""Is this request Twilio's? Its signature against the address that Twilio called, whatever a proxy did to it."""

import hmac
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote, urlsplit

from twilio.request_validator import RequestValidator

_SIGNATURE_LENGTH = 28
"""Base64 of a SHA-1. Source: Twilio docs as of 2026-11."""


class _Validator(Protocol):
    """The parts of twilio's validator that are used, with their types."""

    def compute_signature(self, uri: str, params: "Form") -> str: ...

    def validate(self, uri: str, params: "Form", signature: str) -> bool: ...


class Form(dict[str, list[str]]):
    """A posted form: every value of every name, empty ones too, in the order received."""

    def first(self, name: str) -> str:
        """Returns the first value without NUL, which neither Postgres nor a person can use; "" when absent."""
        values = self.get(name)
        return values[0].replace("\0", "") if values else ""

    def getall(self, name: str) -> list[str]:
        """Every value of a name; the validator asks for it."""
        return self[name]


def parse_form(body: bytes) -> Form | None:
    """Returns the form, or None where a part is not UTF-8: no signature of Twilio's can match such a thing.

    The same as urllib's `parse_qsl(body, keep_blank_values=True, errors="strict")` at half its price.
    """
    form = Form()
    try:
        for part in body.decode().split("&"):
            if part:
                name, _, value = part.partition("=")
                form.setdefault(_unquoted(name), []).append(_unquoted(value))
    except UnicodeDecodeError:
        return None
    return form


def _unquoted(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote(text, errors="strict") if "%" in text else text


class Signatures:
    """Validates with every token, so that rotating one leaves no gap."""

    def __init__(self, public_url: str, tokens: Sequence[str]) -> None:
        parts = urlsplit(public_url)
        # A user and password in the address are sent as a header and not signed. Source: Twilio docs as of 2026-11.
        self._origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._public_url = self._origin + parts.path
        self._prefix = f"{parts.path}/" if parts.path else ""
        self._validators: list[_Validator] = [RequestValidator(token) for token in tokens]

    def accept(self, raw_uri: str, form: Form, signature: str | None) -> bool:
        """Whether one of our tokens signed this form for this address.

        `raw_uri` is the request line's target, undecoded: a query or path that was written anew no longer matches.
        Source: Twilio docs as of 2026-11 (HMAC-SHA1 over the URL as configured, then each name and value, sorted).
        """
        if signature is None or len(signature) != _SIGNATURE_LENGTH or not signature.isascii():
            return False
        urls = self._urls(raw_uri)
        # The exact address first, at half the validator's price; the validator then knows the odd ports.
        if any(
            hmac.compare_digest(validator.compute_signature(url, form), signature)
            for url in urls
            for validator in self._validators
        ):
            return True
        try:
            return any(validator.validate(url, form, signature) for url in urls for validator in self._validators)
        except ValueError:  # an address that urllib cannot read
            return False

    def _urls(self, raw_uri: str) -> list[str]:
        """What Twilio may have called: a proxy in front may strip PUBLIC_URL's path, or not."""
        target = raw_uri
        if not target.startswith("/"):  # "POST https://host/path HTTP/1.1"
            _, _, rest = target.partition("://")
            _, slash, path = rest.partition("/")
            target = slash + path
        urls = [self._public_url + target]
        if self._prefix and target.startswith(self._prefix):
            urls.insert(0, self._origin + target)
        return urls
