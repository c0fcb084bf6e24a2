import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

import pytest

from core.adapters.line import Answer, Call, CallError, Unanswered, Unsent
from core.adapters.transport import Transport, retry_after
from tests.core.adapters.scripted import ScriptedServer, closed_port, cut, hang, in_turn, reply, trickle

GOOD = reply(200, {"ok": True})
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + b"x" * 40


def ask(
    transport: Transport,
    url: str,
    *,
    timeout_s: float = 5,
    connect_s: float = 3,
    repeatable: bool = False,
    body: bytes = b"question",
) -> Answer:
    parts = urlsplit(url)
    return transport.call(
        Call(
            method="POST",
            scheme=parts.scheme.encode(),
            host=(parts.hostname or "").encode(),
            port=parts.port or 80,
            target=b"/x",
            headers=[(b"Host", parts.netloc.encode())],
            body=body,
            timeout=timedelta(seconds=timeout_s),
            connect=timedelta(seconds=connect_s),
            repeatable=repeatable,
        )
    )


@pytest.fixture
def transport() -> Iterator[Transport]:
    with closing(Transport(connections=50)) as transport:
        yield transport


@contextmanager
def ends_within(seconds: float) -> Generator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_calls_one_after_another_share_one_connection(transport: Transport) -> None:
    with ScriptedServer(GOOD) as server:
        for _ in range(60):
            assert ask(transport, server.url).status == 200
        assert server.connections == 1
        assert server.seen[0].body == b"question"


def test_calls_at_once_open_a_connection_each_and_keep_them(transport: Transport) -> None:
    with ScriptedServer(in_turn(hang(0.2), GOOD)) as server:
        for _ in range(3):
            threads = [threading.Thread(target=ask, args=(transport, server.url)) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.seen) == 60
        assert server.connections == 20


def test_no_more_idle_connections_are_kept_than_asked_for() -> None:
    with ScriptedServer(in_turn(hang(0.2), GOOD)) as server:
        with closing(Transport(connections=2)) as transport:
            for _ in range(2):
                threads = [threading.Thread(target=ask, args=(transport, server.url)) for _ in range(6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        assert server.connections == 6 + 4


def test_an_answer_that_trickles_ends_at_the_timeout_of_the_whole_call(transport: Transport) -> None:
    head, body = WHOLE[:-40], WHOLE[-40:]
    slow = trickle(body, every=0.2)
    with (
        ScriptedServer(in_turn(lambda wire, _seen: wire.sendall(head), slow)) as server,
        ends_within(1.5),
        pytest.raises(Unanswered, match=r"^timeout$"),
    ):
        ask(transport, server.url, timeout_s=1)


def test_headers_that_trickle_end_at_the_timeout_of_the_whole_call(transport: Transport) -> None:
    with (
        ScriptedServer(trickle(WHOLE, every=0.2)) as server,
        ends_within(1.5),
        pytest.raises(Unanswered, match=r"^timeout$"),
    ):
        ask(transport, server.url, timeout_s=1)


def test_a_byte_just_before_the_timeout_wins_no_more_time(transport: Transport) -> None:
    def step(wire: socket.socket, _seen: object) -> None:
        time.sleep(0.8)
        wire.sendall(WHOLE[:50])
        time.sleep(1)

    with ScriptedServer(step) as server, ends_within(1.3), pytest.raises(Unanswered, match=r"^timeout$"):
        ask(transport, server.url, timeout_s=1)


def test_a_server_that_says_nothing_ends_at_the_timeout(transport: Transport) -> None:
    with ScriptedServer(hang(2)) as server, ends_within(0.8), pytest.raises(Unanswered, match=r"^timeout$"):
        ask(transport, server.url, timeout_s=0.3)


def test_a_refused_connection_is_certainly_unsent(transport: Transport) -> None:
    with pytest.raises(Unsent, match=r"^connect$"):
        ask(transport, closed_port())


def test_a_connection_that_is_not_accepted_in_time_is_certainly_unsent(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]  # they fill the backlog: from then on nobody gets through
        for each in waiting:
            each.settimeout(0)
            each.connect_ex(("127.0.0.1", port))
        with ends_within(1), pytest.raises(Unsent, match=r"^connect_timeout$"):
            ask(transport, f"http://127.0.0.1:{port}", connect_s=0.3)
        for each in waiting:
            each.close()


def test_a_name_that_does_not_resolve_is_certainly_unsent(transport: Transport) -> None:
    with pytest.raises(Unsent, match=r"^connect$"):
        ask(transport, "http://nobody.invalid")


def test_a_timeout_before_the_call_is_certainly_unsent(transport: Transport) -> None:
    with pytest.raises(Unsent, match=r"^timeout$"):
        ask(transport, closed_port(), timeout_s=0)


def test_a_connection_cut_after_the_request_is_unanswered(transport: Transport) -> None:
    with ScriptedServer(cut()) as server, pytest.raises(Unanswered, match=r"^disconnected$"):
        ask(transport, server.url)


def test_an_answer_cut_in_the_middle_is_unanswered(transport: Transport) -> None:
    with ScriptedServer(cut(WHOLE[:-5])) as server, pytest.raises(Unanswered, match=r"^disconnected$"):
        ask(transport, server.url)


def test_an_answer_that_is_no_http_is_unanswered(transport: Transport) -> None:
    with ScriptedServer(cut(b"hello\r\n\r\n")) as server, pytest.raises(Unanswered):
        ask(transport, server.url)


def test_an_endless_answer_is_given_up(transport: Transport) -> None:
    endless = cut(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 9_000_000)
    with ScriptedServer(endless) as server, pytest.raises(Unanswered, match=r"^too_large$"):
        ask(transport, server.url)


def test_a_kept_connection_that_the_server_closed_meanwhile_is_noticed_before_it_is_used(transport: Transport) -> None:
    with ScriptedServer(GOOD) as server:
        ask(transport, server.url)
        server.drop_connections()
        time.sleep(0.05)
        assert ask(transport, server.url).status == 200
        assert server.connections == 2


def test_a_connection_that_idled_too_long_is_not_used_again() -> None:
    with ScriptedServer(GOOD) as server, closing(Transport(connections=5, idle=timedelta(seconds=0.1))) as transport:
        for pause_s in (0, 0, 0.2):
            time.sleep(pause_s)
            ask(transport, server.url)
        assert [seen.connection for seen in server.seen] == [1, 1, 2]


def test_a_request_that_never_left_in_full_is_unsent(transport: Transport) -> None:
    def refuse_to_read(listener: socket.socket) -> None:
        wire, _ = listener.accept()
        time.sleep(0.1)
        wire.close()  # with unread bytes: the client gets a reset

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse_to_read, args=(listener,))
        server.start()
        with pytest.raises(Unsent, match=r"^disconnected$"):
            ask(transport, f"http://127.0.0.1:{listener.getsockname()[1]}", body=b"x" * 30_000_000)
        server.join()


def test_a_repeatable_call_survives_a_kept_connection_that_closes_under_it(transport: Transport) -> None:
    with ScriptedServer(GOOD, cut(), GOOD) as server:
        ask(transport, server.url, repeatable=True)
        assert ask(transport, server.url, repeatable=True).status == 200
        assert [seen.connection for seen in server.seen] == [1, 1, 2]


def test_a_call_that_is_not_repeatable_never_goes_out_twice(transport: Transport) -> None:
    with ScriptedServer(GOOD, cut(), GOOD) as server:
        ask(transport, server.url)
        with pytest.raises(Unanswered, match=r"^disconnected$"):
            ask(transport, server.url)
        assert len(server.seen) == 2


def test_a_repeatable_call_on_a_new_connection_is_not_repeated(transport: Transport) -> None:
    with ScriptedServer(cut()) as server:
        with pytest.raises(Unanswered):
            ask(transport, server.url, repeatable=True)
        assert len(server.seen) == 1


def test_a_connection_after_an_error_is_not_used_again(transport: Transport) -> None:
    with ScriptedServer(hang(0.4), GOOD) as server:
        with pytest.raises(Unanswered):
            ask(transport, server.url, timeout_s=0.2)
        time.sleep(0.4)
        assert ask(transport, server.url).body == b'{"ok": true}'
        assert server.connections == 2


def test_proxies_of_the_environment_are_followed_but_not_for_loopback(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(GOOD) as proxy, ScriptedServer(GOOD) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert ask(transport, "http://api.example.test/").status == 200
        assert ask(transport, server.url).status == 200
        assert [seen.target for seen in proxy.seen] == ["http://api.example.test:80/x"]
        assert [seen.target for seen in server.seen] == ["/x"]


def test_a_proxy_that_refuses_the_tunnel_leaves_the_call_unsent(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(reply(407, {})) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(Unsent, match=r"^proxy$"):
            ask(transport, "https://api.example.test:443")


def test_a_server_that_speaks_no_tls_leaves_the_call_unsent(transport: Transport) -> None:
    with ScriptedServer(GOOD) as server, pytest.raises(Unsent, match=r"^connect"):
        ask(transport, server.url.replace("http:", "https:"), connect_s=0.5)


def test_an_error_says_one_word_and_nothing_of_the_call() -> None:
    assert str(CallError("timeout")) == "timeout"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "1e300"}, 86_400),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_kindly(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == (None if seconds is None else timedelta(seconds=seconds))


def test_retry_after_may_be_a_date() -> None:
    wait = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)})
    assert wait is not None
    assert timedelta(seconds=25) < wait <= timedelta(seconds=30)
