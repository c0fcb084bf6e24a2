import pytest

from core.addresses import Sentinels, broker, place_of, sentinels_of


def test_an_address_of_sentinels_names_them_and_the_master():
    url = "sentinel://bot:p%40ss%2C@one,two:26380,[::1]:26381/3?master=sisters&sentinel_password=a%26b"
    assert sentinels_of(url) == Sentinels(
        hosts=(("one", 26379), ("two", 26380), ("::1", 26381)),
        master="sisters",
        database=3,
        username="bot",
        password="p@ss,",
        sentinel_password="a&b",
    )


@pytest.mark.parametrize("url", ["redis://h/0", "rediss://h", "amqp://h//", "unix:///run/redis.sock"])
def test_other_addresses_have_none(url: str):
    assert sentinels_of(url) is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sentinel://h/0", "names no master"),
        ("sentinel://h/0?master=", "names no master"),
        ("sentinel:///0?master=m", "host:port"),
        ("sentinel://a;b/0?master=m&master_name=m", "unknown parameter"),
        ("sentinel://a,/0?master=m", "host:port"),
        ("sentinel://a/x?master=m", "database number"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(url: str, what: str):
    with pytest.raises(ValueError, match=what):
        sentinels_of(url)


def test_celery_is_told_each_sentinel_with_the_masters_account():
    told = broker("sentinel://:p%2Fw@one,[::1]:26380/2?master=m&sentinel_password=s")
    assert told.url == "sentinel://:p%2Fw@one:26379/2;sentinel://:p%2Fw@[::1]:26380/2"
    assert told.options == {"master_name": "m", "sentinel_kwargs": {"password": "s"}}
    assert "p%2Fw" not in repr(told)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rediss://h:6380/0", "rediss://h:6380/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_ca_certs=/ca.pem", "rediss://h/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("redis://h/0", "redis://h/0"),
        ("amqp://h//", "amqp://h//"),
    ],
)
def test_under_tls_certificates_are_checked_unless_it_is_said_otherwise(url: str, told: str):
    assert broker(url).url == told


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://u:hush@h:6380/2", "h:6380/2"),
        ("rediss://:hush@h?ssl_cert_reqs=none", "h:6379"),
        ("redis://:hush@[::1]/0", "[::1]:6379/0"),
        ("redis://h:12/hush@other/0", "h:12"),
        ("unix:///run/redis.sock?password=hush", "/run/redis.sock"),
        (
            "sentinel://:hush@one,[::1]:26380/2?master=m&sentinel_password=hush",
            "one:26379,[::1]:26380 (sentinels of m)",
        ),
    ],
)
def test_where_a_redis_is_can_be_told_without_its_password(url: str, place: str):
    assert place_of(url) == place
