"""Groups' histories: read once on a healthy member's node, kept, and taken on from where they were left."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Final

from orchestrator.engine.history.branches import BranchWatch, holds_through
from orchestrator.engine.history.changes import ROOTS_AT_ONCE, Bounds, scan_changes, split_changes
from orchestrator.engine.history.examinations import ExaminedBlocks
from orchestrator.engine.history.ports import HistoryStore, KeptBlocks, Mark
from orchestrator.engine.history.work import Work, work_in
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head
from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory

REMEMBERED_GROUPS: Final = 500
READ_AT_A_TIME: Final = Bounds()
"""What one reading costs at most; what is left is read the next time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHistory:
    """A group's history as far as it was read.

    Attributes:
        history: The blocks.
        examinations: What they are to a replay.
        complete: Whether it reaches the head that was asked for.
    """

    history: GroupHistory
    examinations: dict[int, Examination]
    complete: bool


@dataclass(slots=True)
class _Group:
    kept: KeptBlocks | None = None
    reader: str = ""
    branches: BranchWatch = field(default_factory=BranchWatch)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class GroupHistories:
    """Reads groups' histories.

    Args:
        store: Keeps them.
        examined: Examines their blocks.
    """

    def __init__(self, store: HistoryStore, examined: ExaminedBlocks) -> None:
        self._store = store
        self._examined = examined
        self._groups: OrderedDict[str, _Group] = OrderedDict()

    async def read(
        self, privacy_group_id: str, watcher: ChainWatcher, head: Head, *, first_hand: bool, shown: str = ""
    ) -> ReadHistory:
        """Return a group's history through a head.

        Args:
            privacy_group_id: The group.
            watcher: A healthy member's node.
            head: A block of that node's chain.
            first_hand: Whether that node never replayed anything, so that its roots can be trusted at every block.
            shown: The group's root that this node has just shown at that head; empty text to ask for it.

        Raises:
            NodeError: The node does not answer.
            StoreError: What is kept can't be read or written.
        """
        group = self._group(privacy_group_id)
        # One reading for all who ask: a long history would be read by each of them.
        async with group.reading:
            if group.kept is None:
                group.kept = await self._store.group_blocks(privacy_group_id)
            # What is kept was read from a chain that may have gone back since: blocks of the branch that it left are
            # dropped.
            if group.branches.may_have_left(watcher):
                group.kept = await self._on_branch(privacy_group_id, group.kept, watcher, first_hand=first_hand)
                group.branches.settled(watcher)
            kept, fresh = await self._advance(
                privacy_group_id, group.kept, watcher, head, first_hand=first_hand, shown=shown
            )
            group.kept, group.reader = kept, watcher.node.name
        mark = kept.mark or Mark(number=0, block_hash="")
        history = GroupHistory(
            privacy_group_id=privacy_group_id,
            blocks=kept.blocks,
            through=mark.number,
            through_hash=mark.block_hash,
        )
        numbers = [block.number for block in kept.blocks if block.number not in fresh]
        examinations = fresh | await self._examined.examine(numbers, watcher)
        return ReadHistory(history=history, examinations=examinations, complete=mark.number >= head.number)

    def work(self, privacy_group_id: str) -> Work | None:
        """Return what the blocks of a group hold, as it was last read here; None where that is not in memory."""
        group = self._groups.get(privacy_group_id)
        if group is None or group.kept is None:
            return None
        numbers = [block.number for block in group.kept.blocks]
        known = self._examined.known(numbers, group.reader)
        return work_in(numbers, known) if len(known) == len(numbers) else None

    async def _advance(
        self,
        privacy_group_id: str,
        kept: KeptBlocks,
        watcher: ChainWatcher,
        head: Head,
        *,
        first_hand: bool,
        shown: str,
    ) -> tuple[KeptBlocks, dict[int, Examination]]:
        low = kept.mark.number if kept.mark is not None else 0
        if low >= head.number:
            return kept, {}
        node, roots = watcher.node, [block.state_root for block in kept.blocks]
        find = (
            partial(split_changes, low_root=roots[-1] if roots else "", high_root=shown)
            if first_hand
            else partial(scan_changes, known=roots)
        )
        found = await find(
            node, privacy_group_id, low=low, high=head.number, bounds=READ_AT_A_TIME, is_empty=watcher.is_empty
        )
        examinations = await self._examined.examine([number for number, _ in found.changes], watcher)
        fresh = tuple(
            GroupBlock(number=number, block_hash=examinations[number].block_hash, state_root=root)
            for number, root in found.changes
        )
        mark = Mark(number=head.number, block_hash=head.block_hash)
        # Not read to the end: the mark goes to the last change that was found, from where splitting has a root to
        # compare with.
        if found.through < head.number:
            if not fresh:
                return await self._left_open(privacy_group_id, kept, watcher, found.through), {}
            mark = Mark(number=fresh[-1].number, block_hash=fresh[-1].block_hash)
        await self._store.keep_group_blocks(privacy_group_id, low, fresh, mark)
        return KeptBlocks(blocks=(*kept.blocks, *fresh), mark=mark), examinations

    async def _left_open(
        self, privacy_group_id: str, kept: KeptBlocks, watcher: ChainWatcher, through: int
    ) -> KeptBlocks:
        """Keep that nothing happened up to a block."""
        block = await watcher.node.block(through)
        mark = Mark(number=through, block_hash=block.block_hash)
        await self._store.keep_group_blocks(privacy_group_id, through, (), mark)
        return KeptBlocks(blocks=kept.blocks, mark=mark)

    async def _on_branch(
        self, privacy_group_id: str, kept: KeptBlocks, watcher: ChainWatcher, *, first_hand: bool
    ) -> KeptBlocks:
        """Drop what is of a branch that the chain has left, and what a member that executed everything never showed."""
        if kept.mark is None:
            return kept
        hashes = [(block.number, block.block_hash) for block in reversed(kept.blocks)]
        through = await holds_through(watcher, [(kept.mark.number, kept.mark.block_hash), *hashes])
        # A node that has replayed may have fallen back, and show less than there is: to drop that would hide a danger.
        if through is not None and first_hand:
            through = await _shown_through(watcher, privacy_group_id, kept, through)
        if through == kept.mark.number:
            return kept
        blocks = tuple(block for block in kept.blocks if block.number <= (through or 0))
        mark = (
            Mark(number=blocks[-1].number, block_hash=blocks[-1].block_hash)
            if blocks
            else Mark(number=0, block_hash="")
        )
        await self._store.keep_group_blocks(privacy_group_id, mark.number, (), mark)
        return KeptBlocks(blocks=blocks, mark=mark)

    def _group(self, privacy_group_id: str) -> _Group:
        group = self._groups.setdefault(privacy_group_id, _Group())
        self._groups.move_to_end(privacy_group_id)
        while len(self._groups) > REMEMBERED_GROUPS:
            self._groups.popitem(last=False)
        return group


async def _shown_through(watcher: ChainWatcher, privacy_group_id: str, kept: KeptBlocks, through: int) -> int | None:
    """Return the newest block through which kept blocks are a member's node's own; None when none of them is.

    An audit may have read the group on a node that only said that it had it: that one can't know a state of it.

    Args:
        watcher: The member's node.
        privacy_group_id: The group.
        kept: The blocks.
        through: Where they leave the node's chain.

    Raises:
        NodeError: It does not answer.
    """
    head = (await watcher.current()).number
    blocks = [block for block in reversed(kept.blocks) if block.number <= min(through, head)]
    # The newest first: mostly the node shows it, and all before it with it.
    for start, end in pairwise([0, *range(1, len(blocks), ROOTS_AT_ONCE), len(blocks)]):
        some = blocks[start:end]
        views = await watcher.node.roots(privacy_group_id, [block.number for block in some]) if some else ()
        for block, view in zip(some, views, strict=True):
            if view.state_root == block.state_root:
                return through if block is blocks[0] else block.number
    return None if blocks else through
