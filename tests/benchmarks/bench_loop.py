"""How long the daemon's event loop is held by one callback while many groups move at once."""

import json
import signal
import sys
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.bench_lanes import Lanes
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.harness import harness
from tests.benchmarks.scale import Scale
from tests.benchmarks.watching import watching

MOST_MS: Final = 50


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part h."""
    found = await longest_callbacks(directory, scale.loop_groups)
    clock, processor = (found[name][0] for name in ("by_clock", "by_processor"))
    return [
        Figure(
            "h",
            "event loop held longest, processor time",
            processor["ms"],
            "ms",
            at_most(MOST_MS),
            f"{scale.loop_groups} groups",
        ),
        Figure("h", "event loop held longest, by the clock", clock["ms"], "ms", note="other processes' turns included"),
    ]


async def longest_callbacks(directory: Path, groups: int) -> dict[str, Any]:
    """Let so many groups be created and changed at once; return the longest callbacks, see `watched_daemon`."""
    result = directory / "callbacks.json"
    program = [sys.executable, "-m", "tests.benchmarks.watched_daemon", str(result)]
    async with harness(directory, program=program) as (devnet, daemon), watching(devnet, daemon) as watch:
        lanes = Lanes(devnet, daemon, watch)
        daemon.child.process.send_signal(signal.SIGUSR1)
        await lanes.additions(await lanes.groups_of_two(groups))
    found: dict[str, Any] = json.loads(result.read_text())
    return found
