"""A node replays a group's history: which part of it, block by block, and when that fails. Pure.

Source: docs/besu.md#replay-measured, #what-a-replay-needs; Besu 23.10.3, PrivacyBlockProcessor,
PrivateStateRehydration, PrivateGroupRehydrationBlockProcessor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.besu.codec.bundles import BundleItem
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.private.head_maps import GroupTimeline, recommit_block
from orchestrator.devnet.private.private_state import ExecutedTransaction, GroupState

LOCK_TIMEOUT: Final = "org.rocksdb.RocksDBException: TimedOut(LockTimeout)"


class ReplayFailedError(Exception):
    """The history can't be replayed: the node stands before the addition's block for good.

    Attributes:
        lines: what the node logs, oldest first.
    """

    def __init__(self, message: str, lines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.lines = lines


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """One block of a replay.

    Attributes:
        block: its number.
        end: how many transactions of the replay are done after it.
    """

    block: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    """What a replay asks of its node.

    Attributes:
        block_at: the canonical block of a number.
        invalid_in: why a block can't be replayed; None when it can.
        execute: executes a transaction of a block in a state (None: the group has none yet).
    """

    block_at: Callable[[int], Block | None]
    invalid_in: Callable[[Block], str | None]
    execute: Callable[[GroupState | None, BundleItem, Block], ExecutedTransaction]


@dataclass(slots=True, kw_only=True)
class ReplayJob:
    """One group's replay under way.

    Attributes:
        privacy_group_id: 32 bytes.
        timelines: the node's groups, whose head maps the replay writes.
        newest: number of the node's head, the block before the addition's.
        records: what is replayed, oldest first.
        steps: the blocks that hold them.
        history_key: the bundle's key in the enclave; the node can read old transactions from it once it is done.
        applied: how many transactions are done.
        started_at: in seconds of the network's clock; None before the first.
    """

    privacy_group_id: bytes
    timelines: dict[bytes, GroupTimeline]
    newest: int
    records: Sequence[BundleItem]
    steps: Sequence[ReplayStep]
    history_key: bytes
    applied: int = 0
    started_at: float | None = None
    _step: int = 0
    _wanted: Mapping[bytes, BundleItem] | None = None

    @property
    def done(self) -> bool:
        """True when every block is replayed."""
        return self._step == len(self.steps)

    def advance(self, now: float, begins_at: float, seconds_each: float, rules: ReplayRules) -> float:
        """Replay the blocks that are due by ``now`` and return when the job is done, or will be.

        A job that was not under way yet began at ``begins_at``, which may be in the past. All times are in seconds;
        a transaction takes ``seconds_each``.

        Raises:
            ReplayFailedError: a block can't be replayed, or the state after it isn't the one that the history says.
        """
        if self.started_at is None:
            self.started_at = begins_at
        due = len(self.records)
        if seconds_each > 0:
            due = min(due, int((now - self.started_at) / seconds_each + 1e-6))
        while not self.done and self.steps[self._step].end <= due:
            self._replay_next(rules)
        self.applied = due
        return self.started_at + seconds_each * len(self.records)

    def _replay_next(self, rules: ReplayRules) -> None:
        step = self.steps[self._step]
        block = rules.block_at(step.block)
        if block is None:
            raise RuntimeError(f"block {step.block} of a replay is not in the chain")
        timeline = self.timelines.setdefault(self.privacy_group_id, GroupTimeline())
        invalid = rules.invalid_in(block)
        # Besu ignores that the block failed and then looks for what it should have stored: what an earlier life
        # stored does as well (23.10.3, PrivateStateRehydration).
        if invalid is None:
            executed = self._execute(block, timeline, rules)
            recommit_block(self.timelines, block.number, self.privacy_group_id, executed, self.newest)
        elif not timeline.executed_in(block.number):
            raise ReplayFailedError(
                f"replaying block {block.number}: {invalid}, because a replay executes each public transaction on the "
                "state of the parent block alone; the node will not import another block",
                (f"Invalid transaction: {invalid}", "NoSuchElementException: No value present"),
            )
        if timeline.executed_in(block.number)[-1].state.root != self.records[step.end - 1].root:
            raise ReplayFailedError(
                f"replaying block {block.number}: the state differs from the group's history, because this node's own "
                "history of the group is not the beginning of it; the node will not import another block",
                ("java.lang.RuntimeException",),
            )
        self._step += 1
        end = self.newest + 1 if self.done else self.steps[self._step].block
        if end > block.number + 1:
            timeline.set_heads(block.number + 1, end, block.number, self.newest)

    def _execute(self, block: Block, timeline: GroupTimeline, rules: ReplayRules) -> tuple[ExecutedTransaction, ...]:
        if self._wanted is None:
            self._wanted = {record.pmt_hash: record for record in self.records}
        # The block starts from its parent's map, whatever the node had stored for the block itself.
        last = timeline.last_by_map(block.number - 1)
        state = last.state if last is not None else None
        executed = []
        for transaction in block.transactions:
            record = self._wanted.get(transaction.hash)
            if record is not None:
                executed.append(rules.execute(state, record, block))
                state = executed[-1].state
        return tuple(executed)


def records_to_replay(
    timeline: GroupTimeline | None, head_number: int, history: Sequence[BundleItem]
) -> Sequence[BundleItem]:
    """Choose what a node replays of a group's history.

    All of it on a new member; what comes after its own last transaction on a former one; nothing when its root is the
    last one already. A node whose last transaction is unknown to the history replays all of it: it falls back to the
    history's end (docs/besu.md#stale-bundles).
    """
    own = timeline.last_by_map(head_number) if timeline is not None else None
    if own is None:
        return history
    if own.state.root == history[-1].root:
        return ()
    for at, record in enumerate(history):
        if record.pmt_hash == own.pmt_hash:
            return history[at + 1 :]
    return history


def plan_replay(
    timelines: dict[bytes, GroupTimeline],
    privacy_group_id: bytes,
    history: Sequence[BundleItem],
    head_number: int,
    number_of: Callable[[bytes], int | None],
    history_key: bytes,
) -> ReplayJob | None:
    """Prepare the replay of one history bundle; None when there is nothing to replay.

    Args:
        timelines: the node's groups.
        privacy_group_id: the group.
        history: the bundle's records.
        head_number: of the node's head, the block before the one with the bundle's marker.
        number_of: tells the block of a marker transaction; None when it is in no block up to the head.
        history_key: the bundle's key in the enclave.
    """
    records = records_to_replay(timelines.get(privacy_group_id), head_number, history)
    steps: list[ReplayStep] = []
    for at, record in enumerate(records, start=1):
        number = number_of(record.pmt_hash)
        if number is None:
            # A marker that was reorganised away, or that only comes now: what follows it cannot be replayed.
            break
        if steps and steps[-1].block == number:
            steps[-1] = ReplayStep(number, at)
        else:
            steps.append(ReplayStep(number, at))
    if not steps:
        return None
    return ReplayJob(
        privacy_group_id=privacy_group_id,
        timelines=timelines,
        newest=head_number,
        records=records[: steps[-1].end],
        steps=steps,
        history_key=history_key,
    )
