"""The devnet's nodes keep head maps, replay, halt and bundle as a plain model of Besu's mechanism says."""

from collections.abc import Iterator

from hypothesis import HealthCheck, event, given, settings

from tests.unit.devnet.histories import FOUNDERS, NODES, Harness, History, check_same, histories


def _roots(harness: Harness) -> Iterator[tuple[object, object]]:
    for name, node in harness.model.items():
        for group in FOUNDERS:
            for block in range(node.head + 1):
                yield (group, harness.root(name, group, block)), (group, node.value_at(group, block))


@given(histories())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nodes_live_as_the_model_does(history: History) -> None:
    """After every block of any history each node stands, answers roots, and bundles as the model's node does."""
    harness = Harness()
    for _ in harness.play(history):
        for number, (name, node) in enumerate(harness.model.items()):
            emulated = harness.driver.network.nodes[number]
            assert (emulated.halted is not None, emulated.head.number) == (node.stands, node.head)
            for group in FOUNDERS:
                assert harness.bundle(name, group) == [done.marker for done in node.bundle(group)]
    pairs = list(_roots(harness))
    check_same(pairs)
    check_same((value, root) for root, value in pairs)
    event(f"{sum(node.stands for node in harness.model.values())} of {len(NODES)} halted")
    event("a case beyond the lock" if any(node.odd for node in harness.model.values()) else "by locks alone")
