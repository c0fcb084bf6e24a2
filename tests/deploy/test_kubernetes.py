"""The manifests of deploy/kubernetes: valid by Kubernetes' own schemas, and every name that one uses exists in another.

There is no kustomize here: what it would do with the files (list, patch, rename) is checked file by file.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from core import config
from core.config import LlmSettings
from tests.deploy.names import metrics_in, metrics_that_exist
from worker.running import LEAVES_AFTER

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.29", "1.37"
SECRET, SECRETS_OF_OTHERS = "sisters-secrets", {"sisters-tls", "sisters-keda"}
ALL = sorted(path for path in HERE.rglob("*.yaml") if path.name != "kustomization.yaml")
PATCHES = {HERE / "overlays/example/settings.yaml"}
SOLVER = "sisters-http01-solver"
"""The policy for a pod that is cert-manager's, not ours."""
OF_CUSTOM_KINDS = "keda.sh/"


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


MANIFESTS = [(path, one) for path in ALL for one in documents(path)]
WHOLE = [one for path, one in MANIFESTS if path not in PATCHES]


def named(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in WHOLE if one["kind"] in kinds}


WORKLOADS = of_kind("Deployment", "Job")
PODS = {name: one["spec"]["template"] for name, one in WORKLOADS.items()}


def container(name: str) -> dict[str, Any]:
    (only,) = PODS[name]["spec"]["containers"]
    return only


def labels_of(pod: Mapping[str, Any]) -> set[tuple[str, str]]:
    return set(pod["metadata"]["labels"].items())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    "manifest",
    [pytest.param(one, id=f"{path.parent.name}-{named(one)}") for path, one in MANIFESTS
     if not one["apiVersion"].startswith(OF_CUSTOM_KINDS)],
)  # fmt: skip
def test_a_manifest_is_valid_by_the_schema(manifest: dict[str, Any], version: str):
    validator = pytest.importorskip("kubernetes_validate", reason='needs make install SYNC="--group manifests"')
    validator.validate(manifest, version, strict=True)


def test_every_file_is_listed_and_every_listed_file_exists():
    listed: set[Path] = set()
    for path in HERE.rglob("kustomization.yaml"):
        (one,) = documents(path)
        assert one["kind"] == ("Component" if "components" in path.parent.parts[-2] else "Kustomization")
        for entry in [*one.get("resources", []), *one.get("components", [])]:
            there = (path.parent / entry).resolve()
            listed.add(there / "kustomization.yaml" if there.is_dir() else there)
        listed |= {(path.parent / patch["path"]).resolve() for patch in one.get("patches", []) if "path" in patch}
    assert {path for path in listed if not path.exists()} == set()
    assert set(ALL) <= listed


def test_no_two_manifests_bear_the_same_name_and_a_patch_meets_what_it_patches():
    names = [named(one) for one in WHOLE]
    assert len(names) == len(set(names))
    assert {named(one) for path in PATCHES for one in documents(path)} <= set(names)
    for path in HERE.rglob("kustomization.yaml"):
        (one,) = documents(path)
        for patch in one.get("patches", []):
            if target := patch.get("target"):
                assert f"{target['kind']}/{target['name']}" in names
        images = {entry["name"] for entry in one.get("images", [])}
        assert images <= {container(name)["image"] for name in PODS}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_can_do_nothing_that_it_need_not(name: str):
    spec, only = PODS[name]["spec"], container(name)
    of_pod, of_container = spec["securityContext"], only["securityContext"]
    assert of_pod["runAsNonRoot"]
    assert re.findall(r"--uid (\d+)", (ROOT / "deploy/Dockerfile").read_text()) == [str(of_pod["runAsUser"])]
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec.get("serviceAccountName", "default") in {*of_kind("ServiceAccount"), "default"}
    assert only["resources"]["limits"]["memory"]
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("name", PODS)
def test_a_pods_mounts_volumes_and_settings_are_there(name: str):
    spec, only = PODS[name]["spec"], container(name)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert {mount["name"] for mount in only["volumeMounts"]} == volumes.keys()
    (mount,) = (mount for mount in only["volumeMounts"] if mount["name"] == "secrets")
    secret = volumes["secrets"]["secret"]
    assert secret["secretName"] == SECRET
    files = {f"{mount['mountPath']}/{item['path']}" for item in secret["items"]}
    env = {entry["name"]: entry["value"] for entry in only["env"]}
    assert {value for key, value in env.items() if key.endswith("_FILE")} == files
    assert {key.removesuffix("_FILE") for key in env} <= known_variables()
    for source in only.get("envFrom", []):
        assert source["configMapRef"]["name"] in of_kind("ConfigMap")


def test_every_setting_is_a_variable_that_we_know():
    for path, one in MANIFESTS:
        if one["kind"] == "ConfigMap":
            assert set(one["data"]) <= known_variables(), path


def known_variables() -> set[str]:
    groups = [group for group in vars(config).values() if isinstance(group, type) and group.__module__ == "core.config"]
    fields = [field for group in groups for field in getattr(group, "model_fields", {}).values()]
    return {field.alias for field in fields if field.alias} | {"DATABASE_URL", "OPENAI_MODEL"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_given_what_its_process_asks_for(name: str):
    """As the processes themselves say it: no variable is missing."""
    from core.wiring.broker import broker_of
    from core.wiring.webhook import webhook_parts
    from core.wiring.worker import read_worker

    values = {
        "REDIS_URL": "redis://h/0", "DATABASE_URL": "postgresql://u:p@h/d", "TWILIO_AUTH_TOKEN": "t",
        "OPENAI_API_KEY": "k", "METRICS_TOKEN": "m",
    }  # fmt: skip
    environ: dict[str, str] = {}
    for source in container(name).get("envFrom", []):
        environ |= of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
    for entry in container(name)["env"]:
        variable = entry["name"].removesuffix("_FILE")
        environ[variable] = values.get(variable) or str(entry["value"])
    match container(name)["args"][1]:
        case "webhook":
            webhook_parts(environ)
        case "worker":
            read_worker(environ)
        case "beat":
            broker_of(environ)
        case "migrate":
            reading = config.Environment(environ)
            reading.read(config.DatabaseSettings)
            reading.check()
        case other:
            raise AssertionError(other)


def test_selectors_meet_the_pods_they_mean():
    for name in ("sisters-webhook", "sisters-worker", "sisters-beat"):
        assert set(WORKLOADS[name]["spec"]["selector"]["matchLabels"].items()) <= labels_of(PODS[name])
    by_selector = [
        *((f"Service {n}", s["spec"]["selector"], n) for n, s in of_kind("Service").items()),
        *((f"PDB {n}", s["spec"]["selector"]["matchLabels"], n) for n, s in of_kind("PodDisruptionBudget").items()),
        *(
            (f"NetworkPolicy {n}", s["spec"]["podSelector"]["matchLabels"], n)
            for n, s in of_kind("NetworkPolicy").items()
            if s["spec"]["podSelector"] and n != SOLVER
        ),
    ]
    assert len(by_selector) == 7
    for what, wanted, meant in by_selector:
        met = {name for name, pod in PODS.items() if set(wanted.items()) <= labels_of(pod)}
        assert met == {meant}, what


def test_ports_are_those_of_the_containers():
    service = of_kind("Service")["sisters-webhook"]["spec"]["ports"][0]
    ports = {port["name"]: port["containerPort"] for port in container("sisters-webhook")["ports"]}
    assert service["targetPort"] in ports
    for rule in of_kind("Ingress")["sisters-webhook"]["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["name"] in of_kind("Service")
            assert backend["port"]["name"] == service["name"]
    worker = {port["containerPort"] for port in container("sisters-worker")["ports"]}
    for name, expected in (("sisters-webhook", set(ports.values())), ("sisters-worker", worker)):
        (rule,) = of_kind("NetworkPolicy")[name]["spec"]["ingress"]
        assert {port["port"] for port in rule["ports"]} == expected
        assert {int(PODS[name]["metadata"]["annotations"]["prometheus.io/port"])} == expected
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container(name)[probe]
            if "httpGet" in asked:
                assert asked["httpGet"]["port"] in ports
            else:
                program, script, *options = asked["exec"]["command"]
                assert program == "python"
                assert options == ([] if probe == "readinessProbe" else ["--alive"]), (
                    "an outage of Postgres restarts none"
                )
                assert (ROOT / script.removeprefix("/app/")).is_file()


def test_a_hook_that_runs_before_all_else_needs_nothing_that_comes_with_the_rest():
    hooks = {
        name for name, one in WORKLOADS.items() if "argocd.argoproj.io/hook" in one["metadata"].get("annotations", {})
    }
    assert hooks == {"sisters-migrate"}
    for name in hooks:
        spec = PODS[name]["spec"]
        assert "serviceAccountName" not in spec
        assert "envFrom" not in container(name)
        # The secret is made by hand, before.
        assert [volume["secret"]["secretName"] for volume in spec["volumes"] if "emptyDir" not in volume] == [SECRET]


def test_what_each_process_may_reach_is_what_it_asks_and_the_readme_names_the_ports():
    stores = {6379, 6380, 26379, 5671, 5672}
    reached = {
        name: {port["port"] for rule in one["spec"].get("egress", []) for port in rule["ports"]}
        for name, one in of_kind("NetworkPolicy").items()
    }
    assert reached == {
        "sisters-default": {53}, "sisters-webhook": stores, "sisters-worker": {443, 5432, 6432} | stores,
        "sisters-beat": stores, "sisters-migrate": {5432, 6432}, SOLVER: set(),
    }  # fmt: skip
    [line] = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| `network.yaml`")]
    assert {str(port) for port in reached["sisters-worker"]} <= set(re.findall(r"\d+", line))


def test_whoever_lets_the_world_in_reaches_what_answers_for_the_certificate():
    ingress = of_kind("Ingress")["sisters-webhook"]
    assert "cert-manager.io/cluster-issuer" in ingress["metadata"]["annotations"]
    solver, webhook = (of_kind("NetworkPolicy")[name]["spec"] for name in (SOLVER, "sisters-webhook"))
    assert solver["podSelector"]["matchLabels"] == {"acme.cert-manager.io/http01-solver": "true"}
    [rule] = solver["ingress"]
    assert rule["ports"] == [{"port": 8089}]
    assert rule["from"] == [webhook["ingress"][0]["from"][0]], "the same controller"


def test_a_worker_is_given_the_time_that_it_may_take_to_finish():
    timeout = int(of_kind("ConfigMap")["sisters-settings"]["data"]["LLM_TIMEOUT_S"])
    assert timeout == LlmSettings.model_fields["timeout"].default.total_seconds()
    assert PODS["sisters-worker"]["spec"]["terminationGracePeriodSeconds"] >= timeout + LEAVES_AFTER.total_seconds()


def test_one_beat_at_a_time_and_no_turn_is_lost_to_a_disruption():
    beat = WORKLOADS["sisters-beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})
    budgets = {name: one["spec"] for name, one in of_kind("PodDisruptionBudget").items()}
    assert budgets["sisters-webhook"]["minAvailable"] < WORKLOADS["sisters-webhook"]["spec"]["replicas"]
    assert budgets["sisters-worker"]["maxUnavailable"] == 1


def test_workers_are_scaled_by_metrics_and_a_queue_that_exist():
    from core.adapters.wakeups import QUEUE

    scaler = of_kind("ScaledObject")["sisters-worker"]["spec"]
    assert scaler["scaleTargetRef"]["name"] in WORKLOADS
    if "fallback" in scaler:
        assert {trigger["metricType"] for trigger in scaler["triggers"]} == {"AverageValue"}
    assert 1 <= scaler["minReplicaCount"] <= scaler["fallback"]["replicas"] <= scaler["maxReplicaCount"]
    queries = [trigger["metadata"]["query"] for trigger in scaler["triggers"] if trigger["type"] == "prometheus"]
    assert len(queries) == 2
    assert set().union(*map(metrics_in, queries)) <= metrics_that_exist()
    (redis,) = (trigger for trigger in scaler["triggers"] if trigger["type"] == "redis")
    assert redis["metadata"]["listName"] == QUEUE
    assert redis["authenticationRef"]["name"] in of_kind("TriggerAuthentication")


def test_as_many_workers_as_there_may_be_find_room_in_an_ordinary_postgres():
    from core.wiring.worker import DATABASE_CONNECTIONS, SIGN_OF_LIFE_CONNECTIONS

    per_worker = DATABASE_CONNECTIONS + SIGN_OF_LIFE_CONNECTIONS
    surge = WORKLOADS["sisters-worker"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    most = of_kind("ScaledObject")["sisters-worker"]["spec"]["maxReplicaCount"] + surge
    assert most * per_worker <= 100 - 3, "max_connections but for superuser_reserved_connections, as Postgres ships"
    assert f"up to {per_worker} connections" in (HERE / "components/keda/scaler.yaml").read_text()


STAND_IN = r"""#!/usr/bin/env bash
set -eu
echo "${0##*/} $*" >>"$LOG"
for word; do
    case $word in
    --from-file=*) stat -c '%a' "${word#*=}"; (cd "${word#*=}" && echo *) ;;
    overlays/* | */overlays/*) test -f "$word/kustomization.yaml" ;;
    deploy/Dockerfile) test -f "$word" ;;
    esac
done >>"$LOG"
"""


def test_the_commands_of_the_readme_run_as_written_and_leave_no_secret_behind(tmp_path: Path):
    checkout, programs, temporary = (tmp_path / name for name in ("checkout", "bin", "tmp"))
    for directory in (programs, temporary):
        directory.mkdir()
    shutil.copytree(HERE, checkout / "deploy/kubernetes")
    (checkout / "deploy/Dockerfile").touch()
    for name in ("docker", "kubectl"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    commands = re.findall(r"^    (.*)$", (HERE / "README.md").read_text(), re.MULTILINE)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(temporary), "LOG": str(tmp_path / "log")}
    subprocess.run(
        ["bash", "-euc", "umask 022\n" + "\n".join(commands)], cwd=checkout, env=environ, check=True, timeout=30
    )
    log = (tmp_path / "log").read_text().splitlines()
    assert "700\nDATABASE_URL\n" in "\n".join(log)
    assert "700\naddress password\n" in "\n".join(log)
    assert log[-1] == "kubectl apply -k deploy/kubernetes/overlays/mine"
    assert list(temporary.iterdir()) == []
    new = {path.relative_to(checkout) for path in checkout.rglob("*") if path.is_file()}
    new -= {Path("deploy/kubernetes") / path.relative_to(HERE) for path in HERE.rglob("*")}
    assert {path.parent for path in new} == {Path("deploy"), Path("deploy/kubernetes/overlays/mine")}


def test_every_secret_that_a_pod_mounts_and_every_key_of_kedas_is_named_in_the_readme():
    text = (HERE / "README.md").read_text()
    keys = {item["key"] for pod in PODS.values() for volume in pod["spec"]["volumes"] if "secret" in volume
            for item in volume["secret"]["items"]}  # fmt: skip
    assert {key for key in keys if key not in text} == set()
    wanted = of_kind("TriggerAuthentication")["sisters-keda"]["spec"]["secretTargetRef"]
    assert {f'"$keda/{entry["key"]}"' for entry in wanted} == set(re.findall(r'"\$keda/\w+"', text))


@pytest.mark.parametrize("document", ["runbook.md", "kubernetes/README.md", "kubernetes/base/migrate.yaml"])
def test_what_is_applied_is_named_from_the_root_of_the_checkout(document: str):
    applied = re.findall(r"kubectl apply -k (\S+?)`?(?:\s|$)", (ROOT / "deploy" / document).read_text())
    assert set(applied) == {"deploy/kubernetes/overlays/mine"}


def test_secrets_are_named_and_never_given():
    assert of_kind("Secret") == {}
    assert set(secret_names(WHOLE)) <= {SECRET, *SECRETS_OF_OTHERS}


def secret_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if key == "secretName":
                yield inner
            elif key == "secretTargetRef":
                yield from (entry["name"] for entry in inner)
            else:
                yield from secret_names(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from secret_names(inner)
