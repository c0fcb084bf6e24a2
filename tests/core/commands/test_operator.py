"""The operator's commands as typed: exit codes, JSON on stdout, no text and no address unless asked for."""

import json
from collections.abc import Sequence
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from core.errors import Transient
from tests.core.adapters.scripted import ScriptedServer, reply
from tests.core.test_cli import sisters
from tests.fakes import OUR_NUMBER, SOMEBODY, Bot, FakeMessageLog

KEYS = [
    "answered", "merged", "refused", "failed", "too_late", "open", "late", "resent_unseen", "stuck", "out_of_order",
]  # fmt: skip
COMMANDS = (
    ["audit"], ["audit", "--against-provider"], ["timeline", "1"], ["dead", "list"], ["dead", "show", "1"],
    ["dead", "replay", "1"], ["dead", "drop", "1"],
)  # fmt: skip


def environment(bot: Bot, **more: str) -> dict[str, str]:
    return {"DATABASE_URL": bot.database_url, "REDIS_URL": bot.redis_url} | more


def twilio(bot: Bot, url: str) -> dict[str, str]:
    named = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "t", "TWILIO_WHATSAPP_NUMBER": OUR_NUMBER}
    return environment(bot, **named, TWILIO_BASE_URL=url)


def as_twilio_lists(log: FakeMessageLog) -> dict[str, Any]:
    return {
        "messages": [
            {
                "sid": message.provider_id,
                "from": message.sender,
                "to": message.recipient,
                "body": message.body,
                "direction": "inbound" if message.inbound else "outbound-api",
                "status": message.status,
                "error_code": None,
                "date_created": format_datetime(message.created_at - timedelta(seconds=40)),
            }
            for message in (*log.channel.log, *log.came)
            if message.created_at is not None
        ],
        "next_page_uri": None,
    }


def test_an_audit_that_finds_nothing_says_so_and_exits_0(bot: Bot) -> None:
    bot.say("hello")
    done = sisters("audit", environment={"DATABASE_URL": bot.database_url})  # Postgres is all it needs
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert list(document) == KEYS
    assert (document["answered"], document["stuck"], document["out_of_order"]) == (1, [], [])


def test_an_audit_that_finds_something_stuck_exits_1_and_names_it(bot: Bot) -> None:
    bot.slots.places = 0
    message = bot.say("a secret")
    assert sisters("audit", environment=environment(bot)).returncode == 0
    bot.change("UPDATE messages SET stored_at = stored_at - interval '1 hour'")
    done = sisters("audit", "--stuck-after", "30m", environment=environment(bot))
    (stuck,) = json.loads(done.stdout)["stuck"]
    assert (done.returncode, list(stuck)) == (1, ["id", "sid", "phase", "since"])
    assert (stuck["sid"], stuck["phase"]) == (message.provider_id, "stored")
    assert sisters("audit", "--stuck-after", "2h", environment=environment(bot)).returncode == 0


def test_an_audit_against_the_provider_reads_its_log_and_exits_1_when_the_sides_differ(bot: Bot) -> None:
    log = FakeMessageLog(bot.channel)
    log.hears(bot.say("a secret"))
    with ScriptedServer(reply(200, as_twilio_lists(log))) as server:
        done = sisters("audit", "--against-provider", "--since", "2h", environment=twilio(bot, server.url))
        assert (done.returncode, done.stderr) == (0, "")
        assert "DateSent%3E=" in server.seen[0].target
    document = json.loads(done.stdout)
    assert list(document) == [*KEYS, "lost", "doubled", "foreign", "missing"]

    lost = bot.message("a secret")
    log.hears(lost)
    twice = bot.channel.send(bot.channel.sent[0])
    with ScriptedServer(reply(200, as_twilio_lists(log))) as server:
        done = sisters("audit", "--against-provider", environment=twilio(bot, server.url))
    document = json.loads(done.stdout)
    assert (done.returncode, document["lost"], document["doubled"]) == (1, [lost.provider_id], [twice])
    assert "secret" not in done.stdout + done.stderr
    assert SOMEBODY not in done.stdout + done.stderr


def test_a_provider_that_refuses_our_account_is_wrong_configuration(bot: Bot) -> None:
    with ScriptedServer(reply(401, {"code": 20003, "message": "no"})) as server:
        done = sisters("audit", "--against-provider", environment=twilio(bot, server.url))
    assert (done.returncode, done.stdout) == (2, "")
    assert "20003" in done.stderr


def test_a_timeline_is_a_table_or_json_and_hides_texts(bot: Bot) -> None:
    bot.llm.answers = ["Secret as well."]
    message = bot.say("a secret")
    table = sisters("timeline", message.provider_id, environment=environment(bot))
    assert table.returncode == 0
    assert [line.split()[3].lstrip("~") for line in table.stdout.splitlines()][:2] == ["received", "stored"]
    done = sisters("timeline", message.provider_id, "--json", environment=environment(bot))
    assert {"received", "claimed", "accepted"} <= {event["event"] for event in json.loads(done.stdout)}
    for shown in (table.stdout, done.stdout):
        assert "secret" not in shown.lower()
    asked = sisters("timeline", message.provider_id, "--texts", environment=environment(bot))
    assert "a secret" in asked.stdout
    assert "Secret as well." in asked.stdout


def test_an_unknown_id_is_told_in_a_sentence_and_exits_1(bot: Bot) -> None:
    for unknown in ("m99", "SM" + "f" * 32):
        done = sisters("timeline", unknown, environment=environment(bot))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"nothing is known by {unknown}: no message, turn or delivery bears it")


def test_dead_letters_are_listed_shown_replayed_and_dropped(bot: Bot) -> None:
    insert = (
        "INSERT INTO dead_letters (source, person, payload, reason) VALUES ('inbox', 'p', %(payload)s, 'fields []')"
    )
    for _ in range(2):
        bot.change(insert, payload=b'{"text": "a secret"}')
    where = environment(bot)
    lines = sisters("dead", "list", environment=where).stdout.splitlines()
    ids = [line.split("\t")[0] for line in lines]
    assert [line.split("\t")[1] for line in lines] == ["inbox", "inbox"]
    shown = sisters("dead", "show", ids[0], environment=where)
    assert json.loads(shown.stdout)["payload"] == {"text": "<8 characters>"}
    asked = sisters("dead", "show", ids[0], "--texts", environment=where)
    assert json.loads(asked.stdout)["payload"] == '{"text": "a secret"}'
    outcomes: list[Sequence[object]] = []
    for command in ("replay", "replay", "drop"):
        done = sisters("dead", command, ids[0], environment=where)
        outcomes.append((command, done.returncode))
    outcomes.append(("drop", sisters("dead", "drop", ids[1], environment=where).returncode))
    assert outcomes == [("replay", 0), ("replay", 1), ("drop", 1), ("drop", 0)]
    assert bot.inboxes.read("p", limit=10).entries == (b'{"text": "a secret"}',)
    without_redis = where | {"REDIS_URL": "redis://127.0.0.1:1/0"}  # Postgres is all that it needs
    none = sisters("dead", "list", environment=without_redis)
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "no dead letters\n")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_configuration_each_names_what_is_missing_and_exits_2(command: list[str]) -> None:
    done = sisters(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "DATABASE_URL: missing" in done.stderr


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, ["forget", "+49170"], ["catch-up", "--since", "2h"], ["migrate", "--wait", "0"]],
    ids=" ".join,
)
def test_a_postgres_that_is_away_is_told_in_one_line_with_place_and_reason(command: list[str]) -> None:
    twilio = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "t", "TWILIO_WHATSAPP_NUMBER": OUR_NUMBER}
    away = {"DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = sisters(*command, environment=twilio | away)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("DATABASE_URL: Postgres does not answer at 127.0.0.1:1/x (connection refused); ")
    assert "hush" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [["audit", "--against-provider"], ["dead", "replay", "1"], ["forget", "+49170"], ["catch-up", "--since", "2h"]],
    ids=" ".join,
)
def test_a_redis_that_is_away_is_told_in_one_line_by_the_commands_that_need_it(bot: Bot, command: list[str]) -> None:
    away = twilio(bot, "http://127.0.0.1:1") | {"REDIS_URL": "redis://:hush@127.0.0.1:1/0"}
    done = sisters(*command, environment=away)
    [line] = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert line.startswith("REDIS_URL: Redis does not answer at 127.0.0.1:1/0 (connection refused); ")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_without_our_schema_is_told_as_such_and_exits_2(
    empty_database_url: str, redis_url: str, command: list[str], bot: Bot
) -> None:
    with ScriptedServer(reply(200, {"messages": [], "next_page_uri": None})) as server:
        where = twilio(bot, server.url) | {"DATABASE_URL": empty_database_url, "REDIS_URL": redis_url}
        done = sisters(*command, environment=where)
    assert (done.returncode, done.stdout) == (2, "")
    assert "sisters migrate" in done.stderr


def test_nothing_planned_is_taken_for_stuck_at_the_command_line_either(bot: Bot) -> None:
    bot.llm.answers = [Transient("rate", after=timedelta(seconds=50))]
    bot.say("hello")
    done = sisters("audit", "--stuck-after", "0", environment=environment(bot))
    assert (done.returncode, json.loads(done.stdout)["open"]) == (0, 1)
