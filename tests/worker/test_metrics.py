"""The worker's own page."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from core.metrics import HANDED_BACK
from worker.metrics import Server, serve


@pytest.fixture
def server() -> Iterator[Server]:
    server = serve("127.0.0.1", 0, "secret")
    yield server
    server.close()


def get(server: Server, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_near_reader_gets_the_metrics(server: Server) -> None:
    status, text = get(server)
    assert status == 200
    assert f"{next(iter(HANDED_BACK.describe())).name}_total" in text
    assert get(server, "/metrics?x=1")[0] == 200


def test_through_a_proxy_the_token_is_needed_as_at_the_webhook(server: Server) -> None:
    assert get(server, Forwarded="for=1.2.3.4") == (403, "forbidden\n")
    assert get(server, Forwarded="for=1.2.3.4", Authorization="Bearer secret")[0] == 200


def test_there_is_nothing_else(server: Server) -> None:
    assert get(server, "/")[0] == 404
    assert get(server, "/metrics/x")[0] == 404


def test_who_connects_and_says_nothing_holds_up_nobody(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server)[0] == 200


def test_a_request_that_is_none_tells_nothing_to_the_log(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"\x00\xff\r\n\r\n")
        connection.recv(1000)
    get(server, "/x")
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve("127.0.0.1", taken.getsockname()[1], "")


def test_further_workers_of_a_host_take_the_next_free_ports_and_no_more_than_allowed(server: Server) -> None:
    others = [serve("127.0.0.1", server.port, "", further=20) for _ in range(2)]
    try:
        ports = [other.port for other in others]
        assert server.port < ports[0] < ports[1] <= server.port + 20
        assert all(get(other)[0] == 200 for other in others)
        with pytest.raises(OSError, match="in use"):
            serve("127.0.0.1", server.port, "", further=0)
    finally:
        for other in others:
            other.close()


def test_only_a_port_that_is_taken_is_passed_over(server: Server) -> None:
    with pytest.raises(OSError, match="assign"):
        serve("192.0.2.1", server.port, "", further=20)


def test_it_listens_on_the_newer_protocol_too() -> None:
    server = serve("::1", 0, "")
    try:
        with urllib.request.urlopen(f"http://[::1]:{server.port}/metrics", timeout=5) as answer:
            assert answer.status == 200
    finally:
        server.close()
