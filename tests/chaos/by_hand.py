"""What somebody might do to a finished system by hand, to see whether it would be noticed."""

import base64
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import psycopg

from deploy.local.stack import Stack

_DELETE = b"""
DELETE FROM messages WHERE id = (
    SELECT id FROM messages WHERE direction = 'in' ORDER BY id OFFSET 10 LIMIT 1)
"""


def delete_row(stack: Stack, database_url: str) -> None:
    """Deletes one inbound message. The workers are stopped first: catch-up would bring it back."""
    _stop_workers(stack)
    with psycopg.connect(database_url) as connection:
        assert connection.execute(_DELETE).rowcount == 1


def send_again(stack: Stack, database_url: str) -> None:
    """Sends one delivery a second time, exactly as our worker sent it."""
    del database_url
    _stop_workers(stack)
    message = stack.phone.replies()[10]
    account, token = stack.environ["TWILIO_ACCOUNT_SID"], stack.environ["TWILIO_AUTH_TOKEN"]
    form = {
        "From": message["from"],
        "To": message["to"],
        "Body": message["body"],
        "StatusCallback": message["status_callback"],
    }
    secret = base64.b64encode(f"{account}:{token}".encode()).decode()
    url = f"{stack.phone.url}/2010-04-01/Accounts/{account}/Messages.json"
    request = Request(url, urlencode(form).encode(), {"Authorization": f"Basic {secret}"})
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        assert answer.status == 201


def _stop_workers(stack: Stack) -> None:
    for name in stack.processes.names():
        if name.startswith(("worker", "beat")):
            stack.processes.stop(name)


ACTS: Final[Mapping[str, Callable[[Stack, str], None]]] = {"delete-row": delete_row, "send-again": send_again}
