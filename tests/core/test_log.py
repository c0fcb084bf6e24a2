import json
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from celery import Celery

from core import log
from tests.core.logged import Lines, logged, restored
from tests.fakes import Bot

NUMBER = "whatsapp:+4915112345678"
BSUID = "US.13491208655302741918"


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as stream:
        yield stream


def test_a_line_is_one_json_object_with_process_and_pid(lines: Lines):
    structlog.get_logger("ours").info("stored", message_id=7, names=["a", "b"])
    logging.getLogger("theirs").warning("connected to %s\nand %d", "x", 5)
    ours, theirs = lines.told()
    assert ours | {"timestamp": ""} == {
        "event": "stored", "message_id": 7, "names": ["a", "b"], "level": "info", "logger": "ours",
        "process": "test", "pid": os.getpid(), "timestamp": "",
    }  # fmt: skip
    assert (theirs["event"], theirs["level"]) == ("connected to x\nand 5", "warning")


def test_bound_ids_stand_with_every_line(lines: Lines):
    with structlog.contextvars.bound_contextvars(turn=3):
        structlog.get_logger().info("a")
        logging.getLogger("theirs").error("b")
    assert [line["turn"] for line in lines.told()] == [3, 3]


def fail(secret: str) -> None:
    local = secret * 2
    raise ValueError(f"cannot store {local}")


def test_an_exception_is_told_by_type_and_place_only(lines: Lines):
    try:
        try:
            fail("my secret")
        except ValueError as error:
            raise psycopg.errors.UniqueViolation(f"DETAIL: Key (address)=({NUMBER}) exists") from error
    except psycopg.Error:
        structlog.get_logger().exception("not_stored", message_id=7)
        logging.getLogger("theirs").exception("not stored")
    assert "secret" not in lines.getvalue()
    assert "DETAIL" not in lines.getvalue()
    for line in lines.told():
        assert line["error"]["types"] == ["psycopg.errors.UniqueViolation", "builtins.ValueError"]
        assert line["error"]["frames"][-1].endswith("test_an_exception_is_told_by_type_and_place_only")
        assert line["error"]["frames"][-1].startswith("tests/core/test_log.py:")


def test_an_exception_given_as_an_argument_is_told_by_its_type(lines: Lines):
    error = ValueError("my secret")
    logging.getLogger("theirs").error("failed: %s", error)
    logging.getLogger("theirs").error("failed: %r and %s", error, "this")
    structlog.get_logger().error("failed", reason=error, list_of=[error])
    try:
        raise error
    except ValueError:
        logging.getLogger("theirs").exception("failed: " + str(error) + repr(error))  # noqa: G003
    assert "secret" not in lines.getvalue()
    assert lines.told()[0]["event"] == "failed: builtins.ValueError"


def test_a_failed_celery_task_is_told_without_what_it_said(lines: Lines):
    app = Celery("test", broker="memory://", set_as_current=False)

    @app.task(name="failing")
    def failing(text: str) -> None:
        raise ValueError(f"cannot send {text}")

    failing.apply(args=("my secret",))
    [line] = [line for line in lines.told() if line["level"] == "error"]
    assert "secret" not in lines.getvalue()
    assert "failing" in line["event"]
    assert line["error"]["types"] == ["builtins.ValueError"]


@pytest.mark.parametrize(
    "address",
    [NUMBER, "whatsapp%3A%2B4915112345678", "+4915112345678", "%2B4915112345678", "4915112345678", BSUID,
     f"whatsapp:{BSUID}", "whatsapp:DE.ENT.13491208655302741918", "DE.ENT.abc123XYZ", "whatsapp:DE.a1"],
)  # fmt: skip
def test_what_looks_like_an_address_is_masked(lines: Lines, address: str):
    person = address.removeprefix("whatsapp").lstrip(":%3A2B+")
    structlog.get_logger().info(f"to {address}, then", to=address, deep={"to": [address], address: (address,)})
    logging.getLogger("theirs").info("To=%s&Body=x", address)
    logging.getLogger("theirs").info({"to": address})
    assert person not in lines.getvalue()
    assert lines.told()[0]["to"] == "[address]"


@pytest.mark.parametrize(
    "identifier",
    ["SM" + "1" * 32, "0d1f77a4-1234-4321-9999-123456789012", "12345678", "2026-11-22T17:53:00.123456Z",
     "127.0.0.1:55123", "b2" + "0123456789" * 3, "core/store.py:120 insert",
     "sisters.wake", "redis.exceptions.TimeoutError"],
)  # fmt: skip
def test_ids_and_places_stay_readable(lines: Lines, identifier: str):
    structlog.get_logger().info("seen", what=identifier)
    assert lines.told()[0]["what"] == identifier


def test_what_json_cannot_carry_is_told_by_its_kind(lines: Lines):
    class Person:
        def __repr__(self) -> str:
            return "my secret"

    structlog.get_logger().info("seen", who=Person(), raw=b"my secret")
    assert (lines.told()[0]["who"], lines.told()[0]["raw"]) == ("Person", "bytes")


def test_libraries_that_log_requests_are_quiet(lines: Lines):
    for name in log.QUIET:
        logging.getLogger(name).info("POST with my secret")
    assert lines.getvalue() == ""


def test_the_level_holds(lines: Lines):
    structlog.get_logger().debug("no")
    logging.getLogger("theirs").debug("no")
    assert lines.getvalue() == ""


def test_what_nobody_caught_is_told_the_same_way(lines: Lines, capfd: pytest.CaptureFixture[str]):
    thread = threading.Thread(target=fail, args=("my secret",))
    thread.start()
    thread.join()
    try:
        fail("my secret")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    assert [line["error"]["types"] for line in lines.told()] == [["builtins.ValueError"]] * 2
    assert "secret" not in lines.getvalue() + "".join(capfd.readouterr())


def test_a_broken_log_call_prints_no_arguments(lines: Lines, capfd: pytest.CaptureFixture[str]):
    logging.getLogger("theirs").error("%d people", "my secret")
    assert lines.told()[0]["event"] == "%d people"
    assert "secret" not in "".join(capfd.readouterr())


def test_warnings_are_lines_too(lines: Lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"about {NUMBER}", stacklevel=1)
    assert "[address]" in lines.told()[0]["event"]


def test_the_words_that_decided_who_answers_stand_in_no_line(bot: Bot):
    with logged("worker", "debug") as lines:
        bot.say("Do you know a song about a guitar?")
    (turn,) = bot.rows("SELECT decision FROM turns")
    assert any(each["term"] == "guitar" for each in turn["decision"]["evidence"])
    assert "sent" in [line["event"] for line in lines.told()]
    assert "guitar" not in lines.getvalue()


def test_the_journal_gets_a_priority_before_each_line_and_nobody_else(monkeypatch: pytest.MonkeyPatch):
    theirs, ours = socket.socketpair()
    with theirs, ours, ours.makefile("w", encoding="utf-8") as stream, theirs.makefile(encoding="utf-8") as read:
        found = os.fstat(ours.fileno())
        for journal, prefixes in ((f"{found.st_dev}:{found.st_ino}", ["<3>", "<4>", "<6>"]), ("1:1", ["", "", ""])):
            monkeypatch.setenv("JOURNAL_STREAM", journal)
            with restored():
                log.setup("test", stream=stream)
                logging.getLogger("theirs").error("a")
                logging.getLogger("theirs").warning("b")
                structlog.get_logger("ours").info("c")
            lines = [read.readline() for _ in prefixes]
            assert [line.partition("{")[0] for line in lines] == prefixes
            assert [json.loads(line.removeprefix(p))["event"] for line, p in zip(lines, prefixes, strict=True)] == [
                "a", "b", "c",
            ]  # fmt: skip
