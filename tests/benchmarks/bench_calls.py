"""JSON-RPC calls and blocks of a change, counted: blocks are made when nothing has been asked for a while.

So neither a busy machine nor a slow one changes the figures, and two versions can be compared at different hours.
"""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.membership.model import RESTING, Change, State
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.scale import Scale
from tests.integration.repair.engine_on_devnet import Running, running

QUIET_SECONDS: Final = 0.7
PATIENCE_SECONDS: Final = 300.0
BEFORE: Final = {"create_group": (25.6, 1), "add_members": (36.0, 5), "remove_members": (17.0, 1)}
"""Calls and blocks for each of 20 changes at once before markers of our own, forecasts and the window of two blocks."""


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure the part calls."""
    folder = directory / "calls"
    folder.mkdir()
    figures = []
    async with running(folder, block_period_seconds=0) as daemon:
        groups: list[str | None] = [None] * scale.counted_changes
        for kind, (calls_before, blocks_before) in BEFORE.items():
            members = daemon.keys[:2] if kind == "create_group" else daemon.keys[2:3]
            asked = [daemon.ask(f"{kind}-{n}", kind, members, group) for n, group in enumerate(groups)]
            changes, calls, blocks = await _done(daemon, asked)
            groups = [change.privacy_group_id for change in changes]
            # An addition right behind its creation waits for one block, and keeps two between its lock and itself.
            adds = 2 * (kind == "add_members")
            note = f"{calls_before} and {blocks_before} before; {len(changes)} at once"
            figures += [
                Figure("calls", f"{kind}: JSON-RPC calls each", calls, "", at_most(calls_before), note),
                Figure("calls", f"{kind}: blocks", blocks, "", at_most(blocks_before + adds)),
                Figure("calls", f"{kind}: succeeded", len(changes), "", at_least(scale.counted_changes)),
            ]
    return figures


async def _done(daemon: Running, asked: Sequence[Awaitable[Change]]) -> tuple[list[Change], float, int]:
    """Ask for changes; returns those that succeeded, the calls for each, and the blocks until all were at rest."""
    before, blocks = _calls(daemon), 0
    waiting = {(await one).change_id for one in asked}
    count, ended = len(waiting), list[Change]()
    seen, since = before, time.monotonic()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while waiting:
            await asyncio.sleep(0.02)
            now = _calls(daemon)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= QUIET_SECONDS:
                found = [await daemon.engine.store.change(change_id) for change_id in waiting]
                rest = [c for c in found if c is not None and c.state in RESTING and c.state is not State.QUEUED]
                ended += rest
                waiting -= {change.change_id for change in rest}
                if waiting:
                    await daemon.devnet.call(1, "devnet_mine", ["0x1"])
                    blocks += 1
                since = time.monotonic()
    return [c for c in ended if c.state is State.SUCCEEDED], (_calls(daemon) - before) / count, blocks


def _calls(daemon: Running) -> int:
    nodes = (watcher.node for watcher in daemon.engine.fleet.watchers)
    return sum(node.counts.calls for node in nodes if isinstance(node, BesuNode))
