"""What blocks are to a replay: each block that matters is read once per chain, and kept."""

from collections.abc import Sequence
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.history.branches import BranchWatch, holds_through
from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, NodeError, is_silence
from orchestrator.membership.forecast.blocks import ChainBlock, Examination, accounts_to_ask, examine
from orchestrator.membership.reasons.table import Reason
from orchestrator.shared_reads import ReadingLock

ABOVE_ALL: Final = (1 << 63) - 1
"""No block has this number."""
REMEMBERED_BLOCKS: Final = 50_000
BLOCKS_AT_ONCE: Final = 256
"""Blocks that are read before they are kept: what an interruption costs."""


class ExaminedBlocks:
    """Examines blocks.

    Args:
        store: Keeps what was found.
    """

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._known: BoundedDict[int, Examination] = BoundedDict(REMEMBERED_BLOCKS)
        self._branches = BranchWatch()
        self._reading: dict[str, ReadingLock] = {}

    def known(self, numbers: Sequence[int]) -> list[Examination]:
        """Return what is in memory of blocks."""
        return [self._known[number] for number in numbers if number in self._known]

    async def examine(self, numbers: Sequence[int], watcher: ChainWatcher) -> dict[int, Examination]:
        """Return what blocks are to a replay.

        Args:
            numbers: Blocks that the node has.
            watcher: The node that is asked for those that are not known yet.

        Raises:
            NodeError: It does not answer.
            StoreError: What is kept can't be read or written.
        """
        found = dict[int, Examination]()
        for start in range(0, len(numbers), BLOCKS_AT_ONCE):
            some = numbers[start : start + BLOCKS_AT_ONCE]
            # All who are added in one block ask for that block. Part by part, so that a long history keeps nobody
            # waiting, and by node: one that is slow holds up those alone who have to ask it.
            async with self._reading.setdefault(watcher.node.name, ReadingLock(is_silence)).turn():
                found |= await self._learn(some, watcher)
        return found

    async def _learn(self, numbers: Sequence[int], watcher: ChainWatcher) -> dict[int, Examination]:
        if self._branches.may_have_left(watcher):
            await self._drop_left_branch(watcher)
            self._branches.settled(watcher)
        # Taken out at once: a look through another node may drop what a branch took with it.
        found = {number: self._known[number] for number in numbers if number in self._known}
        missing = [number for number in numbers if number not in found]
        if missing:
            kept = await self._store.examinations(missing)
            self._remember(kept)
            found |= {examination.number: examination for examination in kept}
            missing = [number for number in missing if number not in found]
        if missing:
            fresh = await self._read(missing, watcher)
            await self._store.keep_examinations(fresh)
            self._remember(fresh)
            found |= {examination.number: examination for examination in fresh}
        return found

    async def _read(self, numbers: Sequence[int], watcher: ChainWatcher) -> list[Examination]:
        return [await examined(watcher, content_of(watcher, block)) for block in await watcher.in_full(numbers)]

    async def _drop_left_branch(self, watcher: ChainWatcher) -> None:
        """Forget blocks of a branch that the chain has left."""
        newest = await self._store.newest_examinations(BLOCKS_AT_ONCE, ABOVE_ALL)
        newest_of_all = newest[0].number if newest else 0
        fork: int | None = None
        while newest and fork is None:
            fork = await holds_through(watcher, [(e.number, e.block_hash) for e in newest])
            if fork is None:
                newest = await self._store.newest_examinations(BLOCKS_AT_ONCE, newest[-1].number)
        fork = fork or 0
        if fork == newest_of_all:
            return
        await self._store.forget_examinations(fork)
        for number in [number for number in self._known if number > fork]:
            del self._known[number]

    def _remember(self, examinations: Sequence[Examination]) -> None:
        for examination in examinations:
            self._known[examination.number] = examination


def content_of(watcher: ChainWatcher, block: Block) -> ChainBlock:
    """Return what a block holds.

    Raises:
        NodeError: The node tells no more of it than the hashes.
    """
    if block.content is None:
        # A block whose transactions are not told is not one without transactions.
        detail = f"node {watcher.node.name} does not tell the transactions of block {block.number}"
        raise NodeError(Reason(slug="node_error", detail=detail))
    return block.content


async def examined(watcher: ChainWatcher, content: ChainBlock) -> Examination:
    """Return what a block is to a replay.

    Raises:
        NodeError: The node does not answer.
    """
    accounts = accounts_to_ask(content)
    # Of the block before: a replay runs each transaction on the parent's state (docs/besu.md#what-a-replay-needs, 1).
    balances = await watcher.node.balances(accounts, content.number - 1) if accounts else {}
    return examine(content, balances)
