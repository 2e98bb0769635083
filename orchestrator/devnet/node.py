"""One emulated node: its head, its private state, and how it imports blocks. Pure; time is a parameter.

Source: docs/besu.md#replay-measured: a replay runs inside the import of the add's block, and the node answers
from the block before meanwhile; a node whose enclave is down imports no block with a marker transaction.
"""

from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final, Protocol

from orchestrator.devnet.chain import Block, Chain
from orchestrator.devnet.contract import BlockContext, is_removal
from orchestrator.devnet.enclave import Enclave, EnclaveNetwork, HistoryPayload, TransactionPayload
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.execution import Execution, ExecutionRules, execute, fresh_state, process
from orchestrator.devnet.node_logs import NodeLog, logs_of
from orchestrator.devnet.private_state import ExecutedTransaction, GroupState, GroupTimeline, PrivateReceipt
from orchestrator.devnet.public_transaction import PublicTransaction
from orchestrator.devnet.replay import ReplayFailedError, ReplayJob, plan_replay

LONGEST_SPARED_HISTORY: Final = 3


class NodeObserver(Protocol):
    """Who wants to know what a node imports; the subscriptions of its WebSocket clients."""

    def block_imported(self, block: Block, logs: list[NodeLog]) -> None:
        """The node's head is now this block."""

    def logs_removed(self, logs: list[NodeLog]) -> None:
        """The blocks of these logs were reorganised away."""

    def member_removed(self, privacy_group_id: bytes, enclave_key: str) -> None:
        """The node executed the removal of a member."""


class ExecutionCache:
    """Results by state, transaction and block: pure, so nodes share them, and with them the memory."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], Execution] = {}

    def get(self, state: GroupState, pmt_hash: bytes, block: Block) -> Execution | None:
        """A result that is known."""
        return self._known.get((state.root, pmt_hash, block.hash))

    def keep(self, state: GroupState, pmt_hash: bytes, block: Block, execution: Execution) -> None:
        """Remember a result that changed the state."""
        if execution.record is not None:
            self._known[state.root, pmt_hash, block.hash] = execution


@dataclass(slots=True)
class _BlockImport:
    block: Block
    jobs: list[ReplayJob]


@dataclass(slots=True)
class NodeFaults:
    """What is wrong with a node on purpose.

    Attributes:
        lose_next_add: the next group that this node is added to is lost one block later.
        missed_groups: groups of which it will miss the next transaction.
    """

    lose_next_add: bool = False
    missed_groups: set[bytes] = field(default_factory=set)


class Node:
    """A node of the devnet.

    Attributes:
        number: from 1.
        enclave: its enclave; ``enclave.keys[0]`` is the node's own key.
        up: whether it runs.
        halted: why it will never import another block; None while it is well.
        head: the last imported block.
        timelines: its groups by id (32 bytes).
        failed: receipts of private transactions that changed nothing, with the block's hash, by PMT hash.
        faults: what is wrong with it on purpose.
        observer: told of every import.
        cache: results that it shares with other nodes.
        sends_under_way: submissions that it has not answered yet.
        replay_seconds_each: what a replay takes for each transaction.
        marker_seconds: what executing a marker transaction takes.
        rules: how it executes private transactions.
        is_validator: whether it makes blocks.
    """

    def __init__(
        self,
        number: int,
        *,
        enclave: Enclave,
        chain: Chain,
        enclaves: EnclaveNetwork,
        cache: ExecutionCache,
        rules: ExecutionRules,
        replay_seconds_each: float,
        marker_seconds: float,
        is_validator: bool,
    ) -> None:
        self.number = number
        self.enclave = enclave
        self.up = True
        self.halted: str | None = None
        self.head = chain.head
        self.timelines: dict[bytes, GroupTimeline] = {}
        self.failed: dict[bytes, tuple[bytes, PrivateReceipt]] = {}
        self.faults = NodeFaults()
        self.observer: NodeObserver | None = None
        self.sends_under_way = 0
        self.rules = rules
        self.is_validator = is_validator
        self._chain = chain
        self._enclaves = enclaves
        self.cache = cache
        self.replay_seconds_each = replay_seconds_each
        self.marker_seconds = marker_seconds
        self._import: _BlockImport | None = None
        self._free_at = 0.0
        self._losses: dict[bytes, ExecutedTransaction] = {}

    @property
    def key(self) -> str:
        """The node's own enclave key, base64."""
        return self.enclave.keys[0]

    @property
    def replaying(self) -> ReplayJob | None:
        """The replay under way."""
        return next((job for job in self._import.jobs if not job.done), None) if self._import is not None else None

    def advance(self, now: float) -> float | None:
        """Import what can be imported by ``now`` (seconds); return when to come back, or None: nothing is under way."""
        while self.up and self.halted is None:
            self._leave_fork()
            block = self._chain.block(self.head.number + 1)
            if block is None or (block.markers and not self.enclave.up):
                break
            if self._import is None:
                self._import = _BlockImport(block, self._plan(block))
            ready_at = max(self._free_at, self._chain.arrived_at(block.number)) + block.markers * self.marker_seconds
            if ready_at > now:
                return ready_at
            try:
                for job in self._import.jobs:
                    ready_at = job.advance(now, ready_at, self.replay_seconds_each, self._replay_one)
                    if not job.done:
                        return ready_at
            except ReplayFailedError as error:
                self.halted = str(error)
                self._import = None
                break
            replayed = {job.privacy_group_id for job in self._import.jobs}
            for job in self._import.jobs:
                job.timeline.history_keys.append(job.history_key)
                if self._loses(job):
                    self._lose(job, block)
            self._import = None
            self._free_at = ready_at
            self._import_block(block, replayed)
        return None

    def restart(self, now: float) -> None:
        """Forget an import that was under way, as a node does that goes down or whose enclave was away."""
        self._import = None
        self._free_at = max(self._free_at, now)

    def state_before(self, privacy_group_id: bytes, block_number: int) -> GroupState:
        """The state that a transaction of a block starts from."""
        timeline = self.timelines.get(privacy_group_id)
        state = timeline.state_at(block_number) if timeline is not None else None
        return state if state is not None else fresh_state(self.rules)

    def _plan(self, block: Block) -> list[ReplayJob]:
        jobs = []
        for transaction in block.transactions:
            history_key = transaction.history_key
            payload = self._enclaves.receive(self.enclave, history_key) if history_key is not None else None
            if history_key is None or not isinstance(payload, HistoryPayload):
                continue
            group = _group_of(payload.records[0])
            job = plan_replay(self.timelines, group, payload.records, self.head, self._number_of, history_key)
            if job is not None:
                jobs.append(job)
        return jobs

    def _loses(self, job: ReplayJob) -> bool:
        """Besu 25.5.0 reads what it knows of its groups before the replay and writes it back afterwards.

        A validator that had replayed already when it checked the proposal of the block is spared: here one whose
        replay was short. (25.5.0, PrivacyBlockProcessor; docs/besu.md#versions.)
        """
        if not self.rules.behaviour.loses_added_members:
            return False
        return not self.is_validator or len(job.records) > LONGEST_SPARED_HISTORY

    @staticmethod
    def _lose(job: ReplayJob, block: Block) -> None:
        if job.before is None:
            job.timeline.lost_from = block.number
        else:
            job.timeline.append(block.number, job.before)

    def _replay_one(
        self, before: GroupState | None, record: ExecutedTransaction, block_number: int
    ) -> ExecutedTransaction | None:
        block = self._chain.block(block_number)
        if block is None:
            return None
        state = before if before is not None else fresh_state(self.rules)
        known = self.cache.get(state, record.pmt_hash, block)
        if known is not None:
            return known.record
        execution = execute(state, record.signed, record.pmt_hash, _context(block), self.rules)
        self.cache.keep(state, record.pmt_hash, block, execution)
        return execution.record

    def _import_block(self, block: Block, replayed: set[bytes]) -> None:
        for group, lost_to in self._losses.items():
            self.timelines[group].append(block.number, lost_to)
        self._losses.clear()
        executed: dict[bytes, list[ExecutedTransaction]] = {}
        for transaction in block.transactions:
            record = self._execute_marker(block, transaction, replayed) if transaction.is_marker else None
            if record is not None:
                executed.setdefault(_group_of(record), []).append(record)
        self.head = block
        if self.observer is not None:
            logs = [log for group, records in executed.items() for log in logs_of(group, block, records)]
            self.observer.block_imported(block, logs)

    def _execute_marker(
        self, block: Block, transaction: PublicTransaction, replayed: set[bytes]
    ) -> ExecutedTransaction | None:
        payload = self._enclaves.receive(self.enclave, transaction.payload_key)
        if not isinstance(payload, TransactionPayload):
            return None
        group = from_base64(payload.signed.transaction.privacy_group_id or "") or b""
        if group in self.faults.missed_groups:
            self.faults.missed_groups.discard(group)
            return None
        # The block may hold earlier transactions of the group: their records are in the timeline already.
        state = self.state_before(group, block.number)
        execution = self.cache.get(state, transaction.hash, block)
        if execution is None:
            execution = process(state, payload.signed, payload.version, transaction.hash, _context(block), self.rules)
            self.cache.keep(state, transaction.hash, block, execution)
        if execution.record is None:
            self.failed[transaction.hash] = (block.hash, execution.receipt)
            return None
        timeline = self.timelines.setdefault(group, GroupTimeline())
        if group in replayed and self.faults.lose_next_add and timeline.records:
            self.faults.lose_next_add = False
            self._losses[group] = timeline.records[-1]
        timeline.append(block.number, execution.record)
        self._tell_of_removal(group, execution.record)
        return execution.record

    def _tell_of_removal(self, group: bytes, record: ExecutedTransaction) -> None:
        transaction = record.signed.transaction
        # Besu reads the removed key as bytes32 whatever the dialect, so it only recognises it in that one.
        if (
            self.observer is not None
            and len(transaction.data) == 36
            and is_removal(self.rules.behaviour.abi, transaction.data)
        ):
            for key in self.enclave.keys:
                if from_base64(key) == transaction.data[4:]:
                    self.observer.member_removed(group, key)

    def _leave_fork(self) -> None:
        if self._chain.is_canonical(self.head):
            return
        self._import = None
        left: dict[int, Block] = {}
        while not self._chain.is_canonical(self.head):
            left[self.head.number] = self.head
            parent = self._chain.by_hash(self.head.parent_hash)
            if parent is None:
                raise RuntimeError(f"block {self.head.number} of node {self.number} has no parent in the chain")
            self.head = parent
        removed: list[NodeLog] = []
        for group, timeline in self.timelines.items():
            timeline.covered_until = None
            dropped = timeline.forget_after(self.head.number)
            for number, items in groupby(dropped, key=itemgetter(0)):
                removed.extend(logs_of(group, left[number], (record for _, record in items), removed=True))
        self.timelines = {group: timeline for group, timeline in self.timelines.items() if timeline.records}
        self.failed = {
            pmt_hash: found for pmt_hash, found in self.failed.items() if self._number_of(pmt_hash) is not None
        }
        if removed and self.observer is not None:
            self.observer.logs_removed(removed)

    def _number_of(self, pmt_hash: bytes) -> int | None:
        found = self._chain.locate(pmt_hash)
        return found[0].number if found is not None and found[0].number <= self.head.number else None


def _group_of(record: ExecutedTransaction) -> bytes:
    return from_base64(record.signed.transaction.privacy_group_id or "") or b""


def _context(block: Block) -> BlockContext:
    return BlockContext(number=block.number, parent_hash=block.parent_hash, coinbase=block.miner)
