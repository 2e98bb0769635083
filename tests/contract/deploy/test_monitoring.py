import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from orchestrator.app.metrics import Metrics, NodeReading
from orchestrator.besu.transport.http_client import CallCounts
from orchestrator.engine.intake.admission import Admission
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.store.database.size import StoreSize
from tests.contract.deploy.places import COMPOSE, DEPLOY, yaml_of
from tests.servers.programs import find_program

OF_PROMETHEUS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}


class NothingUnfinished:
    async def unfinished(self) -> Mapping[tuple[str, str], int]:
        return {}


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml_of(DEPLOY / "alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads((DEPLOY / "grafana" / "orchestrator.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """The names of the series that a daemon shows, each with its labels."""
    metrics = Metrics(lambda: 0, lambda: [NodeReading(name="member1", counts=CallCounts(), head=1, subscribed=True)])
    metrics.watch_admission(Admission(NothingUnfinished(), SystemClock()))
    metrics.watch_groups(lambda: 0)
    metrics.watch_locks(list)
    metrics.watch_standstills(lambda: {"member1": False})
    metrics.watch_loop(lambda: 0.0)
    metrics.watch_neighbours(lambda: 0)
    metrics.watch_store(lambda: StoreSize(size_bytes=1, rows={"changes": 1}))
    metrics.watch_surroundings(lambda: {"store": True}, lambda: 0.0)
    found: dict[str, set[str]] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_rules_and_dashboard_ask_for_what_there_is(series: dict[str, set[str]]) -> None:
    """Every series that an alert or a panel asks for is one that the daemon shows, with the labels that it has."""
    asked_for = list(expressions())
    assert len(asked_for) > 20
    for place, expression in asked_for:
        bare = re.sub(r'"[^"]*"', "", expression)
        names = set(re.findall(r"(?<![\w:])(?:orchestrator|process)_\w+|\bup\b", bare))
        assert names, place
        assert names <= set(series) | OF_PROMETHEUS, place
        labels = {label for name in names for label in series.get(name, set())} | {"instance", "job", "le"}
        asked = set(re.findall(r"(\w+)\s*=~?(?!=)", bare))
        for inner in re.findall(r"(?:by|without|on) \(([\w, ]+)\)", bare):
            asked |= {name.strip() for name in inner.split(",")}
        assert asked <= labels, place


def test_prometheus_takes_the_rules() -> None:
    """Prometheus' own check finds nothing wrong with the rules, nor with the configuration beside them."""
    promtool = find_program("promtool")
    for check in (
        ["check", "rules", "--lint-fatal", str(DEPLOY / "alerts.yml")],
        ["check", "config", "--syntax-only", str(COMPOSE / "prometheus.yml")],
    ):
        looked = subprocess.run([promtool, *check], capture_output=True, text=True, timeout=60, check=False)
        assert looked.returncode == 0, looked.stderr


def test_the_dashboard_has_one_place_for_each_panel() -> None:
    """No two panels lie on each other, and each asks the source of data that is provided."""
    panels: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "orchestrator.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels)
    (source,) = yaml_of(COMPOSE / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
