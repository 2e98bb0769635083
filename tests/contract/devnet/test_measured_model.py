"""The devnet's nodes against the model that was confirmed on real nodes, where it lies beside the repository."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.contract.devnet.measured_model import MeasuredModel
from tests.unit.devnet.histories import FOUNDERS, NODES, Harness, History, check_same, histories

_BESIDE = Path(__file__).parents[3].parent / "shared" / "besu" / "model"
MODELS = sorted(Path(os.environ.get("DEVNET_MODEL", _BESIDE)).glob("replay_model.py"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@given(history=histories())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_nodes_live_as_the_measured_model_says(path: Path, history: History) -> None:
    """Nodes stand, show equal roots, and bundle as the model says, where locks alone decide what executes."""
    harness, measured = Harness(), MeasuredModel(path)
    for _ in harness.play(history):
        # Where a private nonce, a version or an earlier life decides, the measured model knows less than the nodes.
        assume(not any(node.odd for node in harness.model.values()))
        measured.follow(harness)
        for number, name in enumerate(NODES):
            emulated = harness.driver.network.nodes[number]
            assert (emulated.halted is not None) == measured.stands(name)
            for group in FOUNDERS:
                expected = measured.bundle(name, group, emulated.head.number)
                assert [measured.transaction(marker) for marker in harness.bundle(name, group)] == expected
    pairs = list(measured.roots(harness))
    check_same((expected, root) for root, expected in pairs)
    # Two locks of one private nonce, each executed where the other never was, give one state.
    check_same((root, [(kind, keys) for kind, _, keys in expected[1]]) for root, expected in pairs)
