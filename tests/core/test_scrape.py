import pytest

from core.scrape import may_read


def reads(peer: str, *, token: str = "", **headers: str) -> bool:
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return may_read(peer=peer, header=lambda name: given.get(name.lower()), token=token)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "::ffff:10.0.0.1", "fd00::1"])
def test_near_peers_read_without_a_token(peer: str) -> None:
    assert reads(peer)
    assert reads(peer, token="secret")


@pytest.mark.parametrize("peer", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "", "unix:"])
def test_far_and_unknown_peers_need_the_token(peer: str) -> None:
    assert not reads(peer)
    assert not reads(peer, Authorization="Bearer ")
    assert not reads(peer, token="secret", Authorization="Bearer wrong")
    assert reads(peer, token="secret", Authorization="Bearer secret")


@pytest.mark.parametrize("name", ["X_Forwarded_For", "Forwarded", "X_Real_IP", "Via"])
def test_whoever_comes_through_a_proxy_is_not_near(name: str) -> None:
    assert not reads("127.0.0.1", **{name: ""})
    assert reads("127.0.0.1", token="secret", Authorization="Bearer secret", **{name: "10.0.0.1"})


def test_a_token_that_no_encoding_carries_is_refused_and_not_a_crash() -> None:
    assert not reads("8.8.8.8", token="secret", Authorization="Bearer \ud83c")
