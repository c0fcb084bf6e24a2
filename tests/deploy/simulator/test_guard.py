import json
from base64 import b64encode
from urllib.parse import urlencode

import pytest

from deploy.simulator.settings import SIMULATED_ACCOUNT_SID, SIMULATED_AUTH_TOKEN, SIMULATED_NUMBER
from tests.deploy.simulator.world import World

MESSAGE = json.dumps({"from": "+491700000001", "body": "hi"}).encode()
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PUBLISHED = b64encode(f"{SIMULATED_ACCOUNT_SID}:{SIMULATED_AUTH_TOKEN}".encode()).decode()
MESSAGES = f"/2010-04-01/Accounts/{SIMULATED_ACCOUNT_SID}/Messages.json"
REPLY = urlencode({"To": "whatsapp:+491700000001", "From": SIMULATED_NUMBER, "Body": "not the bot's"}).encode()


def write(world: World, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.raw("POST", "/simulator/inbound", MESSAGE, JSON | named)[0]


def test_the_page_itself_and_programs_may_write(world: World):
    host = world.url.removeprefix("http://")
    assert write(world) == 200
    assert write(world, Origin=world.url, Sec_Fetch_Site="same-origin") == 200
    local = host.replace("127.0.0.1", "localhost")
    assert write(world, Host=local, Origin=f"http://{local}") == 200
    assert world.raw("POST", "/simulator/inbound", MESSAGE, {"Content-Type": "text/plain"})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "inbound"), ("PUT", "faults"), ("DELETE", "state")])
def test_other_pages_may_not(world: World, headers: dict[str, str], method: str, path: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, body = world.raw(method, f"/simulator/{path}", MESSAGE, JSON | named)
    assert status == 403
    assert json.loads(body)["problems"]
    assert world.bot.heard == []


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/simulator/messages", "/simulator/events"])
def test_a_name_that_was_pointed_here_reads_nothing(world: World, path: str):
    assert world.raw("GET", path, headers={"Host": "rebound.example"})[0] == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_could_send_is_refused_from_a_browser(world: World, kind: str):
    headers = {"Content-Type": kind, "Origin": world.url}
    assert world.raw("POST", "/simulator/inbound", MESSAGE, headers)[0] == 415


def test_the_bot_may_call_the_vendors_by_any_name(world: World):
    assert world.raw("GET", MESSAGES, headers={"Host": "twilio.internal"})[0] == 401
    sid = world.inbound(media=[{"content_type": "image/png"}])["sid"]
    (media,) = world.messages()[0]["media"]
    assert sid
    status, headers, _ = world.raw("GET", media["href"], headers={"Host": "twilio.internal"})
    assert (status, headers["x-content-type-options"]) == (200, "nosniff")
    assert headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize("mark", [{"Origin": "null"}, {"Sec-Fetch-Site": "same-origin"}, {"Accept-Language": "en"}])
def test_a_browser_may_not_call_the_vendors_by_a_name_that_was_pointed_here(world: World, mark: dict[str, str]):
    world.inbound(media=[{"content_type": "image/png"}])
    (media,) = world.messages()[0]["media"]
    rebound = mark | {"Host": "rebound.example", "Authorization": f"Basic {PUBLISHED}"}
    assert world.raw("GET", MESSAGES, headers=rebound)[0] == 403
    assert world.raw("POST", MESSAGES, REPLY, FORM | rebound)[0] == 403
    assert world.raw("GET", media["href"], headers=rebound)[0] == 403
    assert len(world.messages()) == 1


def test_a_form_of_another_page_may_not_call_the_vendors(world: World):
    world.inbound()
    authorized = FORM | {"Authorization": f"Basic {PUBLISHED}"}
    sent = authorized | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert world.raw("POST", MESSAGES, REPLY, sent)[0] == 403
    assert world.raw("POST", MESSAGES, REPLY, authorized)[0] == 201


def test_too_large_a_request_is_told_as_json(world: World):
    status, _, body = world.raw("POST", "/simulator/inbound", b"x" * (33 * 1024 * 1024), JSON)
    assert status == 413
    assert json.loads(body)["error"]
