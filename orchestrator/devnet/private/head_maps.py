"""A node's head maps: for each block, the last block with an executed transaction of each group. Pure.

Besu keeps one map per block and each block's map starts as a copy of its parent's. A copy per block would cost
gigabytes on a large network, so each group keeps the blocks where its entry changes; the maps are what these columns
say side by side. Source: docs/besu.md#how-replay-damages-other-groups; Besu 23.10.3, PrivateMetadataUpdater,
PrivateStateRootResolver, FlexiblePrivacyController (how a history is walked).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.devnet.private.private_state import ExecutedTransaction, GroupState


@dataclass(slots=True)
class GroupTimeline:
    """What one node stores of one group: each block's executed transactions, and the group's column of the head maps.

    Attributes:
        blocks: numbers of the blocks with stored transactions, ascending.
        metadata: the stored transactions of each of these blocks, in the block's order.
        changes: numbers of the blocks whose map has another entry than the parent's, ascending.
        heads: the entry from each of these blocks on; None where the map lacks the group.
        history_key: enclave key of the last history bundle that this node replayed; None before the first.
    """

    blocks: list[int] = field(default_factory=list)
    metadata: list[tuple[ExecutedTransaction, ...]] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    heads: list[int | None] = field(default_factory=list)
    history_key: bytes | None = None

    def head_at(self, block: int) -> int | None:
        """The group's entry in the map of a block; None when the map lacks the group."""
        at = bisect_right(self.changes, block)
        return self.heads[at - 1] if at else None

    def executed_in(self, block: int) -> tuple[ExecutedTransaction, ...]:
        """The transactions that are stored for a block itself, in its order."""
        at = bisect_left(self.blocks, block)
        return self.metadata[at] if at < len(self.blocks) and self.blocks[at] == block else ()

    def last_by_map(self, block: int) -> ExecutedTransaction | None:
        """The transaction whose state a block's child starts from: by the block's map alone."""
        head = self.head_at(block)
        return self.executed_in(head)[-1] if head is not None else None

    def last_at(self, block: int) -> ExecutedTransaction | None:
        """The transaction whose state is answered for a block: of the block itself, or else by its map."""
        own = self.executed_in(block)
        return own[-1] if own else self.last_by_map(block)

    def state_at(self, block: int) -> GroupState | None:
        """The state that is answered for a block; None when this node has none for it."""
        record = self.last_at(block)
        return record.state if record is not None else None

    def walk(self, block: int) -> list[ExecutedTransaction]:
        """The history, oldest first, as it is walked from the map of a block: to its entry, to that block's parent…

        Where a replay of another group put an older entry into a map on the way, transactions are missing.
        """
        found: list[tuple[ExecutedTransaction, ...]] = []
        head = self.head_at(block)
        while head is not None:
            found.append(self.executed_in(head))
            head = self.head_at(head - 1)
        return [record for records in reversed(found) for record in records]

    @property
    def records(self) -> list[ExecutedTransaction]:
        """The history as it is walked from the newest map, oldest first."""
        return self.walk(self.changes[-1]) if self.changes else []

    def between(self, first: int, last: int) -> Iterator[tuple[int, tuple[ExecutedTransaction, ...]]]:
        """The stored transactions of each block from ``first`` to ``last`` that has some, oldest first."""
        for at in range(bisect_left(self.blocks, first), bisect_right(self.blocks, last)):
            yield self.blocks[at], self.metadata[at]

    def store(self, block: int, records: tuple[ExecutedTransaction, ...]) -> None:
        """Store the transactions of a block, instead of those that it had."""
        at = bisect_left(self.blocks, block)
        if at < len(self.blocks) and self.blocks[at] == block:
            self.metadata[at] = records
        else:
            self.blocks.insert(at, block)
            self.metadata.insert(at, records)

    def set_heads(self, first: int, end: int, head: int | None, newest: int) -> None:
        """Put an entry into the maps of the blocks from ``first`` to before ``end``; later maps keep theirs.

        Args:
            first, end: block numbers.
            head: the entry; None takes the group out.
            newest: number of the newest block that has a map.
        """
        after = self.head_at(end)
        start, stop = bisect_left(self.changes, first), bisect_left(self.changes, end)
        changes, heads = [first], [head]
        if (self.heads[start - 1] if start else None) == head:
            changes, heads = [], []
        if end <= newest and after != head and not (stop < len(self.changes) and self.changes[stop] == end):
            changes.append(end)
            heads.append(after)
        self.changes[start:stop] = changes
        self.heads[start:stop] = heads

    def forget_after(self, block: int) -> list[tuple[int, tuple[ExecutedTransaction, ...]]]:
        """Drop everything of the blocks above ``block``; return their stored transactions, oldest first."""
        keep = bisect_right(self.blocks, block)
        dropped = list(zip(self.blocks[keep:], self.metadata[keep:], strict=True))
        del self.blocks[keep:], self.metadata[keep:]
        keep = bisect_right(self.changes, block)
        del self.changes[keep:], self.heads[keep:]
        return dropped

    def copy(self) -> "GroupTimeline":
        """A copy that can change without this one."""
        return GroupTimeline(
            list(self.blocks), list(self.metadata), list(self.changes), list(self.heads), self.history_key
        )


def commit_block(
    timelines: dict[bytes, GroupTimeline], block: int, executed: dict[bytes, tuple[ExecutedTransaction, ...]]
) -> None:
    """Store what a new block executed, by group; the other entries of its map are the parent's."""
    for group, records in executed.items():
        timeline = timelines.setdefault(group, GroupTimeline())
        timeline.store(block, records)
        timeline.set_heads(block, block + 1, block, block)


def recommit_block(
    timelines: dict[bytes, GroupTimeline],
    block: int,
    privacy_group_id: bytes,
    records: tuple[ExecutedTransaction, ...],
    newest: int,
) -> None:
    """Store an old block's transactions of one group again, as a replay does.

    The block's map is written anew from its parent's: other groups' transactions in it, which this replay doesn't
    know, fall out of the map, while what is stored of them stays (docs/besu.md#how-replay-damages-other-groups).

    Args:
        timelines: the node's groups, by id.
        block: the old block's number.
        privacy_group_id: the group that is replayed, 32 bytes.
        records: its transactions of the block.
        newest: number of the newest block that has a map.
    """
    for group, timeline in timelines.items():
        at = bisect_left(timeline.changes, block)
        if group != privacy_group_id and at < len(timeline.changes) and timeline.changes[at] == block:
            timeline.set_heads(block, block + 1, timeline.head_at(block - 1), newest)
    timeline = timelines.setdefault(privacy_group_id, GroupTimeline())
    timeline.store(block, records)
    timeline.set_heads(block, block + 1, block, newest)
