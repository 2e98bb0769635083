"""Who does harm under the same load: the daemon, the public client library, and additions one block after the lock."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Bound, Figure, at_least, at_most
from tests.benchmarks.scale import Scale
from tests.integration.harm.by_daemon import DaemonRun, change_by_daemon
from tests.integration.harm.clients import ClientRun, change_by_library, change_by_window_of_one
from tests.integration.harm.truth import Harm

PATIENCE_SECONDS: Final = 900.0
NEVER: Final = 1_000_000
"""Blocks between two that hold an account twice."""


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure the part harm: each run is on a network of its own that is made from the same seed."""
    load = scale.harm
    daemon = await change_by_daemon(directory, load, patience_seconds=PATIENCE_SECONDS)
    figures = _of_daemon(daemon)
    # A halted node has no group any more, so that what is lost shows where nothing halts: at first additions.
    for when, much in (("", load), (", first round", replace(load, rounds=1, pair_blocks=NEVER))):
        library = await change_by_library(directory, much, patience_seconds=PATIENCE_SECONDS)
        figures += _of_client(f"web3js-quorum, Promise.all{when}", library)
        window = await change_by_window_of_one(much)
        figures += _of_client(f"added in the block after the lock{when}", window)
    return figures


def _of_daemon(run: DaemonRun) -> list[Figure]:
    note = f"{run.changes} changes in {run.blocks} blocks, {run.writes} writes, {run.unreplayable} bad blocks"
    refused = ", ".join(f"{slug} {count}" for slug, count in sorted(run.refused.items()))
    lines = "; ".join(run.untrue[:3])
    return [
        *_harm("daemon", run.harm, at_most(0), note),
        Figure("harm", "daemon: changes refused", run.refused.total(), "", note=refused),
        Figure("harm", "daemon: refusals and outcomes that are not so", len(run.untrue), "", at_most(0), lines),
        Figure("harm", "daemon: JSON-RPC calls for each change", run.calls / run.changes, ""),
    ]


def _of_client(name: str, run: ClientRun) -> list[Figure]:
    asked = run.done + run.failed
    note = f"{asked} changes in {run.blocks} blocks, {run.writes} writes, {run.unreplayable} bad blocks"
    harmed = len(run.harm.lost) + len(run.harm.rolled_back) + len(run.harm.halted)
    return [
        *_harm(name, run.harm, None, note),
        Figure("harm", f"{name}: changes that failed", run.failed, ""),
        Figure("harm", f"{name}: lost, rolled back and halted", harmed, "", at_least(1)),
    ]


def _harm(name: str, harm: Harm, bound: Bound | None, note: str) -> list[Figure]:
    return [
        Figure("harm", f"{name}: members lost", len(harm.lost), "", bound, note),
        Figure("harm", f"{name}: members rolled back", len(harm.rolled_back), "", bound),
        Figure("harm", f"{name}: nodes halted", len(harm.halted), "", bound),
        Figure("harm", f"{name}: members on halted nodes", len(harm.stranded), "", bound),
        Figure("harm", f"{name}: groups left locked", len(harm.locked), "", bound),
    ]
