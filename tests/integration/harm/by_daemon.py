"""The changes of a load through the daemon, and whether what it says of each is so."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from orchestrator.devnet import Devnet
from orchestrator.membership.news.status import EventType
from tests.benchmarks.harness import ask_for, running_daemon, running_queue, trigger
from tests.benchmarks.watching import ENDED, Watch, watching
from tests.integration.harm.changes import FOUNDERS, Asked, draw_changes
from tests.integration.harm.load import Load, loaded
from tests.integration.harm.network import network
from tests.integration.harm.returns import find_return
from tests.integration.harm.truth import Harm, executed, find_harm, members_of, unreplayable_blocks
from tests.simulation.truth import Truth

REFUSALS: Final = frozenset({"block_not_replayable", "former_member_unsafe"})
"""What an addition may rightly be parked for on nodes that are well."""
_BLOCK: Final = re.compile(r"block (\d+): ")
_ASTRAY: Final = re.compile(r"member(\d+) executed the group last in block (\d+), and at block (\d+) does not show")
_REPLAYED_OVER: Final = re.compile(r"last in block (\d+) and replayed group (\S+) over it since")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRun:
    """How a run ended.

    Attributes:
        harm: What is wrong on the nodes.
        untrue: What the daemon said or promised and is not so, in a line each.
        refused: How many changes were parked, by why.
        changes: How many were asked for.
        blocks: From the first block of the load to the end of the last change.
        writes: How many transactions of applications nodes took.
        unreplayable: How many blocks no new member can replay.
        calls: JSON-RPC calls of the daemon, all told.
    """

    harm: Harm
    untrue: tuple[str, ...]
    refused: Counter[str]
    changes: int
    blocks: int
    writes: int
    unreplayable: int
    calls: int


async def change_by_daemon(directory: Path, load: Load, *, patience_seconds: float) -> DaemonRun:
    """Ask the daemon for all changes at once while the load lasts, and wait until each has ended.

    Args:
        directory: For its store and log.
        load: What goes on meanwhile.
        patience_seconds: How long.

    Raises:
        TimeoutError: A change did not end within that.
    """
    asked = draw_changes(load)
    async with (
        network(load) as (devnet, addresses),
        running_queue() as queue_url,
        running_daemon(directory, addresses, queue_url) as daemon,
        watching(addresses, daemon) as watch,
    ):
        began = devnet.emulation.network.chain.head.number
        async with loaded(devnet, load) as applications:
            keys = addresses.members
            for _, together in groupby(asked, attrgetter("round_number")):
                members = ((a, [keys[node - 1] for node in a.nodes]) for a in together)
                await ask_for(daemon, [trigger(a.request_id, a.kind, a.group, named) for a, named in members])
            # Where a node is halted changes wait for it for ever, and the claim is broken already.
            await watch.wait_for(lambda: len(_ends(watch)) >= len(asked) or _is_halted(devnet), patience_seconds)
            ended = devnet.emulation.network.chain.head.number
        ends = _ends(watch)
        parked = {request: data for request, (kind, data) in ends.items() if kind == EventType.CHANGE_PARKED}
        return DaemonRun(
            harm=find_harm(devnet, load.group_ids),
            untrue=tuple(_untrue(devnet, _as_accepted(watch, asked), ends)),
            refused=Counter(str(data["reason"]["slug"]) for data in parked.values()),
            changes=len(asked),
            blocks=ended - began,
            writes=applications.sent,
            unreplayable=len(unreplayable_blocks(devnet)),
            calls=(await daemon.counts())[0],
        )


def _ends(watch: Watch) -> dict[str, tuple[str, dict[str, Any]]]:
    return {seen.data["request_id"]: (seen.type, seen.data) for seen in watch.events if seen.type in ENDED}


def _is_halted(devnet: Devnet) -> bool:
    return any(node.halted is not None for node in devnet.emulation.network.nodes)


def _as_accepted(watch: Watch, asked: Sequence[Asked]) -> list[Asked]:
    """The changes in the order in which they were accepted; the events of a group are told in order."""
    by_id = {change.request_id: change for change in asked}
    accepted = (seen.data["request_id"] for seen in watch.events if seen.type == EventType.CHANGE_ACCEPTED)
    return [by_id[request_id] for request_id in dict.fromkeys(accepted)]


def _untrue(devnet: Devnet, asked: Sequence[Asked], ends: dict[str, tuple[str, dict[str, Any]]]) -> Iterator[str]:
    truth, unreplayable = executed(devnet), unreplayable_blocks(devnet)
    members = dict.fromkeys((a.group for a in asked), FOUNDERS)
    for change in asked:
        kind, data = ends.get(change.request_id, ("unfinished", {}))
        if not data:
            yield f"{change.request_id} did not end"
            continue
        if kind == EventType.CHANGE_SUCCEEDED:
            members[change.group] = change.after(members[change.group])
            continue
        slug, detail = data["reason"]["slug"], data["reason"]["detail"]
        if kind != EventType.CHANGE_PARKED or slug not in REFUSALS:
            yield f"{change.request_id} ended as {kind}: {data['reason']}"
        yield from _untrue_refusal(devnet, change, detail, truth, unreplayable)
    for group, expected in members.items():
        if (found_members := members_of(devnet, truth, group)) != expected:
            yield f"group {group}: its members are {sorted(found_members)}, accepted was {sorted(expected)}"


def _untrue_refusal(
    devnet: Devnet, change: Asked, detail: str, truth: Truth, unreplayable: frozenset[int]
) -> Iterator[str]:
    blocks = {number for number, _ in truth.executed(change.group)}
    if found := _BLOCK.search(detail):
        number = int(found.group(1))
        if number not in unreplayable or number not in blocks:
            yield f"{change.request_id} was refused for block {number}, which can be replayed: {detail}"
    elif found := _ASTRAY.search(detail):
        has = find_return(devnet, change.group, int(found.group(1)))
        if has is None or has.last != int(found.group(2)) or int(found.group(3)) not in has.astray:
            yield f"{change.request_id} was refused for what its member's node does not show ({has}): {detail}"
    elif found := _REPLAYED_OVER.search(detail):
        number, other = int(found.group(1)), found.group(2)
        in_other = {at for at, _ in truth.executed(other)}
        if not {number, number + 1} <= blocks or number not in in_other:
            yield f"{change.request_id} was refused for a replay that changed nothing: {detail}"
