"""A new member's node replays a group's history: which part of it, step by step, and when that fails. Pure.

Source: docs/besu.md#replay-measured, #how-members-silently-diverge; Besu 23.10.3, the block processor for private
transactions and the rehydration of private state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.devnet.chain import Block
from orchestrator.devnet.private_state import ExecutedTransaction, GroupState, GroupTimeline


class ReplayFailedError(Exception):
    """The replayed state is not the group's: the node stops at this block for good."""


def records_to_replay(
    timeline: GroupTimeline | None, head_number: int, history: Sequence[ExecutedTransaction]
) -> Sequence[ExecutedTransaction]:
    """Choose what a node replays of a group's history.

    All of it on a new member; what comes after its own last transaction on a former one; nothing when its root is the
    last one already. A former member whose last transaction is unknown to the history replays all of it.
    """
    own = timeline.last_at(head_number) if timeline is not None else None
    if own is None:
        return history
    if own.state.root == history[-1].state.root:
        return ()
    for at, record in enumerate(history):
        if record.pmt_hash == own.pmt_hash:
            return history[at + 1 :]
    return history


@dataclass(slots=True)
class ReplayJob:
    """One group's replay under way.

    Attributes:
        privacy_group_id: 32 bytes.
        timeline: the node's, which the replay fills.
        records: what is replayed, oldest first.
        blocks: number of the block of each record.
        applied: how many are done.
        history_key: the bundle's key in the enclave; the node can read old transactions from it once it is done.
        before: the node's last record of the group before the replay; None when it knew nothing of the group.
        started_at: in seconds of the network's clock; None before the first.
    """

    privacy_group_id: bytes
    timeline: GroupTimeline
    records: Sequence[ExecutedTransaction]
    blocks: Sequence[int]
    history_key: bytes
    before: ExecutedTransaction | None
    applied: int = 0
    started_at: float | None = None

    @property
    def done(self) -> bool:
        """True when every record is applied."""
        return self.applied == len(self.records)

    def advance(
        self,
        now: float,
        begins_at: float,
        seconds_each: float,
        replay_one: Callable[[GroupState | None, ExecutedTransaction, int], ExecutedTransaction | None],
    ) -> float:
        """Apply what is due by ``now`` and return when the job is done, or will be.

        A job that was not under way yet began at ``begins_at``, which may be in the past. All times are in seconds.

        Raises:
            ReplayFailedError: the state after a block is not the one that the history says.
        """
        if self.started_at is None:
            self.started_at = begins_at
        due = len(self.records)
        if seconds_each > 0:
            due = min(due, int((now - self.started_at) / seconds_each + 1e-6))
        while self.applied < due:
            self._apply_next(replay_one)
        return self.started_at + seconds_each * len(self.records)

    def _apply_next(
        self, replay_one: Callable[[GroupState | None, ExecutedTransaction, int], ExecutedTransaction | None]
    ) -> None:
        at = self.applied
        block, wanted = self.blocks[at], self.records[at]
        if at == 0 or self.blocks[at - 1] != block:
            self.timeline.forget_after(block - 1)
        before = self.timeline.records[-1].state if self.timeline.records else None
        replayed = replay_one(before, wanted, block)
        is_last_of_block = at + 1 == len(self.records) or self.blocks[at + 1] != block
        if replayed is None or (is_last_of_block and replayed.state.root != wanted.state.root):
            raise ReplayFailedError(
                f"replaying block {block}: the state differs from the group's history, because this node's own "
                "history of the group is not the beginning of it; the node will not import another block"
            )
        self.timeline.append(block, replayed)
        self.applied += 1
        if self.timeline.covered_until is not None:
            self.timeline.covered_until = None if self.done else self.blocks[self.applied] - 1


def plan_replay(
    timelines: dict[bytes, GroupTimeline],
    privacy_group_id: bytes,
    history: Sequence[ExecutedTransaction],
    head: Block,
    number_of: Callable[[bytes], int | None],
    history_key: bytes,
) -> ReplayJob | None:
    """Prepare the replay of one history bundle; None when there is nothing to replay.

    Args:
        timelines: the node's groups; a new member gets an empty one here.
        privacy_group_id: the group.
        history: the bundle's records.
        head: the node's head, the block before the one that holds the add.
        number_of: tells the block of a marker transaction; None when it is in no block up to the head.
        history_key: the bundle's key in the enclave.
    """
    timeline = timelines.get(privacy_group_id)
    records = records_to_replay(timeline, head.number, history)
    if not records:
        return None
    blocks = []
    for record in records:
        number = number_of(record.pmt_hash)
        if number is None:
            # A marker that was reorganised away, or that only comes now: what follows it cannot be replayed.
            break
        blocks.append(number)
    if not blocks:
        return None
    before = timeline.last_at(head.number) if timeline is not None else None
    if timeline is None:
        timeline = timelines[privacy_group_id] = GroupTimeline()
    timeline.lost_from = None
    if not timeline.records:
        timeline.covered_until = blocks[0] - 1
    return ReplayJob(privacy_group_id, timeline, records[: len(blocks)], blocks, history_key, before)
