"""A node behind a guard and the same node without one, against hostile additions, copied markers and honest ones."""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import aiohttp

from orchestrator.membership.guard.judgement import GuardRules
from tests.benchmarks.figures import Figure, at_least, at_most, percentile
from tests.benchmarks.scale import Scale
from tests.fakes.guarded_network import APPLICATION, OTHER_KEY, GuardedNetwork, guarded_network
from tests.unit.guard import hazards
from tests.unit.guard.running_guard import Guard, guard

VICTIM: Final = 3
MARKER_MS: Final = 15.0
"""What a real node of 22.4.4 took to execute a marker."""
RULES: Final = GuardRules(most_transactions=10, refuse_unconfirmed=True)
"""The same for hostile and honest additions: a member's node of the operator's has to show what is passed."""
WITNESSES: Final = (2,)


async def _copied(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """An old addition's marker, after the group went on."""
    await network.create(group, 1, 2)
    payload, _ = await network.add(group, victim)
    await network.write(group, 2, key=OTHER_KEY)
    return payload


HOSTILE: Final[tuple[Callable[[GuardedNetwork, int, str], Awaitable[bytes]], ...]] = (
    hazards.poisoned,
    _copied,
    hazards.torn,
    hazards.former_member,
    _copied,
    hazards.huge,
    hazards.diverged_member,
    hazards.unlocked,
    hazards.forged,
    hazards.next_block,
    hazards.poisoned_lock,
    hazards.torn_unseen,
    hazards.left_out,
    hazards.false_roots,
    hazards.altered,
)


async def measure(_directory: Path, scale: Scale) -> list[Figure]:
    """Measure the part guard."""
    return [
        *await _hostile(scale.additions),
        *await _honest(scale.additions),
        *await _without_guard(scale.additions),
        *await _import_times(scale.imports),
    ]


@asynccontextmanager
async def _behind(network: GuardedNetwork) -> AsyncIterator[tuple[Guard, Guard]]:
    """Guards of the sending node and of the victim."""
    async with guard(network, 1) as sender, guard(network, VICTIM, RULES, witnesses=WITNESSES) as victim:
        yield sender, victim


async def _hostile(count: int) -> list[Figure]:
    harmed, began = 0, time.perf_counter()
    async with guarded_network() as network, _behind(network) as (_, standing):
        own = network.group("own")
        await network.create(own, VICTIM, 1)
        for number, hazard in enumerate(islice(cycle(HOSTILE), count)):
            group = network.group(f"hostile {number}")
            payload = await hazard(network, VICTIM, group)
            before = network.root(VICTIM, group)
            await network.block(network.marker(payload))
            await network.write(own, 1)
            same = network.root(VICTIM, group) == before and network.root(VICTIM, own) == network.root(1, own)
            harmed += network.halted(VICTIM) or not same
        note = f"{len(standing.decisions.all())} decisions, {time.perf_counter() - began:.0f} s"
    return [
        Figure("guard", f"with: harmed by {count} hostile additions and copied markers", harmed, "", at_most(0), note)
    ]


async def _honest(count: int) -> list[Figure]:
    async with guarded_network() as network, _behind(network) as (sender, standing):
        missed = 0
        for number in range(count):
            group = network.group(f"honest {number}")
            await network.create(group, 1, 2)
            await network.execute(b"\x01", group, 2, to=APPLICATION, key=OTHER_KEY)
            await network.add(group, VICTIM)
            missed += network.root(VICTIM, group) != network.root(2, group)
        refused = sum(_refused(one) for one in (sender, standing))
    return [
        Figure("guard", f"with: {count} honest additions, refused", refused, "", at_most(0)),
        Figure("guard", f"with: {count} honest additions, members without the group", missed, "", at_most(0)),
    ]


def _refused(standing: Guard) -> int:
    return sum(not decided.decision.passed for decided in standing.decisions.all())


async def _without_guard(most: int) -> list[Figure]:
    async with guarded_network() as network:
        for number, hazard in enumerate(islice(cycle(HOSTILE), most), 1):
            payload = await hazard(network, VICTIM, network.group(f"hostile {number}"))
            await network.block(network.marker(payload))
            if network.halted(VICTIM):
                return [Figure("guard", "without: hostile additions until the node halts", number, "", at_most(1))]
    return [Figure("guard", "without: hostile additions until the node halts", most, "", at_most(1))]


async def _import_times(count: int) -> list[Figure]:
    """Times of imports with and without a guard, in turn, so that what else the machine does meets both."""
    async with guarded_network(marker_ms=MARKER_MS) as network:
        group = network.group("G")
        await network.create(group, 1, VICTIM)
        times: dict[bool, list[float]] = {True: [], False: []}
        async with guard(network, VICTIM) as standing:
            for number in range(2 * count):
                guarded = number % 2 == 0
                link = network.network.nodes[VICTIM - 1].link
                assert link is not None
                link.url = standing.url if guarded else link.own_url
                payload = await network.distribute(b"\x01", group, to=APPLICATION)
                began = time.perf_counter()
                await network.block(network.marker(payload))
                times[guarded].append(time.perf_counter() - began)
            requests = await _request_times(standing.url, network.devnet.nodes[VICTIM - 1].enclave_url, 5 * count)
        with_guard, without = (1000 * percentile(times[guarded], 10) for guarded in (True, False))
    note = f"{with_guard:.2f} ms and {without:.2f} ms (10th percentiles), one marker of {MARKER_MS:.0f} ms a block"
    return [
        Figure("guard", "import of a block, with to without", with_guard / without, "", at_most(1.05), note),
        Figure("guard", "what a request takes more", requests, "ms", at_most(1.0), f"median of {5 * count}"),
        Figure("guard", "blocks measured", 2 * count, "", at_least(1)),
    ]


async def _request_times(guarded: str, direct: str, count: int) -> float:
    """How many milliseconds more a request for a payload takes through a guard, by medians of requests in turn."""
    times: dict[str, list[float]] = {guarded: [], direct: []}
    body = {"key": "5xf1quvp8gxZRvpSv54FMHO9Rsq37DAvNBe25ojxKNo=", "to": None}
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            for url, taken in times.items():
                began = time.perf_counter()
                async with session.post(f"{url}/receive", json=body) as response:
                    await response.read()
                taken.append(time.perf_counter() - began)
    return 1000 * (statistics.median(times[guarded]) - statistics.median(times[direct]))
