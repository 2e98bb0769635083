"""What blocks are to a replay: each block that matters is read once from a node, or from two, and kept.

What one node tells of a block counts for those alone who ask that node: any node can tell of a block that no replay
gets over, and would close by it every group that has a transaction there. What a second one tells as well counts for
all.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
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
"""Of what each node told, and of what two did."""
BLOCKS_AT_ONCE: Final = 256
"""Blocks that are read before they are kept: what an interruption costs."""
SHARED: Final = ""
"""In place of a node's name: what two told."""


class ExaminedBlocks:
    """Examines blocks.

    Args:
        store: Keeps what was found.
    """

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._told: defaultdict[str, BoundedDict[int, Examination]] = defaultdict(
            lambda: BoundedDict(REMEMBERED_BLOCKS)
        )
        self._shared_through: dict[str, int] = {}
        """By node that left the branch which two told of: the last block of it that the node still has."""
        self._branches = BranchWatch()
        self._reading: dict[str, ReadingLock] = {}

    def known(self, numbers: Sequence[int], node: str) -> list[Examination]:
        """Return what is in memory of blocks, as a node has them."""
        return list(self._believed(numbers, node).values())

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
        node = watcher.node.name
        if self._branches.may_have_left(watcher):
            await self._drop_left_branch(watcher)
            self._branches.settled(watcher)
        # Taken out at once: a look through another node may drop what a branch took with it.
        found = self._believed(numbers, node)
        missing = [number for number in numbers if number not in found]
        if missing:
            self._remember(await self._store.examinations(missing))
            found |= self._believed(missing, node)
            missing = [number for number in missing if number not in found]
        if missing:
            fresh = [self._with_teller(examination, node) for examination in await self._read(missing, watcher)]
            # What another node told alone stays kept until two agree: this one's is remembered, and read again later.
            kept = [e for e in fresh if e.told_by == SHARED or not self._is_told(e.number)]
            if kept:
                await self._store.keep_examinations(kept)
            self._remember(fresh)
            # Also where it is shared: a node that left what was shared before is not asked again.
            self._told[node].update((examination.number, examination) for examination in fresh)
            found |= {examination.number: examination for examination in fresh}
        return found

    def _believed(self, numbers: Iterable[int], node: str) -> dict[int, Examination]:
        """Return what is in memory of blocks and counts for those who ask a node."""
        shared, own, through = self._told[SHARED], self._told[node], self._shared_through.get(node, ABOVE_ALL)
        found = {number: shared[number] for number in numbers if number in shared and number <= through}
        return {number: own[number] for number in numbers if number in own} | found

    def _with_teller(self, examination: Examination, node: str) -> Examination:
        others = (known.get(examination.number) for teller, known in self._told.items() if teller != node)
        return replace(examination, told_by=SHARED if examination in others else node)

    def _is_told(self, number: int) -> bool:
        return any(number in known for known in self._told.values())

    async def _read(self, numbers: Sequence[int], watcher: ChainWatcher) -> list[Examination]:
        return [await examined(watcher, content_of(watcher, block)) for block in await watcher.in_full(numbers)]

    async def _drop_left_branch(self, watcher: ChainWatcher) -> None:
        """Forget blocks of a branch that the chain left: what one node told at its word, what is shared at two's."""
        node = watcher.node.name
        newest = await self._store.newest_examinations(BLOCKS_AT_ONCE, ABOVE_ALL, node)
        newest_of_all = newest[0].number if newest else 0
        fork: int | None = None
        while newest and fork is None:
            fork = await holds_through(watcher, [(e.number, e.block_hash) for e in newest])
            if fork is None:
                newest = await self._store.newest_examinations(BLOCKS_AT_ONCE, newest[-1].number, node)
        self._shared_through.pop(node, None)
        fork = fork or 0
        if fork == newest_of_all:
            return
        await self._forget(fork, node)
        self._shared_through[node] = fork
        if len(self._shared_through) > 1:
            through = sorted(self._shared_through.values())[1]
            await self._forget(through, SHARED)
            self._shared_through = {name: left for name, left in self._shared_through.items() if left < through}

    async def _forget(self, above: int, teller: str) -> None:
        await self._store.forget_examinations(above, teller)
        known = self._told[teller]
        for number in [number for number in known if number > above]:
            del known[number]

    def _remember(self, examinations: Iterable[Examination]) -> None:
        for examination in examinations:
            self._told[examination.told_by][examination.number] = examination


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
