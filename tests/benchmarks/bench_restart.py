"""Starting on a long queue: memory, and the time until the first step is committed."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from orchestrator.membership.model import Change
from orchestrator.membership.news.status import EventType
from orchestrator.store import migrate
from tests.benchmarks.bench_store import fill
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.harness import OWNER, Devnet, group_id, running_daemon, running_devnet, running_queue
from tests.benchmarks.scale import Scale
from tests.fakes.changes import a_change

THE_BOUND: Final = 100_000
_PATIENCE_SECONDS: Final = 60.0


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part f."""
    figures: list[Figure] = []
    async with running_devnet(directory) as devnet:
        for waiting in scale.waiting:
            place = directory / str(waiting)
            await asyncio.to_thread(_prepare, place, devnet, waiting)
            figures += await _restart(place, devnet, waiting, scale.settle_seconds)
    return figures


def _prepare(place: Path, devnet: Devnet, waiting: int) -> None:
    """Let changes wait: half of them in one group, half in groups of their own."""
    place.mkdir()
    url = f"sqlite:///{place}/orchestrator.db"
    migrate(url)

    def waiting_change(number: int) -> Change:
        group = group_id("busy" if number % 2 else str(number))
        return a_change(str(number), group, account=OWNER, members=devnet.members[2:3])

    fill(url, waiting, waiting_change)


async def _restart(place: Path, devnet: Devnet, waiting: int, settle_seconds: float) -> list[Figure]:
    async with running_queue() as queue_url:
        begun = time.monotonic()
        started = asyncio.create_task(_first_step(place / "orchestrator.db", begun))
        async with running_daemon(place, devnet, queue_url) as daemon:
            first = await started
            await asyncio.sleep(settle_seconds)
            memory = daemon.child.peak_memory_mib()
            cpu = daemon.child.cpu_seconds()
    bounded = waiting == THE_BOUND
    name = f"{waiting:,} waiting changes"
    return [
        Figure("f", f"{name}: first step after the start of the process", first, "s", at_most(5) if bounded else None),
        Figure("f", f"{name}: most memory", memory, "MiB", at_most(300) if bounded else None),
        Figure("f", f"{name}: processor time in the first {settle_seconds:g} s", cpu, "s"),
    ]


async def _first_step(path: Path, begun: float) -> float:
    """Return when the first change was started, as another process sees it in the store."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        while time.monotonic() - begun < _PATIENCE_SECONDS:
            found = connection.execute("SELECT 1 FROM outbox WHERE type = ? LIMIT 1", [EventType.CHANGE_STARTED.value])
            if found.fetchone() is not None:
                return time.monotonic() - begun
            await asyncio.sleep(0.02)
    raise TimeoutError("no change was started")
