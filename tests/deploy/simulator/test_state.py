import pytest

from deploy.simulator.postman import Overrides, read_overrides
from deploy.simulator.settings import SettingsError, read_settings
from deploy.simulator.signature import sign
from deploy.simulator.state import Log, Media, Message, new_sid, now, user_id_of
from deploy.simulator.twiml import replies_in

US = "whatsapp:+15550006000"


def message(person: str, body: str = "", media: tuple[Media, ...] = ()) -> Message:
    return Message(
        sid=new_sid("SM"),
        direction="inbound",
        sender=person,
        recipient=US,
        body=body,
        status="received",
        created_at=now(),
        updated_at=now(),
        media=media,
    )


def test_the_log_drops_the_oldest_everywhere_and_keeps_the_rest():
    log = Log(messages_kept=100, media_bytes_kept=1000)
    rows = [message(f"whatsapp:+49170000000{n % 7}", str(n)) for n in range(1000)]
    for row in rows:
        log.add(row)
    kept = [m.body for m in log.thread("")]
    assert 100 <= len(kept) <= 105
    assert kept == [str(n) for n in range(1000 - len(kept), 1000)]
    assert log.find(rows[0].sid) is None
    assert [m.body for m in log.newest_first(sender="whatsapp:+491700000003")] == [
        b for b in reversed(kept) if int(b) % 7 == 3
    ]
    assert [m.body for m in log.newest_first(recipient=US)] == kept[::-1]


def test_a_person_gone_from_the_log_leaves_no_index_behind():
    log = Log(messages_kept=10, media_bytes_kept=1000)
    log.know("whatsapp:+4917000000", "whatsapp:DE.gone")
    log.know("whatsapp:+4917111111", "whatsapp:DE.here")
    log.add(message("whatsapp:+4917000000"))
    for _ in range(20):
        log.add(message("whatsapp:+4917111111"))
    assert log.thread("whatsapp:+4917000000") == []
    assert log.person("whatsapp:DE.gone") == "whatsapp:DE.gone"
    assert log.last_inbound("whatsapp:+4917000000") is None
    assert log.person("whatsapp:DE.here") == "whatsapp:+4917111111"


def test_media_are_bounded_by_their_bytes():
    log = Log(messages_kept=10, media_bytes_kept=100)
    for number in range(10):
        log.keep_media(f"ME{number}", b"x" * 40, "image/png")
    assert [n for n in range(10) if log.media(f"ME{n}")] == [8, 9]


def test_a_user_id_is_made_from_the_number_unless_another_is_known():
    log = Log(messages_kept=10, media_bytes_kept=100)
    number = "whatsapp:+4917000000"
    assert log.user_id(number) == user_id_of(number)
    log.know(number, "whatsapp:DE.abc")
    assert log.user_id(number) == "whatsapp:DE.abc"
    assert log.person("whatsapp:DE.abc") == number


def test_the_signature_is_the_one_of_twilios_documentation():
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    assert sign("12345", "https://example.com/myapp.php?foo=1&bar=2", form) == "L/OH5YylLD5NRKLltdqwSvS0BnU="


def test_without_a_fragment_twilio_tries_again_once_and_only_when_it_could_not_connect():
    url, rules = read_overrides("https://h/p?q=1")
    assert (url, rules) == ("https://h/p?q=1", Overrides())
    assert (rules.retries, rules.policy) == (1, frozenset({"ct"}))


def test_a_fragment_is_cut_off_and_read():
    url, rules = read_overrides("https://h/p?q=1#rc=3&rp=5xx,ct,rt&ct=2000&rt=4000&tt=15000")
    assert url == "https://h/p?q=1"
    assert (rules.retries, rules.policy) == (3, frozenset({"5xx", "ct", "rt"}))
    assert (rules.connect.total_seconds(), rules.read.total_seconds(), rules.total.total_seconds()) == (2, 4, 15)
    assert read_overrides("http://h#rp=all")[1].policy == frozenset({"4xx", "5xx", "ct", "rt"})
    assert read_overrides("http://h#rc=9&rt=99999&ct=x")[1] == Overrides()


def test_twiml_that_is_none_says_nothing():
    assert replies_in("text/html", b"<h1>Internal Server Error</h1>") == []
    assert replies_in("text/xml", b"<Response><Message>") == []
    assert replies_in("", b"") == []


def test_settings_name_everything_that_is_wrong_at_once():
    with pytest.raises(SettingsError) as caught:
        read_settings({"SIMULATOR_PORT": "x", "TWILIO_ACCOUNT_SID": "AC1", "SIMULATOR_WEBHOOK_URL": "h"})
    named = [problem.split()[0] for problem in caught.value.problems]
    assert named == ["SIMULATOR_PORT", "TWILIO_ACCOUNT_SID", "SIMULATOR_WEBHOOK_URL"]


def test_the_webhook_stands_below_the_public_url_with_its_retry_rules():
    settings = read_settings({"PUBLIC_URL": "http://bot:8000/base/", "TWILIO_AUTH_TOKEN": "new,old"})
    assert settings.webhook_url == "http://bot:8000/base/whatsapp#rc=3&rp=5xx,ct,rt&ct=2000&rt=4000&tt=15000"
    assert settings.auth_token == "new"
    assert settings.host == "127.0.0.1"
