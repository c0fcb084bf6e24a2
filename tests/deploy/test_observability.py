"""Alerts fire when they should and not before, and name metrics that exist, as the dashboard does."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.keeping.upkeep import Upkeep
from tests.deploy.names import metrics_in, metrics_that_exist
from worker.running import FURTHER_PORTS

HERE = Path(__file__).resolve().parents[2] / "deploy" / "observability"
RULES = [rule for group in yaml.safe_load((HERE / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((HERE / "grafana" / "dashboard.json").read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
NODE = 'node_filesystem_{}_bytes{{instance="host",mountpoint="/",fstype="ext4"}}'

HEALTHY = {
    'process_start_time_seconds{instance="w1"}': "-86400x60",
    'sisters_messages_stored_total{instance="w1"}': "0+10x60",
    'sisters_inboxes_oldest_seconds{instance="w1"}': "5x60",
    'sisters_workers_alive{instance="w1"}': "2x60",
    'sisters_turns_at_once{instance="w1"}': "100x60",
    'up{instance="w1",job="worker"}': "1x60",
    'sisters_turns_due_oldest_seconds{instance="w1"}': "2x60",
    'sisters_turns_total{instance="w1",outcome="failed"}': "0x60",
    'sisters_dead_letters{instance="w1"}': "0x60",
    'sisters_sent_twice_total{instance="w1"}': "0x60",
    'sisters_webhook_messages_total{instance="web"}': "0+10x60",
    'sisters_webhook_refusals_total{instance="web",reason="redis"}': "0x60",
    'sisters_webhook_refusals_total{instance="web",reason="signature"}': "0x60",
    'sisters_catch_up_messages_total{instance="w1",fate="late"}': "7x60",
    'sisters_catch_up_messages_total{instance="w1",fate="failed"}': "1x60",
    'sisters_catch_ups_total{instance="w1",end="done"}': "0+1x60",
    'sisters_catch_ups_total{instance="w1",end="cut_off"}': "0x60",
    'sisters_catch_ups_total{instance="w1",end="failed"}': "0+1x60",
    'sisters_llm_errors_total{instance="w1",provider="openai",reason="timeout"}': "0+1x60",
    'sisters_llm_errors_total{instance="w1",provider="openai",reason="auth"}': "0x60",
    'sisters_llm_seconds_count{instance="w1",provider="openai",outcome="answered"}': "0+10x60",
    'sisters_llm_breaker{instance="w1",provider="openai"}': "2x60",
    'sisters_llm_breaker{instance="w1",provider="other"}': "0x60",
    'sisters_moderation_unchecked_total{instance="w1"}': "0x60",
    'sisters_sends_total{instance="w1",outcome="failed",code="63016"}': "0x60",
    'sisters_deliveries_open_oldest_seconds{instance="w1"}': "900x60",
    'sisters_deliveries_tried_oldest_seconds{instance="w1"}': "120x60",
    'sisters_reported_failures_total{instance="w1",code="63024"}': "0x60",
    'sisters_senders_resting{instance="w1"}': "0x60",
    'sisters_budget_usd{instance="w1"}': "10x60",
    'sisters_spent_today_usd{instance="w1"}': "7x60",
    'sisters_redis_used_bytes{instance="w1"}': "300x60",
    'sisters_redis_max_bytes{instance="w1"}': "384x60",
    'sisters_redis_cannot_write{instance="w1",file="aof"}': "0x60",
    NODE.format("avail"): "30x60",
    NODE.format("size"): "100x60",
    'sisters_clock_skew_seconds{instance="w1"}': "0.2x60",
    'sisters_duty_failing{instance="w1",duty="beat"}': "0x60",
    'sisters_duty_failing{instance="w2",duty="beat"}': "0x60",
    'sisters_duty_failing{instance="w1",duty="take_reports"}': "0x60",
}
"""Series of an ordinary half hour, a value every 30 s, as promtool writes them: 5x60 stays, 0+10x60 grows."""

FAULTS: dict[str, dict[str, str | None]] = {
    "SistersMessageWaits": {'sisters_inboxes_oldest_seconds{instance="w1"}': "61x60"},
    "SistersNoWorker": {'sisters_turns_at_once{instance="w1"}': None},
    "SistersWorkerSilent": {'up{instance="w1",job="worker"}': "1x20 0x40"},
    "SistersTurnsWait": {'sisters_turns_due_oldest_seconds{instance="w1"}': "6x60"},
    "SistersTurnsFail": {'sisters_turns_total{instance="w1",outcome="failed"}': "0+1x60"},
    "SistersDeadLetters": {'sisters_dead_letters{instance="w1"}': "1x60"},
    "SistersSentTwice": {'sisters_sent_twice_total{instance="w1"}': "0x30 1x29"},
    "SistersWebhookAway": {'sisters_webhook_messages_total{instance="web"}': None},
    "SistersWebhookRefuses": {
        'sisters_webhook_refusals_total{instance="web",reason="signature"}': "0+1x60",
        'sisters_webhook_messages_total{instance="web"}': "9x60",
    },
    "SistersSignatures": {'sisters_webhook_refusals_total{instance="web",reason="signature"}': "0+1x60"},
    "SistersCatchUpFinds": {'sisters_catch_up_messages_total{instance="w1",fate="late"}': "7x30 8x29"},
    "SistersCatchUpFails": {'sisters_catch_up_messages_total{instance="w1",fate="failed"}': "0+1x60"},
    "SistersCatchUpAway": {'sisters_catch_ups_total{instance="w1",end="done"}': "9x60"},
    "SistersLlmErrors": {'sisters_llm_errors_total{instance="w1",provider="openai",reason="timeout"}': "0+3x60"},
    "SistersLlmAway": {'sisters_llm_breaker{instance="w1",provider="other"}': "2x60"},
    "SistersLlmAccount": {'sisters_llm_errors_total{instance="w1",provider="openai",reason="auth"}': "0x45 1x14"},
    "SistersModerationAway": {'sisters_moderation_unchecked_total{instance="w1"}': "0+1x60"},
    "SistersSendFailures": {'sisters_sends_total{instance="w1",outcome="failed",code="63016"}': "0+1x60"},
    "SistersSendsStall": {'sisters_deliveries_tried_oldest_seconds{instance="w1"}': "301+30x60"},
    "SistersReportedFailures": {'sisters_reported_failures_total{instance="w1",code="63024"}': "0+1x60"},
    "SistersSenderRests": {'sisters_senders_resting{instance="w1"}': "1x60"},
    "SistersBudget": {'sisters_spent_today_usd{instance="w1"}': "8.5x60"},
    "SistersRedisFull": {'sisters_redis_used_bytes{instance="w1"}': "310x60"},
    "SistersRedisCannotWrite": {'sisters_redis_cannot_write{instance="w1",file="aof"}': "1x60"},
    "SistersDatabaseFull": {NODE.format("avail"): "14x60"},
    "SistersClockSkew": {'sisters_clock_skew_seconds{instance="w1"}': "2x60"},
    "SistersPostgresAway": {
        'sisters_workers_alive{instance="w1"}': None,  # what is read there is no longer told
        'sisters_turns_due_oldest_seconds{instance="w1"}': None,
        'sisters_deliveries_tried_oldest_seconds{instance="w1"}': None,
        'sisters_duty_failing{instance="w1",duty="beat"}': "1x60",
        'sisters_duty_failing{instance="w2",duty="beat"}': "1x60",
        'sisters_duty_failing{instance="w1",duty="take_reports"}': "1x60",
    },
    "SistersDutyFails": {'sisters_duty_failing{instance="w1",duty="beat"}': "1x60"},
}

BORN = {
    "SistersTurnsFail": ('sisters_turns_total{instance="w1",outcome="crashed"}', 50),
    "SistersCatchUpFinds": ('sisters_catch_up_messages_total{instance="w1",fate="too_late"}', 1),
    "SistersCatchUpFails": ('sisters_catch_up_messages_total{instance="w1",fate="failed"}', 1),
    "SistersLlmErrors": ('sisters_llm_errors_total{instance="w1",provider="openai",reason="connect"}', 100),
    "SistersLlmAccount": ('sisters_llm_errors_total{instance="w1",provider="openai",reason="insufficient_quota"}', 5),
    "SistersSendFailures": ('sisters_sends_total{instance="w1",outcome="failed",code="63007"}', 200),
    "SistersReportedFailures": ('sisters_reported_failures_total{instance="w1",code="63032"}', 200),
}
"""Series that are not there and then have a value at once: all of it happened between two scrapes."""


def born(value: int) -> str:
    """After 20 minutes."""
    return f"_x40 {value}x19"


def firing(
    directory: Path, faults: Mapping[str, str | None], expected: list[str], *, after: str = "25m"
) -> subprocess.CompletedProcess[str]:
    """promtool's verdict on exactly these alerts firing after that time."""
    series = {name: values for name, values in {**HEALTHY, **faults}.items() if values is not None}
    samples: list[dict[str, Any]] = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected]
    test = {
        "rule_files": [str(HERE / "alerts.yml")],
        "evaluation_interval": "30s",
        "tests": [{
            "interval": "30s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": after,
                "exp_samples": samples,
            }],
        }],
    }  # fmt: skip
    path = directory / "test.yml"
    path.write_text(yaml.safe_dump(test))
    return promtool("test", "rules", str(path))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.debian("promtool")
def test_on_an_ordinary_day_nothing_fires(tmp_path: Path):
    done = firing(tmp_path, {}, [])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_at_its_fault_and_no_other_does(tmp_path: Path, alert: str):
    done = firing(tmp_path, FAULTS[alert], [alert])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
@pytest.mark.parametrize("accepted", ["9x60", "0+10x60"])
@pytest.mark.parametrize("reason", ["redis", "unsigned"])
def test_redis_away_pages_whatever_else_happens_and_who_signs_nothing_wakes_nobody(
    tmp_path: Path, reason: str, accepted: str
):
    faults = {
        f'sisters_webhook_refusals_total{{instance="web",reason="{reason}"}}': "0+9x60",
        'sisters_webhook_messages_total{instance="web"}': accepted,
    }
    done = firing(tmp_path, faults, ["SistersWebhookRefuses"] if reason == "redis" else [])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
@pytest.mark.parametrize(
    ("breaker", "expected"),
    [
        ("2 2 1 1 1 " * 12, ["SistersLlmAway"]),  # left alone for 30 s, then one call that hangs until LLM_TIMEOUT_S
        ("2 1 0 0 0 " * 12, []),
    ],
)
def test_a_model_that_hangs_is_away_though_it_is_tried_now_and_then(tmp_path: Path, breaker: str, expected: list[str]):
    done = firing(tmp_path, {'sisters_llm_breaker{instance="w1",provider="other"}': breaker}, expected)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
@pytest.mark.parametrize("alert", BORN)
def test_a_burst_with_which_a_series_is_born_fires_its_alert(tmp_path: Path, alert: str):
    series, value = BORN[alert]
    longer = {name: values.replace("x60", "x100") for name, values in HEALTHY.items()}
    done = firing(tmp_path, longer | {series: f"_x80 {value}x19"}, [alert], after="45m")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
@pytest.mark.parametrize("alert", BORN)
def test_a_burst_before_the_first_scrape_of_a_new_process_fires_its_alert(tmp_path: Path, alert: str):
    series, value = BORN[alert]
    new = {name: born(0) for name in HEALTHY if '"w1"' in name and name.partition("{")[0].endswith("_total")}
    started = {'process_start_time_seconds{instance="w1"}': "_x40 1195x19"}
    done = firing(tmp_path, new | started | {series: born(value)}, [alert])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
def test_a_prometheus_that_has_only_begun_to_look_takes_nothing_old_for_new(tmp_path: Path):
    begun = {name: f"_x40 {values.replace('x60', 'x19')}" for name, values in HEALTHY.items()}
    done = firing(tmp_path, begun | {series: born(value) for series, value in BORN.values()}, [])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_on_a_rise_is_tried_with_a_series_that_is_born():
    """But for those whose series are told as 0 from the start of their process."""
    at_zero = {
        "SistersSentTwice", "SistersModerationAway", "SistersWebhookRefuses", "SistersSignatures", "SistersCatchUpAway",
    }  # fmt: skip
    rising = {rule["alert"] for rule in RULES if re.search(r"\b(increase|rate)\(", rule["expr"])}
    assert rising == {*BORN, *at_zero}


def test_every_alert_has_a_fault_a_severity_a_line_and_its_place_in_the_runbook():
    alerts = [rule["alert"] for rule in RULES]
    assert alerts == list(FAULTS)
    headings = re.findall(r"^### (Sisters.*)$", (HERE.parent / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(", ".join(headings).split(", ")) == sorted(alerts)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "runbook"}


@pytest.mark.parametrize("query", [rule["expr"] for rule in RULES] + QUERIES)
def test_a_query_names_metrics_that_exist(query: str):
    ours = metrics_in(query)
    assert ours <= metrics_that_exist()
    assert ours or "node_" in query or "up{" in query


def test_a_rule_asks_for_jobs_that_prometheus_has():
    asked = {job for rule in RULES for job in re.findall(r'job="(\w+)"', rule["expr"])}
    jobs = {job["job_name"] for job in yaml.safe_load((HERE / "prometheus.yml").read_text())["scrape_configs"]}
    assert asked
    assert asked <= jobs


def test_the_duty_that_says_whether_postgres_is_there_is_one_of_a_keeper():
    duties = {duty for rule in RULES for duty in re.findall(r'duty="(\w+)"', rule["expr"])}
    assert duties == {Upkeep.beat.__name__}


@pytest.mark.debian("promtool")
def test_promtool_reads_the_configuration_and_every_query_of_the_dashboard(tmp_path: Path):
    done = promtool("check", "config", str(HERE / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", str(tmp_path / "queries.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.debian("promtool")
def test_the_example_for_a_host_is_a_configuration_and_its_targets_do_not_collide(tmp_path: Path):
    text = (HERE / "prometheus.yml").read_text()
    example = re.sub(r"^# ?", "", text[text.index("# scrape_configs:") :], flags=re.MULTILINE)
    (tmp_path / "prometheus.yml").write_text(example)
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in yaml.safe_load(example)["scrape_configs"]
    }
    assert targets["worker"] == [f"127.0.0.1:{9100 + further}" for further in range(4)]
    ports = [int(target.rpartition(":")[2]) for job in ("webhook", "node") for target in targets[job]]
    assert not set(ports) & set(range(9100, 9100 + FURTHER_PORTS + 1)), "a worker may take it"


def test_grafana_is_given_its_source_and_its_dashboard_where_compose_mounts_them():
    grafana = yaml.safe_load((HERE / "grafana" / "provisioning.yml").read_text())
    services = yaml.safe_load((HERE.parent / "compose" / "production.yml").read_text())["services"]
    mounts = dict(volume.split(":")[1::-1] for volume in services["grafana"]["volumes"] if volume.startswith("./"))
    ours = "./deploy/observability/grafana"
    assert mounts == {
        "/etc/grafana/provisioning/datasources/sisters.yml": f"{ours}/provisioning.yml",
        "/etc/grafana/provisioning/dashboards/sisters.yml": f"{ours}/provisioning.yml",
        f"{grafana['providers'][0]['options']['path']}/sisters.json": f"{ours}/dashboard.json",
    }
    assert grafana["apiVersion"] == 1
    [source] = grafana["datasources"]
    assert source["url"] == "http://prometheus:9090"  # its own port, which no option of ours moves
    assert "command" not in services["prometheus"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}


def test_readme_tells_the_seconds_after_which_a_waiting_message_wakes_somebody():
    [rule] = [rule for rule in RULES if rule["alert"] == "SistersMessageWaits"]
    readme = (HERE.parents[1] / "README.md").read_text()
    assert f"when the oldest waits over {rule['expr'].rpartition('> ')[2]} s" in readme


def test_the_dashboard_has_panels_that_do_not_overlap():
    taken = [
        (x, y)
        for panel in PANELS
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
