"""What each node replayed: from the logs of additions in all groups that it holds, read once and kept."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from orchestrator.engine.history.branches import BranchWatch, holds_through
from orchestrator.engine.history.ports import HistoryStore, KeptLogs, Mark
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, NodeError, NodePort, is_silence
from orchestrator.engine.ports.records import OwnAdditions
from orchestrator.membership.forecast.blocks import ADDITION_BYTES
from orchestrator.membership.forecast.histories import Replay
from orchestrator.membership.forecast.memberships import MembershipLog, replays_of
from orchestrator.shared_reads import ReadingLock

MOST_BLOCKS: Final = 256
"""Blocks that are looked through for additions; over more of them logs are read."""
MOST_LATER: Final = 500
"""Groups of which logs are in memory only: beyond, all are read and kept anew."""


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
    """What is known of a node.

    Attributes:
        kept: The logs of all groups, as they were last read and kept.
        later: By group what was read since, of groups of which it is known that something happened.
        held: The groups that the node held when it was last looked at.
        looked: The block up to which it is known what happened.
        unseen: Why that may not be all.
        record: What follows of all this; None when it changed since.
    """

    kept: KeptLogs | None = None
    later: dict[str, tuple[MembershipLog, ...]] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    looked: int = 0
    unseen: str | None = None
    record: NodeRecord | None = None
    branches: BranchWatch = field(default_factory=BranchWatch)
    reading: ReadingLock = field(default_factory=partial(ReadingLock, is_silence))

    def restart(self, kept: KeptLogs) -> None:
        """Go on from what is kept."""
        self.kept, self.later, self.record = kept, {}, None
        self.held = frozenset(log.privacy_group_id for log in kept.logs)
        self.looked = kept.mark.number if kept.mark is not None else 0

    @property
    def logs(self) -> tuple[MembershipLog, ...]:
        """All logs; those of one group in the order of the chain."""
        kept = self.kept.logs if self.kept is not None else ()
        return (*kept, *(log for logs in self.later.values() for log in logs))


class NodeReplays:
    """Reads what nodes replayed.

    Args:
        store: Keeps it.
        own: Tells of our own additions which group they were made to; None when nobody can.
    """

    def __init__(self, store: HistoryStore, own: OwnAdditions | None = None) -> None:
        self._store = store
        self._own = own
        self._nodes: dict[str, _Node] = {}

    async def of(self, watcher: ChainWatcher, head: Head, about: str = "") -> NodeRecord:
        """Return what a node went through, up to a head.

        Args:
            watcher: The node.
            head: Its head.
            about: The group that is asked about: its removals count, too.

        Raises:
            NodeError: It does not answer.
            StoreError: What is kept can't be read or written.
        """
        key = watcher.node.enclave_keys[0]
        node = self._nodes.setdefault(key, _Node())
        async with node.reading.turn():
            if node.kept is None:
                node.restart(await self._store.membership_logs(key))
            kept = node.kept or KeptLogs()
            if kept.mark is not None and node.branches.may_have_left(watcher):
                holds = await holds_through(watcher, [(kept.mark.number, kept.mark.block_hash)]) is not None
                node.restart(kept if holds else KeptLogs())
                node.branches.settled(watcher)
            if kept.mark is None or head.number > node.looked or (about and about not in node.held):
                await self._advance(key, node, watcher, head, about)
            # Made anew when it changed: each addition asks, and a node has thousands of groups.
            if node.record is None:
                replays = replays_of(watcher.node.enclave_keys, node.held, node.logs)
                node.record = NodeRecord(replays=replays, logs=node.logs, unseen=node.unseen)
            return node.record

    async def _advance(self, key: str, node: _Node, watcher: ChainWatcher, head: Head, about: str) -> None:
        kept = node.kept or KeptLogs()
        markers = await _additions(watcher, node, head) if kept.mark is not None else None
        if markers == [] and (not about or about in node.held):
            # A replay needs an addition's marker: removals, and groups that were founded, are read with the next one.
            node.looked = head.number
            return
        node.record = None
        listed, node.unseen = await held_groups(watcher.node)
        held = frozenset(listed)
        fresh = held - node.held
        added = await self._added_to(markers)
        # When it is not known which groups changed, all are read: one replay that is overlooked loses a group.
        if kept.mark is None or added is None or len(node.later) + len(fresh) > MOST_LATER:
            await self._read_all(key, node, watcher, head, held)
            return
        wanted = ((added | {about}) & held) | fresh if added or fresh else frozenset[str]()
        before = frozenset(log.privacy_group_id for log in kept.logs)
        for groups, first in ((wanted & before, kept.mark.number + 1), (wanted - before, 0)):
            logs = await watcher.node.memberships(sorted(groups), first, head.number) if groups else ()
            of_group: dict[str, list[MembershipLog]] = {group: [] for group in groups}
            for log in logs:
                of_group[log.privacy_group_id].append(log)
            node.later |= {group: tuple(found) for group, found in of_group.items()}
        node.held, node.looked = held, head.number

    async def _read_all(self, key: str, node: _Node, watcher: ChainWatcher, head: Head, held: frozenset[str]) -> None:
        kept = node.kept or KeptLogs()
        before = frozenset(log.privacy_group_id for log in kept.logs)
        logs = [*kept.logs]
        since = kept.mark.number if kept.mark is not None else 0
        for groups, first in ((before & held, since + 1), (held - before, 0)):
            if groups:
                logs += await watcher.node.memberships(sorted(groups), first, head.number)
        mark = Mark(number=head.number, block_hash=head.block_hash)
        # A group that the node holds without a single log has no place in the store, and is asked for anew.
        await self._store.keep_membership_logs(key, logs, mark)
        node.restart(KeptLogs(logs=tuple(logs), mark=mark))
        node.held = held

    async def _added_to(self, markers: list[str] | None) -> frozenset[str] | None:
        """Return the groups that additions were made to by these markers; None: that is not known.

        A node has thousands of groups, and logs cost a call for each. Our own additions are known by their markers;
        of others' nobody but the group's members can tell which group they were made to.
        """
        if not markers:
            return None if markers is None else frozenset()
        if self._own is None:
            return None
        groups = await self._own.groups_of_additions(markers)
        return frozenset(groups.values()) if groups.keys() >= set(markers) else None


async def held_groups(node: NodePort) -> tuple[dict[str, tuple[str, ...]], str | None]:
    """Return the groups that a node holds with the members that it lists, and why there may be others; None for whole.

    Raises:
        NodeError: It does not answer.
    """
    try:
        return dict(await node.groups([])), None
    except NodeError as error:
        # A tenant is told of its own groups only (docs/besu.md#multi-tenancy).
        of_keys = [await node.groups([key]) for key in node.enclave_keys]
        unseen = f"node {node.name} does not list the groups that it left: {error}"
        return {group: members for found in of_keys for group, members in found.items()}, unseen


async def _additions(watcher: ChainWatcher, node: _Node, head: Head) -> list[str] | None:
    """Return the markers of additions to groups that had existed before, in the blocks since the last look.

    Blocks that nobody waited for are not in memory; to read one that is not known to be empty costs a call.

    Returns:
        Their hashes; None when there are too many blocks, or the chain is another one by now.
    """
    numbers = range(node.looked + 1, head.number + 1)
    if len(numbers) > MOST_BLOCKS:
        return None
    filled = [number for number in numbers if not watcher.is_empty(number)]
    if sum(watcher.remembered(number) is None for number in filled) > len(node.held):
        return None  # logs cost less
    blocks = await watcher.in_full(filled)
    newest = blocks[-1].block_hash if head.number in filled else watcher.hash_of(head.number)
    contents = [block.content for block in blocks if block.content is not None]
    if newest != head.block_hash or len(contents) < len(blocks):
        return None
    return [
        item.transaction_hash
        for content in contents
        for item in content.transactions
        if item.marker and item.data_bytes == ADDITION_BYTES
    ]
