"""How soon a replica goes on with the groups of another one that was killed or stopped, on PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Figure, at_most, percentile
from tests.benchmarks.scale import Scale
from tests.integration.takeover.replicas import Strike, Trial, two_replicas
from tests.servers.postgresql_server import PostgreSQLServer

LONGEST_SECONDS: Final = 10
STRIKES: Final[dict[Strike, str]] = {"kill": "SIGKILL", "stop": "SIGSTOP"}


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part j."""
    trials: dict[Strike, list[Trial]] = {how: [] for how in STRIKES}
    server = PostgreSQLServer()
    await asyncio.to_thread(server.start)
    try:
        async with two_replicas(directory, server, seed=1) as replicas:
            for _ in range(scale.takeovers):
                for how in STRIKES:
                    trials[how].append(await replicas.trial(how))
    finally:
        await asyncio.to_thread(server.close)
    figures = [figure for how in STRIKES for figure in _figures(STRIKES[how], trials[how])]
    every = [trial for found in trials.values() for trial in found]
    figures += [
        Figure("j", "calls that a woken replica sent", sum(len(trial.stale) for trial in every), "", at_most(0)),
        Figure("j", "groups and changes that ended wrong", sum(len(trial.wrong) for trial in every), "", at_most(0)),
    ]
    return figures


def _figures(name: str, trials: list[Trial]) -> list[Figure]:
    taken_over = [trial.taken_over_seconds for trial in trials]
    note = f"{len(trials)} times, {sum(trial.held for trial in trials)} groups at work"
    return [
        Figure("j", f"{name}: all groups taken over, longest", max(taken_over), "s", at_most(LONGEST_SECONDS), note),
        Figure("j", f"{name}: all groups taken over, p50", percentile(taken_over, 50), "s"),
        Figure("j", f"{name}: all changes ended, longest", max(trial.done_seconds for trial in trials), "s"),
    ]
