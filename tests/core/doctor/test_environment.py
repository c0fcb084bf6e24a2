"""What the environment alone tells: every variable, what is wrong, what is risky; never a secret."""

import inspect
import re
from pathlib import Path

import pytest

from core.doctor.environment import is_here, read
from core.doctor.finding import Finding, Severity

README = Path(__file__).resolve().parents[3] / "README.md"
WHOLE = {
    "PUBLIC_URL": "https://bot.example.com",
    "DATABASE_URL": "postgresql://u:hidden-password@127.0.0.1/sisters",
    "REDIS_URL": "redis://:hidden-password@127.0.0.1:6379/0",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "hidden-token",
    "TWILIO_WHATSAPP_NUMBER": "whatsapp:+15550001111",
    "OPENAI_API_KEY": "hidden-key",
    "BUDGET_USD_PER_DAY": "5",
}


def found(**changes: str) -> list[Finding]:
    _, findings = read({name: value for name, value in (WHOLE | changes).items() if value})
    return findings.found


def of(subject: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def worse(findings: list[Finding]) -> dict[str, Severity]:
    return {f.subject: f.severity for f in findings if f.severity > Severity.GOOD}


def test_a_whole_configuration_has_nothing_to_mend():
    assert worse(found()) == {}


def test_every_variable_is_told_with_its_value_or_its_default():
    findings = found()
    assert of("LLM_TIMEOUT_S", findings)[0].what == "45 s (default)"
    assert of("BUDGET_USD_PER_DAY", findings)[0].what == "5"
    assert of("LLM_PROVIDERS", findings)[0].what == "openai (gpt-6-luna), from OPENAI_*"


def test_no_secret_is_told():
    assert [f for f in found() if "hidden" in f.what + f.fix] == []


def test_what_opentelemetry_reads_is_no_slip_and_its_headers_are_told_to_nobody():
    findings = found(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=hidden-key",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="api-key=hidden-key",
    )
    assert worse(findings) == {}
    assert [f for f in findings if "hidden" in f.what + f.fix] == []


def test_what_is_missing_is_wrong_and_says_what_to_do():
    [finding] = of("REDIS_URL", found(REDIS_URL=""))
    assert (finding.severity, finding.what) == (Severity.WRONG, "missing")
    assert "redis://" in finding.fix


@pytest.mark.parametrize(
    ("changes", "subject", "severity"),
    [
        ({"BUDGET_USD_PER_DAY": ""}, "BUDGET_USD_PER_DAY", Severity.RISKY),
        ({"OPENAI_MODEL": "somebody-elses-model"}, "LLM_PROVIDERS", Severity.RISKY),
        ({"MODERATION": "off"}, "MODERATION", Severity.RISKY),
        ({"PUBLIC_URL": "http://bot.example.com"}, "PUBLIC_URL", Severity.RISKY),
        ({"PUBLIC_URL": "https://bot.example.com/whatsapp"}, "PUBLIC_URL", Severity.RISKY),
        ({"PUBLIC_URL": "https://bot.example.com/whatsapp/status"}, "PUBLIC_URL", Severity.RISKY),
        ({"PUBLIC_URL": "http://127.0.0.1:8000"}, "PUBLIC_URL", Severity.WRONG),
        ({"PUBLIC_URL": "https://10.1.2.3"}, "PUBLIC_URL", Severity.WRONG),
        ({"TWILIO_WHATSAPP_NUMBER": "whatsapp:+14155238886"}, "TWILIO_WHATSAPP_NUMBER", Severity.RISKY),
        ({"LLM_TIMEOUT_S": "200"}, "TURN_DEADLINE_S", Severity.WRONG),
        ({"DATABASE_URL": "postgresql://u:p@127.0.0.1:6432/sisters"}, "DATABASE_POOLER", Severity.RISKY),
        ({"TWILO_AUTH_TOKEN": "x"}, "TWILO_AUTH_TOKEN", Severity.RISKY),
        ({"BUDGET_USD_PERDAY": "3"}, "BUDGET_USD_PERDAY", Severity.RISKY),
        ({"INSPECT_TOKEN": "short"}, "INSPECT_TOKEN", Severity.WRONG),
        ({"INSPECT_PORT": "abc", "INSPECT_TOKEN": "hidden-token-of-ours"}, "INSPECT_PORT", Severity.WRONG),
        ({"INSPECT_PORT": "8002"}, "INSPECT_TOKEN", Severity.WRONG),
        (
            {"INSPECT_DATABASE_URL": "hidden", "INSPECT_TOKEN": "hidden-token-of-ours"},
            "INSPECT_DATABASE_URL",
            Severity.WRONG,
        ),
        ({"ACCESS_LOG": "yes"}, "ACCESS_LOG", Severity.RISKY),
        ({"WORKER_CONCURRENCY": "abc"}, "WORKER_CONCURRENCY", Severity.WRONG),
        ({"WORKER_CONCURRENCY": "0"}, "WORKER_CONCURRENCY", Severity.WRONG),
        ({"WORKER_CONCURRENCY": "5001"}, "WORKER_CONCURRENCY", Severity.WRONG),
    ],
)
def test_what_is_risky_or_wrong_is_told(changes: dict[str, str], subject: str, severity: Severity):
    assert worse(found(**changes)) == {subject: severity}


def test_every_variable_of_the_readme_is_one_that_the_doctor_knows():
    table = README.read_text(encoding="utf-8").partition("\n| variable | meaning |\n")[2].partition("\n\n")[0]
    firsts = [row.split(" | ")[0] for row in table.splitlines()]
    documented = {name for first in firsts for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", first)}
    assert {"ACCESS_LOG", "INSPECT_TOKEN", "DATABASE_URL"} <= documented
    # The simulator's own is no process' of ours, and of OTEL_* all is OpenTelemetry's.
    ours = {name for name in documented if not name.startswith(("SIMULATOR_", "OTEL_"))}
    slips = {name: f"{name}X" for name in ours}  # whoever knows the name says that it was meant
    findings = found(**dict.fromkeys(slips.values(), "x"))
    fixes = {name: finding.fix for name, slip in slips.items() for finding in of(slip, findings)}
    assert fixes == {name: f"did you mean {name}?" for name in ours}


def test_what_starts_is_told_with_its_value_and_the_inspector_only_where_somebody_means_to_start_it():
    given = {"ACCESS_LOG": "1", "WORKER_CONCURRENCY": "100", "INSPECT_TOKEN": "hidden-token-of-ours"}
    findings = found(**given)
    assert worse(findings) == {}
    told = {finding.subject: finding.what for finding in findings}
    assert (told["ACCESS_LOG"], told["WORKER_CONCURRENCY"]) == ("1", "100")
    assert (told["INSPECT_TOKEN"], told["INSPECT_PORT"]) == ("set", "8001 (default)")
    assert [finding for finding in found() if finding.subject.startswith("INSPECT_")] == []


def test_a_slip_of_a_name_is_told_with_the_name_that_was_meant():
    [finding] = of("OPENAI_API_KEYS", found(OPENAI_API_KEYS="x"))
    assert finding.fix == "did you mean OPENAI_API_KEY?"


def test_names_that_the_vendors_read_are_no_slips():
    assert worse(found(TWILIO_REGION="ie1", OPENAI_LOG="info")) == {}


def test_the_webhooks_whole_address_as_public_url_is_told_with_what_to_leave_out():
    [finding] = of("PUBLIC_URL", [f for f in found(PUBLIC_URL="https://bot.example.com/b/whatsapp/") if f.fix])
    assert "/whatsapp/whatsapp" in finding.what
    assert finding.fix == "leave /whatsapp out"
    assert worse(found(PUBLIC_URL="https://whatsapp.example.com/b")) == {}


def test_a_stand_in_for_twilio_may_be_called_on_this_machine():
    assert worse(found(PUBLIC_URL="http://127.0.0.1:8000", TWILIO_BASE_URL="http://127.0.0.1:8099")) == {}


def test_each_variable_is_told_once():
    for changes in ({"TWILIO_BASE_URL": "http://127.0.0.1:8099"}, {"TWILIO_AUTH_TOKEN": "hidden-1, hidden-2"}, {}):
        told = [finding.subject for finding in found(**changes)]
        assert sorted(set(told)) == sorted(told)


def test_what_is_simulated_is_told_with_its_address():
    given = {"TWILIO_BASE_URL": "http://127.0.0.1:8099", "OPENAI_BASE_URL": "http://127.0.0.1:8099/v1"}
    findings = found(**given)
    assert of("simulated", findings)[0].what == "Twilio at 127.0.0.1:8099, model openai at 127.0.0.1:8099"
    assert of("TWILIO_BASE_URL", findings)[0].what.startswith("http://127.0.0.1:8099: a stand-in for Twilio")
    assert of("LLM_PROVIDERS", findings)[0].what == "openai (gpt-6-luna) at 127.0.0.1:8099, from OPENAI_*"
    assert of("simulated", found(TWILIO_BASE_URL="http://127.0.0.1:8099"))[0].what == "Twilio at 127.0.0.1:8099"
    assert of("simulated", found()) == []


def test_a_model_of_somebody_elses_is_told_with_its_host_and_not_called_simulated():
    findings = found(OPENAI_BASE_URL="https://user:hidden@llm.example/v1", OPENAI_MODEL="m")
    assert of("LLM_PROVIDERS", findings)[0].what == "openai (m) at llm.example, from OPENAI_*"
    assert of("OPENAI_BASE_URL", findings)[0].what == "https://...@llm.example/v1"
    assert of("simulated", findings) == []


def test_a_budget_is_not_asked_for_where_the_model_is_on_this_machine():
    assert worse(found(BUDGET_USD_PER_DAY="", OPENAI_BASE_URL="http://127.0.0.1:8099/v1")) == {}


def test_a_secret_file_that_everybody_may_read_is_risky(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("t")
    file.chmod(0o644)
    given = {"TWILIO_AUTH_TOKEN": "", "TWILIO_AUTH_TOKEN_FILE": str(file)}
    assert worse(found(**given)) == {"TWILIO_AUTH_TOKEN_FILE": Severity.RISKY}
    [finding] = of("TWILIO_AUTH_TOKEN_FILE", found(**given))
    assert finding.fix.index("g+r") < finding.fix.index("o-r"), "who only takes it from others takes it from the bot"
    file.chmod(0o640)
    assert worse(found(**given)) == {}


def test_a_secret_of_a_container_is_nobody_elses_though_its_mode_lets_everybody_read(tmp_path: Path):
    assert inspect.signature(read).parameters["own"].default == Path("/run/secrets")
    mounted, linked = tmp_path / "secrets" / "sisters" / "token", tmp_path / "linked"
    mounted.parent.mkdir(parents=True)
    mounted.write_text("t")
    mounted.chmod(0o444)
    linked.symlink_to(mounted)
    for path in (mounted, linked):
        given = WHOLE | {"TWILIO_AUTH_TOKEN_FILE": str(path)}
        del given["TWILIO_AUTH_TOKEN"]
        assert worse(read(given, own=tmp_path / "secrets")[1].found) == {}
        assert worse(read(given, own=tmp_path / "secret")[1].found) == {"TWILIO_AUTH_TOKEN_FILE": Severity.RISKY}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "10.0.0.7", "postgres", "db.svc", "/run/pg", ""])
def test_hosts_of_this_machine_and_of_private_networks_are_here(host: str):
    assert is_here(host)


@pytest.mark.parametrize("host", ["bot.example.com", "8.8.8.8", "db.example.org"])
def test_other_hosts_are_not(host: str):
    assert not is_here(host)
