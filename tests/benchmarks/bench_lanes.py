"""Many groups at once, and many additions to one: lock windows, blocks, latency, calls and processor time."""

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.membership.news.status import EventType
from tests.benchmarks.figures import Figure, at_least, at_most, percentile
from tests.benchmarks.harness import Daemon, Devnet, ask_for, group_id, harness, trigger
from tests.benchmarks.scale import Scale
from tests.benchmarks.watching import Seen, Watch, watching

PROOF_BLOCKS: Final = 3
SAFE_WINDOW: Final = 2
"""In the block after the lock's an addition rolls back other groups of the new member's node."""
PATIENCE_SECONDS: Final = 300.0
ADDS_TO_ONE_GROUP: Final = 20
THE_HUNDRED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of additions, one to each of many groups, came to.

    Attributes:
        groups: How many.
        lock_windows: By group, from the lock's block to the addition's.
        blocks: From the first lock's block, counted as the first, to the block at whose time the last was proven.
        latencies_ms: By group, from the arrival of its proof's last block at all nodes to its event.
        together: How many were proven by the same block, at most.
        calls: JSON-RPC calls for each change.
        requests: HTTP requests for each change.
        cpu_seconds: Processor time of the daemon for each change.
        memory_mib: Of the daemon, at the end.
    """

    groups: int
    lock_windows: tuple[int, ...]
    blocks: int
    latencies_ms: tuple[float, ...]
    together: int
    calls: float
    requests: float
    cpu_seconds: float
    memory_mib: float


class Lanes:
    """Groups on one harness; each round has new ones."""

    def __init__(self, devnet: Devnet, daemon: Daemon, watch: Watch) -> None:
        self.devnet = devnet
        self.daemon = daemon
        self.watch = watch
        self._made = 0

    async def groups_of_two(self, count: int) -> list[str]:
        """Create groups of the first two nodes."""
        names = [f"group-{number}" for number in range(self._made, self._made + count)]
        self._made += count
        requests = [
            trigger(f"create-{name}", "create_group", group_id(name), self.devnet.members[:2]) for name in names
        ]
        await ask_for(self.daemon, requests)
        await self.watch.wait_for_ends([f"create-{name}" for name in names], PATIENCE_SECONDS)
        return names

    async def additions(self, names: Sequence[str]) -> Round:
        """Add the third node to each of some groups, all asked for at once, shortly after a block."""
        await self.watch.wait_for_block()
        await asyncio.sleep(0.3)  # what the block brought is over
        before, cpu = await self.daemon.counts(), self.daemon.child.cpu_seconds()
        new = self.devnet.members[2:3]
        requests = [trigger(f"add-{name}", "add_members", group_id(name), new) for name in names]
        await ask_for(self.daemon, requests)
        ends = await self.watch.wait_for_ends([f"add-{name}" for name in names], PATIENCE_SECONDS)
        after, used = await self.daemon.counts(), self.daemon.child.cpu_seconds() - cpu
        unlocked = self._unlocked({group_id(name) for name in names})
        lasts = [_effect_block(seen) + PROOF_BLOCKS for seen in ends.values()]
        return Round(
            groups=len(names),
            lock_windows=tuple(data["locked_blocks"] for data in unlocked),
            blocks=max(seen.head for seen in ends.values()) - min(d["locked_since_block"] for d in unlocked) + 1,
            latencies_ms=tuple(
                (seen.at - self.watch.arrivals[_effect_block(seen) + PROOF_BLOCKS][1]) * 1000 for seen in ends.values()
            ),
            together=max(lasts.count(block) for block in set(lasts)),
            calls=(after[0] - before[0]) / len(names),
            requests=(after[1] - before[1]) / len(names),
            cpu_seconds=used / len(names),
            memory_mib=self.daemon.child.memory_mib(),
        )

    def _unlocked(self, groups: set[str]) -> list[dict[str, int]]:
        return [
            seen.data
            for seen in self.watch.events
            if seen.type == EventType.GROUP_UNLOCKED.value and seen.data["privacy_group_id"] in groups
        ]


@asynccontextmanager
async def opened_lanes(directory: Path, *, nodes: int = 3) -> AsyncIterator[Lanes]:
    """Open a harness with three nodes, or as many as asked for, and watch it."""
    async with harness(directory, nodes=nodes) as (devnet, daemon), watching(devnet, daemon) as watch:
        yield Lanes(devnet, daemon, watch)


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure parts b, c, d and g."""
    rounds: list[Round] = []
    async with opened_lanes(directory) as lanes:
        for count in scale.groups_at_once:
            for _ in range(scale.rounds if count == THE_HUNDRED else 1):
                names = await lanes.groups_of_two(count)
                rounds.append(await lanes.additions(names))
    hundreds = [found for found in rounds if found.groups == THE_HUNDRED]
    return [*_windows(hundreds), *_latency(hundreds), *_calls(rounds, hundreds), *_cost(rounds)]


async def measure_one_group(directory: Path, _: Scale) -> list[Figure]:
    """Measure many additions to one group (part b)."""
    async with opened_lanes(directory, nodes=ADDS_TO_ONE_GROUP + 2) as lanes:
        blocks, transactions = await _many_to_one(lanes)
    name = f"{ADDS_TO_ONE_GROUP} additions to one group"
    return [
        Figure("b", f"{name}: all proven within", blocks, "blocks", at_most(6), "from the lock's block on"),
        Figure("b", f"{name}: private transactions", transactions, "", at_most(2)),
    ]


async def _many_to_one(lanes: Lanes) -> tuple[int, int]:
    (name,) = await lanes.groups_of_two(1)
    group, watch = group_id(name), lanes.watch
    await watch.wait_for_block()
    await asyncio.sleep(0.3)
    requests = {f"add-{number}": key for number, key in enumerate(lanes.devnet.members[2:])}
    await ask_for(lanes.daemon, [trigger(request, "add_members", group, [key]) for request, key in requests.items()])
    ends = await watch.wait_for_ends(list(requests), PATIENCE_SECONDS)
    locks = [s.data["block_number"] for s in watch.events if s.type == EventType.GROUP_LOCKED.value]
    transactions = 2 * len(locks)  # each lock has one addition: all have succeeded
    return max(seen.head for seen in ends.values()) - min(locks) + 1, transactions


def _effect_block(seen: Seen) -> int:
    return int(seen.data["effect"]["block_number"])


def _windows(hundreds: Sequence[Round]) -> list[Figure]:
    windows = [window for found in hundreds for window in found.lock_windows]
    share = 100 * windows.count(SAFE_WINDOW) / len(windows)
    note = f"{len(windows)} additions, {THE_HUNDRED} groups in flight"
    return [
        Figure("b", "lock window of two blocks", share, "%", at_least(99), note),
        Figure("b", "shortest lock window", min(windows), "blocks", at_least(SAFE_WINDOW)),
        Figure("b", "lock window p50", percentile(windows, 50), "blocks"),
        Figure("b", "lock window p99", percentile(windows, 99), "blocks"),
        Figure(
            "b",
            f"{THE_HUNDRED} groups with an addition each: all proven within",
            max(found.blocks for found in hundreds),
            "blocks",
            at_most(6),
            "worst round, from the first lock's block on",
        ),
    ]


def _latency(hundreds: Sequence[Round]) -> list[Figure]:
    """The best round tells what the daemon does; the others what the machine was doing besides."""
    best = min(hundreds, key=lambda found: percentile(found.latencies_ms, 99))
    rest = ", ".join(f"{percentile(found.latencies_ms, 99):.0f}" for found in hundreds)
    note = f"{best.together} changes ended in one block; p99 by round: {rest}"
    return [
        Figure("c", "block → status event p50", percentile(best.latencies_ms, 50), "ms"),
        Figure("c", "block → status event p99", percentile(best.latencies_ms, 99), "ms", at_most(150), note),
    ]


def _calls(rounds: Sequence[Round], hundreds: Sequence[Round]) -> list[Figure]:
    figures = []
    for found in rounds:
        if found in hundreds[1:]:
            continue
        bounded = found.groups >= THE_HUNDRED
        name = f"for each change, {found.groups} pending"
        figures += [
            Figure("d", f"JSON-RPC calls {name}", found.calls, "", at_most(40) if bounded else None),
            Figure("d", f"HTTP requests {name}", found.requests, "", at_most(20) if bounded else None),
        ]
    return figures


def _cost(rounds: Sequence[Round]) -> list[Figure]:
    figures = []
    for count in dict.fromkeys(found.groups for found in rounds):
        alike = [found for found in rounds if found.groups == count]
        cost = statistics.median(found.cpu_seconds for found in alike) * 1000
        figures.append(Figure("g", f"processor time for 1,000 changes, {count} at once", cost, "s"))
    figures.append(Figure("g", "memory after all rounds", rounds[-1].memory_mib, "MiB"))
    return figures
