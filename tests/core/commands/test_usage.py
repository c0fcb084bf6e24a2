"""Wrong use as an operator meets it: one line on stderr that says what is accepted, exit code 2."""

import pytest
from click.testing import CliRunner, Result

from core.cli import main


def typed(*arguments: str) -> Result:
    return CliRunner(env={"DATABASE_URL": "", "REDIS_URL": ""}).invoke(main, arguments, prog_name="sisters")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dance"], "sisters: No such command 'dance'"),
        (["timelin"], "Did you mean 'timeline'?"),
        (["--nope"], "sisters: No such option '--nope'"),
        (["audit", "--since", "2h"], "sisters audit: --since goes with --against-provider"),
        (["audit", "--stuck-after", "soon"], "'soon' is no length of time; write 90s, 15m, 2h or 1d"),
        (["audit", "--stuck-after", "-1s"], "'-1s': should be 0 or more"),
        (["audit", "--against-provider", "--since", "0"], "'0': should be more than 0"),
        (["audit", "--stuck-after", "9999999d"], "'9999999d' is more than ten years"),
        (["catch-up", "--since", "0h"], "'0h': should be more than 0"),
        (["catch-up", "--since", "-1h"], "'-1h': should be more than 0"),
        (["migrate", "--wait", "soon"], "'soon' is no length of time"),
        (["worker", "--concurrency", "0"], "'0' is no whole number from 1 to 5000"),
        (["worker", "--concurrency", "x"], "'x' is no whole number from 1 to 5000"),
        (["timeline"], "sisters timeline: Missing argument 'ID'"),
        (["timeline", "nonsense"], "'nonsense' is no id; write m12 or 12 (a message), t3 (a turn), d9 (a delivery)"),
        (["timeline", "SM12"], "or a SID of Twilio (SM and 32 hex digits)"),
        (["dead", "bury"], "sisters dead: No such command 'bury'"),
        (
            ["dead", "show", "x"],
            "'x' is no dead letter's id: that is a number, the first column of",
        ),
        (["dead", "replay", "0"], "'0' is no dead letter's id"),
        (["dead", "drop", "1", "2"], "sisters dead drop: Got unexpected extra argument (2)"),
        (["forget", " "], "nobody is named; write an address such as whatsapp:+49..., or our number for them"),
        (["route"], "sisters route: give either TEXT or --batch"),
        (["route", "who", "knows"], "TEXT is one argument: put it in quotes"),
        (["cast", "nope"], "sisters cast: No such command 'nope'"),
        (["timeline", "two\nlines"], "is no id"),
    ],
    ids=str,
)
def test_wrong_use_is_one_line_that_says_what_is_accepted_and_whose_help_tells_more(
    arguments: list[str], said: str
) -> None:
    done = typed(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert said in line
    assert line.startswith("sisters")
    assert line.endswith(f"(try '{line.partition(':')[0]} --help')")


@pytest.mark.parametrize("named", ["m1", "12", "t3", "d9", "SM" + "0" * 32, " MM" + "aF" * 16])
def test_whatever_may_be_an_id_is_looked_up(named: str) -> None:
    assert typed("timeline", named).stderr.startswith("DATABASE_URL: missing")


@pytest.mark.parametrize("span", ["90s", "15m", "2h", "1d", "0.5h", "7200"])
def test_a_length_of_time_is_written_as_people_do(span: str) -> None:
    assert typed("catch-up", "--since", span).stderr.startswith("DATABASE_URL: missing")


@pytest.mark.parametrize("group", [[], ["dead"], ["cast"]], ids=" ".join)
def test_the_list_of_commands_cuts_no_sentence(group: list[str]) -> None:
    done = typed(*group, "--help")
    assert (done.exit_code, "..." in done.stdout.partition("Commands:")[2]) == (0, False)


@pytest.mark.parametrize("group", [[], ["dead"]], ids=" ".join)
def test_a_group_without_a_command_shows_its_commands(group: list[str]) -> None:
    done = typed(*group)
    assert (done.exit_code, "Commands:" in done.stderr.splitlines()) == (2, True)
