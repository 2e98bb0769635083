"""The metrics as Prometheus' users expect them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import orchestrator
from orchestrator.app.metrics import CONTAINED, Metrics, NodeReading
from orchestrator.besu.adapter.signatures import Outcome
from orchestrator.besu.transport.http_client import CallCounts
from orchestrator.membership.model import RESTING, Kind, State


class Heads:
    """Two nodes, of which the second has not answered yet."""

    def __call__(self) -> Iterator[NodeReading]:
        yield NodeReading(name="one", counts=CallCounts(), head=7, behind=-9, subscribed=True, gaps=2)
        yield NodeReading(name="two", counts=CallCounts(), head=None, subscribed=False)


@pytest.fixture
def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    metrics = Metrics(lambda: 3, Heads())
    metrics.watch_neighbours(lambda: 1)
    metrics.watch_shares(lambda: 450, lambda: 12)
    metrics.watch_standstills(lambda: {"one": True, "two": False})
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_labelled_counters_are_there_from_the_start(
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float],
) -> None:
    """Every counter with labels has all of them at 0, so that its first increase is one."""
    states = {("orchestrator_transitions_total", frozenset({("state", state.value)})) for state in State}
    ended = {
        ("orchestrator_changes_total", frozenset({("kind", kind.value), ("state", state.value)}))
        for kind in Kind
        for state in RESTING - {State.QUEUED}
    }
    signed = {("orchestrator_signature_seconds_count", frozenset({("outcome", end.value)})) for end in Outcome}
    contained = {("orchestrator_contained_total", frozenset({("what", what)})) for what in CONTAINED}
    assert states | ended | signed | contained <= samples.keys()
    assert {samples[name] for name in states | ended | signed} == {0.0}


def test_what_is_not_known_is_not_there(samples: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> None:
    """A node whose head is unknown has none, rather than a number that is no block."""
    heads = {labels: value for (name, labels), value in samples.items() if name == "orchestrator_node_head"}
    assert heads == {frozenset({("node", "one")}): 7.0}
    far = {labels: value for (name, labels), value in samples.items() if name == "orchestrator_node_behind_blocks"}
    assert far == {frozenset({("node", "one")}): -9.0}


def test_process_and_build_are_told(samples: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> None:
    """What runs, and what it uses, have the names that dashboards of others ask for."""
    assert samples["orchestrator_build_info", frozenset({("version", orchestrator.__version__)})] == 1
    assert samples["process_resident_memory_bytes", frozenset()] > 0
    assert ("process_cpu_seconds_total", frozenset()) in samples
    assert samples["orchestrator_foreign_sources", frozenset()] == 1


def test_how_lanes_are_shared_out_is_told(samples: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> None:
    """How many lanes the source with the most has, and how many wait for their turn, are there to be watched."""
    assert samples["orchestrator_largest_source_lanes", frozenset()] == 450
    assert samples["orchestrator_lanes_waiting_for_turn", frozenset()] == 12


def test_every_kind_of_contained_failure_is_listed() -> None:
    """What the code contains under a name is counted under it from the start."""
    named = set()
    for path in Path(orchestrator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("contained", "kept_running")
            ):
                named |= {first.value for first in node.args[:1] if isinstance(first, ast.Constant)}
    assert named <= set(CONTAINED)


def test_nodes_that_stand_still_are_shown(samples: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> None:
    """Each node has a sample, 1 while it stands still and others move."""
    name = "orchestrator_node_standing_still"
    assert samples[name, frozenset({("node", "one")})] == 1.0
    assert samples[name, frozenset({("node", "two")})] == 0.0
