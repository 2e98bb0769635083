import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped] # it has no types of its own

from orchestrator.config import load_config
from tests.contract.deploy.places import CHART, COMPOSE, yaml_of
from tests.servers.programs import find_program

KUBERNETES = "1.33"
EVERYTHING = {
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}}},
    "persistence": {"enabled": True, "storageClass": "fast"},
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "consortium", "operator": "Exists"}],
    "podLabels": {"team": "ledger"},
}
KAFKA: dict[str, Any] = yaml_of(CHART.parent / "kafka.yaml")
LEAST: dict[str, Any] = {"replicas": 1, "networkPolicy": {"enabled": False}, "migration": {"enabled": False}}


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="demo", namespace="consortium")
    return [document for text in texts.values() for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return rendered(EVERYTHING)


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pods(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for kind in ("StatefulSet", "Job"):
        yield of_kind(documents, kind)["spec"]["template"]["spec"]


def test_the_chart_is_one() -> None:
    """Helm's own lint finds no error in it."""
    found = helm.lint(str(CHART))
    assert (found["total_charts_linted"], found["errors"]) == (1, [])


@pytest.mark.parametrize("values", [{}, EVERYTHING, LEAST, KAFKA], ids=["default", "everything", "least", "kafka"])
def test_what_it_renders_is_kubernetes(values: dict[str, Any]) -> None:
    """Whatever is switched on, each object follows Kubernetes' schema for it, with no key that it does not know."""
    documents = rendered(values)
    known = [document for document in documents if document["kind"] != "ServiceMonitor"]
    assert {"StatefulSet", "ConfigMap", "Service"} <= {document["kind"] for document in known}
    for document in known:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 0},
        {"replica": 3},
        {"migration": {"storeUrl": "postgresql://owner:secret@postgres/membership"}},
        {"secrets": {"files": {"ORCHESTRATOR_STORE__PASSWORD": "store.password"}}},
    ],
    ids=["no replica", "unknown value", "password in a value", "secret by value"],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    """A value that the chart does not know, or a secret where only the name of one belongs, is refused."""
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema(chart.merge_values(wrong))


def test_pods_can_do_little(documents: list[dict[str, Any]]) -> None:
    """No pod runs as root, writes to its root, has capabilities or a token of the cluster."""
    for pod in pods(documents):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            allowed = container["securityContext"]
            assert allowed["readOnlyRootFilesystem"] is True
            assert allowed["allowPrivilegeEscalation"] is False
            assert allowed["capabilities"] == {"drop": ["ALL"]}


def test_secrets_come_by_reference(documents: list[dict[str, Any]]) -> None:
    """Nothing secret is in an object of the chart: pods mount secrets that are there, closed to others."""
    assert "Secret" not in {document["kind"] for document in documents}
    for pod in pods(documents):
        mounted = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        assert mounted
        assert all(secret["defaultMode"] == 0o440 for secret in mounted)
        folders = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        for variable in pod["containers"][0]["env"]:
            if variable["name"].endswith("_FILE"):
                assert variable["value"].rsplit("/", 1)[0] in folders


def test_the_migration_runs_first_and_as_the_owner(documents: list[dict[str, Any]]) -> None:
    """Tables are made before the release, by the role that owns them, on a configuration that is there by then."""
    job = of_kind(documents, "Job")
    hooks = [document for document in documents if "helm.sh/hook" in document["metadata"].get("annotations", {})]
    assert {document["kind"] for document in hooks} == {"Job", "ConfigMap"}
    weights = {document["kind"]: int(document["metadata"]["annotations"]["helm.sh/hook-weight"]) for document in hooks}
    assert weights["ConfigMap"] < weights["Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["args"][0] == "migrate"
    assert environment["ORCHESTRATOR_STORE__URL"].startswith("postgresql://orchestrator_owner@")
    named = [variable["name"] for variable in container["env"]]
    assert len(named) == len(set(named))


def test_replicas_keep_their_names(documents: list[dict[str, Any]]) -> None:
    """Each replica's name is its pod's, the stop is longer than the daemon needs, and one at a time may be evicted."""
    replicas = of_kind(documents, "StatefulSet")
    pod = replicas["spec"]["template"]["spec"]
    (name,) = [v for v in pod["containers"][0]["env"] if v["name"] == "ORCHESTRATOR_ENGINE__REPLICA"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert pod["terminationGracePeriodSeconds"] > 20 + 5
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(pod["containers"][0])
    budget = of_kind(documents, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = replicas["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_metrics_are_all_that_can_be_reached(documents: list[dict[str, Any]]) -> None:
    """The policy lets in who reads metrics and nobody else, and the monitor finds the port by its name."""
    policy = of_kind(documents, "NetworkPolicy")["spec"]
    labels = of_kind(documents, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "metrics", "protocol": "TCP"}]]
    service = of_kind(documents, "Service")
    monitor = of_kind(documents, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "orchestrator"


def test_the_metrics_proxy_starts(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    """nginx takes the configuration that the chart gives it, which is the one of the compose file."""
    data = [document["data"] for document in documents if "metrics.conf" in document.get("data", {})]
    text = data[0]["metrics.conf"]
    settings = [line.strip() for line in (COMPOSE / "metrics.conf").read_text().splitlines() if line[0] != "#"]
    assert [line.strip() for line in text.splitlines()] == settings
    here = text.replace("/tmp/", f"{tmp_path}/")  # noqa: S108 - of the container
    (tmp_path / "nginx.conf").write_text(here)
    command = [find_program("nginx"), "-t", "-q", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    looked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert looked.returncode == 0, looked.stderr


def test_the_default_configuration_is_complete() -> None:
    """The TOML in the values names a file of a secret only where the chart mounts it."""
    values = yaml_of(CHART / "values.yaml")
    mounted = {f"/run/secrets/orchestrator/{key}" for key in values["secrets"]["files"].values()}
    assert '"/run/secrets/orchestrator/owner.key"' in values["configuration"]
    assert "/run/secrets/orchestrator/owner.key" in mounted


def test_the_values_for_kafka_are_a_configuration(tmp_path: Path) -> None:
    """With the files of the secret where the chart mounts them the daemon takes it, and may talk to each server."""
    found = rendered(KAFKA)
    text: str = next(d["data"]["orchestrator.toml"] for d in found if "orchestrator.toml" in d.get("data", {}))
    (container, *_) = of_kind(found, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"] if entry["name"].endswith("_FILE")}
    for path in given.values():
        name = Path(path).name
        (tmp_path / name).write_text("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
        (tmp_path / name).chmod(0o600)
    place = "/run/secrets/orchestrator"
    (tmp_path / "orchestrator.toml").write_text(text.replace(place, str(tmp_path)))
    here = {name: path.replace(place, str(tmp_path)) for name, path in given.items()}
    config = load_config(tmp_path / "orchestrator.toml", here)
    assert {"ORCHESTRATOR_BROKER__PASSWORD_FILE", "ORCHESTRATOR_BROKER__CA_FILE"} <= set(given)
    ports = {int(server.rpartition(":")[2]) for server in config.broker.url.split(",")}
    assert config.broker.url.startswith("kafkas://")
    rules = of_kind(found, "NetworkPolicy")["spec"]["egress"]
    assert ports <= {entry["port"] for rule in rules for entry in rule["ports"]}
