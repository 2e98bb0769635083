"""How long one sender's change takes while another one has thousands of requests waiting."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from orchestrator.membership.news.status import EventType
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.harness import Daemon, Devnet, ask_for, group_id, harness, trigger
from tests.benchmarks.scale import Scale

LONGER_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 120.0
TIMES: Final = 5


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part k."""
    async with harness(directory) as (devnet, daemon):
        store = directory / "orchestrator.db"
        alone = [await _one(f"alone-{number}", devnet, daemon, store) for number in range(TIMES)]
        flood = (f"flood-{number}" for number in range(scale.flood))
        await ask_for(
            daemon,
            (trigger(name, "create_group", group_id(name), devnet.members[:2], source="/flood") for name in flood),
        )
        beside = [await _one(f"beside-{number}", devnet, daemon, store) for number in range(TIMES)]
    note = f"{scale.flood:,} requests of another sender, {TIMES} changes one after the other"
    return [
        Figure("k", "a change alone, longest", max(alone), "s"),
        Figure("k", "a change beside a flood, longest", max(beside), "s", at_most(max(alone) + LONGER_SECONDS), note),
    ]


async def _one(name: str, devnet: Devnet, daemon: Daemon, store: Path) -> float:
    """Ask for a group and return after how long its change has succeeded, as another process sees it in the store."""
    begun = time.monotonic()
    await daemon.queue.request(trigger(name, "create_group", group_id(name), devnet.members[:2], source="/other"))
    ended = EventType.CHANGE_SUCCEEDED.value
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        while time.monotonic() - begun < PATIENCE_SECONDS:
            found = connection.execute("SELECT 1 FROM outbox WHERE request_id = ? AND type = ?", [name, ended])
            if found.fetchone() is not None:
                return time.monotonic() - begun
            await asyncio.sleep(0.02)
    raise TimeoutError(f"{name} did not succeed within {PATIENCE_SECONDS:g} s")
