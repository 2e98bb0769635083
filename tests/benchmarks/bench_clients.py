"""Against ``web3js-quorum``: the same additions on the same emulated nodes, in one run."""

import asyncio
import json
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from orchestrator.cli.demo.processes import ProcessError
from orchestrator.membership.news.status import EventType
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.harness import (
    BLOCK_SECONDS,
    OWNER_KEY,
    RECORDED,
    SHARED,
    Costs,
    Daemon,
    Devnet,
    ask_for,
    group_id,
    harness,
    trigger,
)
from tests.benchmarks.scale import Scale
from tests.benchmarks.two_blocks import add_all, sign_additions
from tests.benchmarks.watching import Watch, watching

VERSION: Final = "22.4.4"
"""The newest Besu whose contract the library's last release can speak."""

PATIENCE_SECONDS: Final = 300.0
_FOLDER: Final = Path(__file__).parents[1] / "clients/web3js-quorum"
_SCRIPT: Final = Path(__file__).parent / "baselines/additions.js"


class _Comparison:
    """Additions to groups of their own, by one way or another."""

    def __init__(self, devnet: Devnet, daemon: Daemon, watch: Watch) -> None:
        self._devnet = devnet
        self._daemon = daemon
        self._watch = watch
        self._made = 0

    async def groups(self, count: int, members: int) -> list[str]:
        """Create groups of all but the last of some members; returns their ids."""
        names = [f"group-{number}" for number in range(self._made, self._made + count)]
        self._made += count
        keys = self._devnet.members[: members - 1]
        await ask_for(self._daemon, [trigger(f"create-{n}", "create_group", group_id(n), keys) for n in names])
        await self._watch.wait_for_ends([f"create-{name}" for name in names], PATIENCE_SECONDS)
        return [group_id(name) for name in names]

    async def by_daemon(self, groups: Sequence[str], new_key: str, moment: float) -> tuple[float, float]:
        """Return the seconds to the verified outcome of all, and to the proof of all."""
        wanted = set(groups)
        seen_from = len(self._watch.events)
        await self._wait_for(moment)
        begun = time.monotonic()
        await ask_for(self._daemon, [trigger(f"add-{group}", "add_members", group, [new_key]) for group in groups])
        ends = await self._watch.wait_for_ends([f"add-{group}" for group in groups], PATIENCE_SECONDS)
        verified = [
            seen.at
            for seen in self._watch.events[seen_from:]
            if seen.type == EventType.GROUP_MEMBERS_CHANGED.value and seen.data["privacy_group_id"] in wanted
        ]
        return max(verified) - begun, max(seen.at for seen in ends.values()) - begun

    async def by_two_blocks(self, groups: Sequence[str], new_key: str, moment: float) -> float:
        """Return the seconds until a client that only waits for two blocks has the receipts of all."""
        additions = await sign_additions(self._devnet, groups, new_key)
        await self._wait_for(moment)
        begun = time.monotonic()
        await add_all(self._devnet, self._watch, additions)
        return time.monotonic() - begun

    async def by_library(self, groups: Sequence[str], new_key: str, moment: float, *, together: bool) -> float:
        """Return the seconds until the library has the receipts of all."""
        plan = {
            "url": self._devnet.http(1),
            "chainId": 1337,
            "privateKey": OWNER_KEY,
            "enclaveKey": self._devnet.members[0],
            "newKey": new_key,
            "groups": list(groups),
            "together": together,
        }
        process = await asyncio.create_subprocess_exec(
            _node(),
            str(_SCRIPT),
            json.dumps(plan),
            cwd=_FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it was started with pipes")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await process.stdout.readline()
                await self._wait_for(moment)
                process.stdin.write(b"\n")
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode or not output:
            raise ProcessError(f"web3js-quorum ended with {process.returncode}: {errors.decode()[-1000:]}")
        found = json.loads(output.splitlines()[-1])  # the library has its own to say before
        if found["added"] != len(groups):
            raise ProcessError(f"web3js-quorum added {found['added']} of {len(groups)}")
        return float(found["seconds"])

    async def _wait_for(self, moment: float) -> None:
        """Wait for a moment of the block period: where in it work begins decides much."""
        await self._watch.wait_for_block()
        await asyncio.sleep(moment * BLOCK_SECONDS)


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part a."""
    async with _comparison(directory / "idle", scale, RECORDED) as (run, devnet):
        figures = await _main_figures(run, devnet, scale)
        for members in scale.members:
            for count in scale.client_sizes:
                if (members, count) != (scale.members[0], scale.client_groups):
                    figures += await _size(run, devnet, members, count)
    if scale.client_sizes:
        async with _comparison(directory / "shared", scale, SHARED) as (run, devnet):
            figures += await _size(run, devnet, scale.members[0], scale.client_groups, ", two processors")
    return figures


@asynccontextmanager
async def _comparison(directory: Path, scale: Scale, costs: Costs) -> AsyncIterator[tuple[_Comparison, Devnet]]:
    await asyncio.to_thread(directory.mkdir)
    async with (
        harness(directory, nodes=max(scale.members), version=VERSION, costs=costs) as (devnet, daemon),
        watching(devnet, daemon) as watch,
    ):
        yield _Comparison(devnet, daemon, watch), devnet


async def _main_figures(run: _Comparison, devnet: Devnet, scale: Scale) -> list[Figure]:
    members, count = scale.members[0], scale.client_groups
    new_key = devnet.members[members - 1]
    moments = [(index + 0.5) / scale.client_rounds for index in range(scale.client_rounds)]
    ours = [await run.by_daemon(await run.groups(count, members), new_key, moment) for moment in moments]
    together = [
        await run.by_library(await run.groups(count, members), new_key, moment, together=True) for moment in moments
    ]
    ideal = [await run.by_two_blocks(await run.groups(count, members), new_key, moment) for moment in moments]
    few = scale.sequential_groups
    one_by_one = await run.by_library(await run.groups(few, members), new_key, moments[0], together=False)
    sequential = one_by_one * count / few
    verified = statistics.mean(seconds for seconds, _ in ours)
    title = f"{count} groups of {members}"
    reckoned = "" if few == count else f"reckoned from {few} groups"
    return [
        Figure("a", f"{title}: daemon, to the verified outcome", verified, "s", note=_all(s for s, _ in ours)),
        Figure("a", f"{title}: daemon, to the proof", statistics.mean(seconds for _, seconds in ours), "s"),
        Figure("a", f"{title}: web3js-quorum, Promise.all", statistics.mean(together), "s", note=_all(together)),
        Figure("a", f"{title}: web3js-quorum, one by one", sequential, "s", note=reckoned),
        Figure("a", f"{title}: two blocks and nothing else", statistics.mean(ideal), "s", note=_all(ideal)),
        Figure("a", "times what two blocks take", verified / statistics.mean(ideal), "", at_most(1.3)),
        Figure("a", "times faster than Promise.all", statistics.mean(together) / verified, ""),
        Figure("a", "times faster than one by one", sequential / verified, "", at_least(10)),
    ]


async def _size(run: _Comparison, devnet: Devnet, members: int, count: int, where: str = "") -> list[Figure]:
    new_key = devnet.members[members - 1]
    verified, _ = await run.by_daemon(await run.groups(count, members), new_key, 0.1)
    library = await run.by_library(await run.groups(count, members), new_key, 0.1, together=True)
    name = f"{count} groups of {members}{where}: times faster than Promise.all"
    return [Figure("a", name, library / verified, "", note=f"{verified:.1f} s, {library:.1f} s")]


def _all(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise ProcessError("node is not installed: run `make setup`")
    return found
