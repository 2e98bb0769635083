"""Histories that are too large for an enclave, on emulated nodes with Tessera."""

import asyncio
import json
from random import Random
from typing import Any

import pytest

from orchestrator.devnet.enclaves.enclave import HistoryPayload
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.nodes.private_view import history_bundle
from orchestrator.store.commits.database import Database
from tests.integration.outages.playing import BLOCK_SECONDS, CALM, CountingChecks, Harness
from tests.simulation import virtual_time
from tests.simulation.messages import MessageQueue
from tests.simulation.running import configure_logging
from tests.simulation.world import World

LIMIT_BYTES = 4_000
WRITES = 20


async def asked(errors: list[str], *, configured: bool) -> dict[str, Any]:
    """Ask for an addition to a group whose history is larger than the enclaves take; returns what came of it."""
    async with Database("sqlite://") as database:
        chance = Random(1)  # noqa: S311 - a plan that can be repeated
        world = World(1, CALM, chance, database, enclave="tessera", bundle_limit_bytes=LIMIT_BYTES)
        world.checks = checks = CountingChecks(world, database, errors)
        harness = Harness(world, MessageQueue(world))
        try:
            await harness.begin()
            for _ in range(WRITES):
                harness.owner.write(harness.group)
                await asyncio.sleep(BLOCK_SECONDS)
            if configured:
                for watcher in harness.replica.fleet.watchers:
                    watcher.node.bundle_limit_bytes = LIMIT_BYTES  # type: ignore[misc]  # as from the configuration
            network = world.emulation.network
            group, node = from_base64(harness.group) or b"", network.nodes[0]
            bundled = history_bundle(network.enclaves, node, group, node.head.number)
            harness.ask()
            await harness.rested()
            await asyncio.sleep(3 * BLOCK_SECONDS)
            ((state, reason),) = checks.rows("SELECT state, reason FROM changes")
        finally:
            if harness.replica.life is not None:
                harness.replica.life.die("the end")
        return {
            "state": state,
            "slug": json.loads(reason)["slug"],
            "detail": json.loads(reason)["detail"],
            "locks": harness.locks(),
            "most_in_a_block": checks.most_in_a_block,
            "size_bytes": HistoryPayload(bundled).text_bytes,
            "left_locked": "the group is locked" in list(harness.found_wrong()),
        }


@pytest.mark.parametrize(
    ("configured", "slug", "locks"), [(False, "bundle_not_taken", 2), (True, "bundle_too_large", 0)]
)
def test_a_history_that_an_enclave_does_not_take_parks_the_change(configured: bool, slug: str, locks: int) -> None:
    """It says how large the history is; where the limit is configured the group is not even locked for it."""
    errors: list[str] = []
    configure_logging(errors, trace=False)
    found = virtual_time.run(asked(errors, configured=configured))
    assert (found["state"], found["slug"], found["locks"], errors) == ("parked", slug, locks, [])
    assert not found["left_locked"]
    assert found["most_in_a_block"] <= 1
    told = int(found["detail"].rpartition("about ")[2].partition(" bytes")[0].replace(",", ""))
    # Locks and unlocks of its own came into the history meanwhile.
    assert told == pytest.approx(found["size_bytes"], rel=0.35 if locks else 0.05)
