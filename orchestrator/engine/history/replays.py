"""What each node replayed: from the logs of additions in all groups that it holds, read once and kept."""

import asyncio
from dataclasses import dataclass, field

from orchestrator.engine.history.branches import BranchWatch, holds_through
from orchestrator.engine.history.ports import HistoryStore, KeptLogs, Mark
from orchestrator.engine.node_ports import Head, NodeError
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.forecast.blocks import ADDITION_BYTES
from orchestrator.membership.forecast.histories import Replay
from orchestrator.membership.forecast.memberships import MembershipLog, replays_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """What a node went through.

    Attributes:
        replays: What it replayed, without the blocks.
        logs: Additions and removals in the groups that it holds.
        unseen: Why that may not be all, for a person; None when it is.
    """

    replays: tuple[Replay, ...]
    logs: tuple[MembershipLog, ...]
    unseen: str | None = None

    @property
    def first_hand(self) -> bool:
        """Whether it executed everything that it has at first hand."""
        return not self.replays and self.unseen is None


@dataclass(slots=True)
class _Node:
    kept: KeptLogs | None = None
    held: frozenset[str] = frozenset()
    quiet: int = 0
    unseen: str | None = None
    branches: BranchWatch = field(default_factory=BranchWatch)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class NodeReplays:
    """Reads what nodes replayed.

    Args:
        store: Keeps it.
    """

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._nodes: dict[str, _Node] = {}

    async def of(self, watcher: ChainWatcher, head: Head) -> NodeRecord:
        """Return what a node went through, up to a head.

        Args:
            watcher: The node.
            head: Its head.

        Raises:
            NodeError: It does not answer.
            StoreError: What is kept can't be read or written.
        """
        key = watcher.node.enclave_keys[0]
        node = self._nodes.setdefault(key, _Node())
        async with node.reading:
            if node.kept is None:
                node.kept = await self._store.membership_logs(key)
                node.held = frozenset(log.privacy_group_id for log in node.kept.logs)
            mark = node.kept.mark
            if mark is not None and node.branches.may_have_left(watcher):
                if await holds_through(watcher, [(mark.number, mark.block_hash)]) is None:
                    node.kept, node.held, node.quiet = KeptLogs(), frozenset(), 0
                node.branches.settled(watcher)
            if node.kept.mark is None or head.number > max(node.quiet, node.kept.mark.number):
                await self._advance(key, node, watcher, head)
            return NodeRecord(
                replays=replays_of(watcher.node.enclave_keys, node.held, node.kept.logs),
                logs=node.kept.logs,
                unseen=node.unseen,
            )

    async def _advance(self, key: str, node: _Node, watcher: ChainWatcher, head: Head) -> None:
        kept = node.kept or KeptLogs()
        held, node.unseen = await _held(watcher)
        since = kept.mark.number if kept.mark is not None else 0
        fresh = sorted(held - node.held)
        if not fresh and kept.mark is not None and _quiet(watcher, max(node.quiet, since), head.number):
            node.quiet = head.number  # a replay needs an addition's marker; removals are read with the next one
            return
        logs = [*kept.logs]
        if node.held:
            logs += await watcher.node.memberships(sorted(node.held & held), since + 1, head.number)
        if fresh:
            logs += await watcher.node.memberships(fresh, 0, head.number)
        mark = Mark(number=head.number, block_hash=head.block_hash)
        # A group that the node holds without a single log has no place in the store, and is asked for anew.
        await self._store.keep_membership_logs(key, logs, mark)
        node.kept, node.held, node.quiet = KeptLogs(logs=tuple(logs), mark=mark), held, head.number


async def _held(watcher: ChainWatcher) -> tuple[frozenset[str], str | None]:
    """Return the groups that a node holds, and why there may be others."""
    try:
        return frozenset(await watcher.node.groups([])), None
    except NodeError as error:
        # A tenant is told of its own groups only (docs/besu.md#multi-tenancy).
        of_keys = [await watcher.node.groups([key]) for key in watcher.node.enclave_keys]
        unseen = f"node {watcher.node.name} does not list the groups that it left: {error}"
        return frozenset(group for found in of_keys for group in found), unseen


def _quiet(watcher: ChainWatcher, above: int, through: int) -> bool:
    """Return whether it is known that no block holds an addition to a group that had existed before."""
    for number in range(above + 1, through + 1):
        block = watcher.remembered(number)
        if block is None or block.content is None:
            return False
        if any(item.marker and item.data_bytes == ADDITION_BYTES for item in block.content.transactions):
            return False
    return True
