"""What it costs the engine to be asked about changes hundreds of times a second."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.benchmarks.bench_lanes import Lanes, opened_lanes
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.readers import CONNECTIONS
from tests.benchmarks.scale import Scale

WANTED: Final = 550
"""Answers a second that are asked for: somewhat more than must come."""

PAIRS: Final = 3


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure the part ``read``."""
    alone: list[float] = []
    beside: list[float] = []
    rates: list[float] = []
    async with opened_lanes(directory) as lanes:
        await lanes.groups_of_two(CONNECTIONS)
        page = await lanes.daemon.get(f"/v1/changes?limit={CONNECTIONS}")
        urls = [f"{lanes.daemon.url}/v1/changes/{change['change_id']}" for change in page["changes"]]
        for _ in range(PAIRS):
            alone.append(await _round(lanes, scale.loop_groups))
            async with _readers(urls) as rate:
                beside.append(await _round(lanes, scale.loop_groups))
            rates.append(rate[0])
    ratio = statistics.median(beside) / statistics.median(alone)
    note = f"{scale.loop_groups} additions at once, {PAIRS} pairs of rounds: {_listed(beside)} s and {_listed(alone)} s"
    return [
        Figure("read", "GET /v1/changes/{id}, answers a second", min(rates), "", at_least(500), "the worst round"),
        Figure("read", "additions beside the readers, time to alone", ratio, "", at_most(1.1), note),
    ]


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in seconds)


async def _round(lanes: Lanes, groups: int) -> float:
    """Return the seconds from asking for an addition to each of some groups to the last one's end."""
    names = await lanes.groups_of_two(groups)
    begun = time.monotonic()
    await lanes.additions(names)
    return time.monotonic() - begun


@asynccontextmanager
async def _readers(urls: list[str]) -> AsyncIterator[list[float]]:
    """Read while the context lasts; the list holds the answers a second behind it."""
    command = [sys.executable, "-m", "tests.benchmarks.readers", str(WANTED), *urls]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    rate: list[float] = []
    try:
        yield rate
    finally:
        out, _ = await asyncio.wait_for(process.communicate(b""), 30)
        rate.append(float(out))
