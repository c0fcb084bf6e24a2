"""A real worker tells what README says it tells."""

import json
import re
import urllib.request

from core.config import DEFAULT_PROMPTS
from deploy.local.child import free_port
from tests.system.running import System

README = DEFAULT_PROMPTS.parent / "README.md"
NAMED = re.compile(r"`(sisters_[a-z_]+)[`{]")
TYPED = re.compile(r"^# TYPE (sisters_[a-z_]+) ", re.MULTILINE)


def told(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        return answer.read().decode()


def test_worker_and_webhook_tell_every_metric_that_readme_names_and_no_other(system: System, person: str) -> None:
    port = free_port()
    system.stack.environ["METRICS_PORT"] = str(port)
    system.stack.environ["BUDGET_USD_PER_DAY"] = "100"
    system.stack.start_worker("measured")
    worker = f"http://127.0.0.1:{port}"
    system.stack.phone.inbound(person, "Which synthesizer should I buy?")
    system.wait_for_replies(person, 1)

    def measured() -> bool:
        try:
            return "sisters_workers_alive" in told(worker)
        except OSError:
            return False

    system.wait_until(measured, within_s=30, what="what the keeper saw")
    pages = told(worker) + told(system.stack.webhook_url)
    names = {name for name in TYPED.findall(pages) if not name.endswith("_created")}
    assert names == set(NAMED.findall(README.read_text(encoding="utf-8")))


def test_each_worker_of_a_host_tells_where_it_is_measured(system: System) -> None:
    system.stack.environ["METRICS_PORT"] = str(free_port())
    names = ("measured-first", "measured-second")

    def ports() -> list[int]:
        lines = [line for name in names for line in (system.logs / f"{name}.log").read_text().splitlines()]
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line["port"] for line in told if line["event"] == "metrics_served"]

    for name in names:
        system.stack.start_worker(name)
    system.wait_until(lambda: len(ports()) == len(names), within_s=30, what="two ports of workers")
    first, second = sorted(ports())
    assert int(system.stack.environ["METRICS_PORT"]) <= first < second
    assert all("sisters_turns_at_once" in told(f"http://127.0.0.1:{port}") for port in (first, second))
