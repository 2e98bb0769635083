"""How soon a daemon that was killed is back at work: at every point of the crash matrix, few runs at a time."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Figure, at_most, percentile
from tests.benchmarks.scale import Scale
from tests.integration.crash.launcher import Point
from tests.integration.crash.two_runs import Harness, Recovery, harness
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer

AT_ONCE: Final = 3
"""Runs on two processors: each waits for blocks most of the time."""


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part i."""
    if not scale.deaths:
        return []
    server = NatsServer()
    await asyncio.to_thread(server.start)
    try:
        figures = await _on_store("SQLite", directory / "sqlite", server.url, None, scale.deaths)
        with PostgreSQLServer() as postgresql:
            figures += await _on_store("PostgreSQL", directory / "postgresql", server.url, postgresql, scale.deaths)
    finally:
        await asyncio.to_thread(server.close)
    return figures


async def _on_store(
    name: str, directory: Path, nats_url: str, postgresql: PostgreSQLServer | None, kinds: Sequence[str]
) -> list[Figure]:
    await asyncio.to_thread(directory.mkdir)
    recoveries: list[Recovery] = []
    deaths = 0
    async with harness(directory, nats_url, postgresql) as set_up:
        for kind in kinds:
            died, found = await _die_everywhere(set_up, kind)
            deaths += died
            recoveries += found
    seconds = [recovery.seconds for recovery in recoveries]
    note = f"killed at {deaths} points, {len(seconds)} with work left; {AT_ONCE} runs at once"
    return [
        Figure("i", f"{name}: back at work after SIGKILL, longest", max(seconds), "s", at_most(2), note),
        Figure("i", f"{name}: back at work after SIGKILL, p50", percentile(seconds, 50), "s"),
    ]


async def _die_everywhere(set_up: Harness, kind: str) -> tuple[int, list[Recovery]]:
    undisturbed = await set_up.run_twice(kind, None)
    points = sorted({moment.point for moment in undisturbed.first_run if moment.point.number > 0})
    places = asyncio.Semaphore(AT_ONCE)

    async def die_at(point: Point) -> tuple[bool, Recovery | None]:
        async with places:
            end = await set_up.run_twice(kind, point)
            return end.died, end.recovery

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(die_at(point)) for point in points]
    ends = [task.result() for task in running]
    return sum(died for died, _ in ends), [recovery for died, recovery in ends if died and recovery is not None]
