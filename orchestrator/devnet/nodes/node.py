"""One emulated node: its head, its private state, and how it imports blocks. Pure; time is a parameter.

Source: docs/besu.md#replay-measured: a replay runs inside the import of the block that holds the add, and the node
answers from the block before meanwhile; a node whose enclave is down imports no block with a marker transaction.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from orchestrator.devnet.accounts import validator_address_of
from orchestrator.devnet.chain.chain import Block, Chain
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.enclaves.enclave import Enclave, EnclaveNetwork, Payload, TransactionPayload
from orchestrator.devnet.enclaves.link import AGAIN_SECONDS, Asked, EnclaveLink
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.private.block_replays import BlockReplays, NoHistoryError, bundles_of
from orchestrator.devnet.private.contract import is_removal
from orchestrator.devnet.private.execution import ExecutionRules, fresh_state, process
from orchestrator.devnet.private.execution_cache import ExecutionCache, context_of
from orchestrator.devnet.private.head_maps import GroupTimeline, commit_block
from orchestrator.devnet.private.node_logs import NodeLog, logs_of
from orchestrator.devnet.private.private_state import ExecutedTransaction, GroupState, PrivateReceipt
from orchestrator.devnet.private.replay import LOCK_TIMEOUT, ReplayFailedError, ReplayJob

MAX_LOG_LINES: Final = 1_000


class NodeObserver(Protocol):
    """Who wants to know what a node imports; the subscriptions of its WebSocket clients."""

    def block_imported(self, block: Block, logs: list[NodeLog]) -> None:
        """The node's head is now this block."""

    def logs_removed(self, logs: list[NodeLog]) -> None:
        """The blocks of these logs were reorganised away."""

    def member_removed(self, privacy_group_id: bytes, enclave_key: str) -> None:
        """The node executed the removal of a member."""


@dataclass(slots=True)
class _BlockImport:
    """A block that the node works on.

    Attributes:
        replays: what it brings, first of all.
        heads: the parent's map as it was before the replays, on a version that starts the block from it; None where
            the block starts from what the replays made of the parent's map.
    """

    replays: BlockReplays
    heads: dict[bytes, int | None] | None


@dataclass(slots=True)
class NodeFaults:
    """What is wrong with a node on purpose.

    Attributes:
        missed_groups: groups whose next transaction this node's enclave will lose.
    """

    missed_groups: set[bytes] = field(default_factory=set)


class Node:
    """A node of the devnet.

    Attributes:
        number: from 1.
        enclave: its enclave; ``enclave.keys[0]`` is the node's own key.
        link: how it asks its enclave over HTTP; None: it asks without.
        up: whether it runs.
        halted: why it will never import another block; None while it is well.
        misreads: why it can't import the next one as its enclave answers, and tries again and again; None else.
        head: the last imported block.
        timelines: its groups by id (32 bytes): head maps and stored transactions.
        failed: receipts of private transactions that changed nothing, with the block's hash, by PMT hash.
        faults: what is wrong with it on purpose.
        observer: told of every import.
        cache: results that it shares with other nodes.
        sends_under_way: submissions that it has not answered yet.
        replay_seconds_each: what a replay takes for each transaction.
        marker_seconds: what executing a marker transaction takes.
        rules: how it executes private transactions.
        is_validator: whether it makes blocks.
        log: the newest lines of its log about blocks that it can't import.
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
        self.link: EnclaveLink | None = None
        self.up = True
        self.halted: str | None = None
        self.misreads: str | None = None
        self.head = chain.head
        self.timelines: dict[bytes, GroupTimeline] = {}
        self.failed: dict[bytes, tuple[bytes, PrivateReceipt]] = {}
        self.faults = NodeFaults()
        self.observer: NodeObserver | None = None
        self.sends_under_way = 0
        self.rules = rules
        self.is_validator = is_validator
        self.log: deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._chain = chain
        self._enclaves = enclaves
        self.cache = cache
        self.replay_seconds_each = replay_seconds_each
        self.marker_seconds = marker_seconds
        self._import: _BlockImport | None = None
        self._free_at = 0.0
        self._synchronised_to = 0
        self._refused_at = 0
        self._stands_before: Block | None = None

    @property
    def key(self) -> str:
        """The node's own enclave key, base64."""
        return self.enclave.keys[0]

    @property
    def replaying(self) -> ReplayJob | None:
        """The replay under way."""
        return self._import.replays.job if self._import is not None else None

    def advance(self, now: float) -> float | None:
        """Import what can be imported by ``now`` (seconds); return when to come back, or None: nothing is under way."""
        if self._stands_before is not None and self._chain.block(self._stands_before.number) is not self._stands_before:
            # The block that this node could not import was reorganised away.
            self.halted = self._stands_before = None
        # Over HTTP the enclave's slowness passes by itself.
        seconds_each = self.marker_seconds + (self.enclave.slow_seconds if self.link is None else 0.0)
        while self.up and self.halted is None:
            self._leave_fork()
            block = self._chain.block(self.head.number + 1)
            if block is None or not self._has_payloads(block):
                break
            try:
                self._import = self._import or self._begin(block, now)
                self.misreads = None
                ready_at = max(self._free_at, self._chain.arrived_at(block.number)) + block.markers * seconds_each
                if ready_at > now:
                    return ready_at
                is_done, ready_at = self._import.replays.advance(now, ready_at, self.replay_seconds_each)
            except NoHistoryError as error:
                return self._misread(error, now)
            except ReplayFailedError as error:
                self.halted, self._stands_before = str(error), block
                self.log.extend(error.lines)
                self._import = None
                break
            if not is_done:
                return ready_at
            heads, self._import = self._import.heads, None
            self._free_at = ready_at
            self._import_block(block, heads)
        if self.up and self.halted is not None:
            self._refuse_offered_blocks()
        return None

    def check_proposal(self, transactions: Sequence[PublicTransaction]) -> bool | None:
        """Tell whether this node, as a validator, agrees to a block of these transactions after its head; None while
        its enclave has not answered.

        Checking replays what they add this node to, before the block is made: where that fails, the node has no vote
        for it, and keeps what was replayed until then (docs/besu.md#what-a-replay-needs).
        """
        if self.link is not None and not self.link.has(transactions):
            return None
        tried = self.timelines
        try:
            if not ((self.enclave.up or self.link is not None) and bundles_of(self._receive, transactions)):
                return True
            tried = {group: timeline.copy() for group, timeline in tried.items()}
            self._replays(tried, transactions).advance(0.0, 0.0, 0.0)
        except NoHistoryError as error:
            self._misread(error, 0.0)
            return False
        except ReplayFailedError as error:
            self.timelines = tried
            self.log.extend((*error.lines, f"Invalid block {self.head.number + 1}: {LOCK_TIMEOUT}"))
            return False
        return True

    @property
    def next_has_markers(self) -> bool:
        """Whether the block after its head is there and has payloads to be asked for."""
        block = self._chain.block(self.head.number + 1)
        return block is not None and block.markers > 0

    def restart(self, now: float) -> None:
        """Forget an import that was under way (node or enclave was away), and try again."""
        self._import = None
        if self.link is not None:
            self.link.forget()
        self.halted = self.misreads = self._stands_before = None
        self._synchronised_to = self._chain.head.number
        self._free_at = max(self._free_at, now)

    def _has_payloads(self, block: Block) -> bool:
        if not block.markers:
            return True
        if self.link is None:
            return self.enclave.up and self.enclave.slow_seconds < self._enclaves.wait_seconds
        if self._import is None:
            self.link.begin(block.hash)
        return self.link.has(block.transactions)

    def _receive(self, payload_key: bytes, as_history: bool = False) -> Payload | None:
        if self.link is None:
            return self._enclaves.receive(self.enclave, payload_key)
        return self.link.receive(Asked(payload_key, as_history))

    def _misread(self, error: NoHistoryError, now: float) -> float:
        self.misreads = str(error)
        if self.link is not None:
            self.link.forget()  # each try asks anew
        return now + AGAIN_SECONDS

    def _begin(self, block: Block, now: float) -> _BlockImport:
        heads = None
        if self.rules.behaviour.maps_read_before_replay and not self._has_checked(block, now):
            heads = {group: timeline.head_at(self.head.number) for group, timeline in self.timelines.items()}
        return _BlockImport(self._replays(self.timelines, block.transactions), heads)

    def _replays(
        self, timelines: dict[bytes, GroupTimeline], transactions: Sequence[PublicTransaction]
    ) -> BlockReplays:
        return BlockReplays(
            timelines=timelines,
            head=self.head,
            bundles=bundles_of(self._receive, transactions),
            chain=self._chain,
            cache=self.cache,
            rules=self.rules,
        )

    def _has_checked(self, block: Block, now: float) -> bool:
        """Whether this node processed the block before, as a validator that checks another's proposal does."""
        return (
            self.is_validator
            and block.miner != validator_address_of(self.number)
            and block.number > self._synchronised_to
            and now <= self._chain.arrived_at(block.number)
        )

    def _import_block(self, block: Block, heads: dict[bytes, int | None] | None) -> None:
        if heads is not None:
            for group, timeline in self.timelines.items():
                timeline.set_heads(block.number, block.number + 1, heads.get(group), block.number)
        executed: dict[bytes, list[ExecutedTransaction]] = {}
        for transaction in block.transactions:
            if transaction.is_marker:
                self._execute_marker(block, transaction, executed)
        commit_block(self.timelines, block.number, {group: tuple(records) for group, records in executed.items()})
        self.head = block
        if self.observer is not None:
            logs = [log for group, records in executed.items() for log in logs_of(group, block, records)]
            self.observer.block_imported(block, logs)

    def _execute_marker(
        self, block: Block, transaction: PublicTransaction, executed: dict[bytes, list[ExecutedTransaction]]
    ) -> None:
        payload = self._receive(transaction.payload_key)
        if not isinstance(payload, TransactionPayload):
            return
        group = from_base64(payload.signed.transaction.privacy_group_id or "") or b""
        if group in self.faults.missed_groups:
            self.faults.missed_groups.discard(group)
            self.enclave.lost.add(transaction.payload_key)
            return
        state = self._state_before(block, group, executed)
        execution = self.cache.get(state, transaction.hash, block)
        if execution is None:
            execution = process(state, payload.signed, payload.version, transaction.hash, context_of(block), self.rules)
            self.cache.keep(state, transaction.hash, block, execution)
        if execution.record is None:
            self.failed[transaction.hash] = (block.hash, execution.receipt)
            return
        executed.setdefault(group, []).append(execution.record)
        self._tell_of_removal(group, execution.record)

    def _state_before(self, block: Block, group: bytes, executed: dict[bytes, list[ExecutedTransaction]]) -> GroupState:
        """The state that a block's next transaction of a group starts from."""
        # The block's map is still its parent's.
        if group in executed:
            return executed[group][-1].state
        timeline = self.timelines.get(group)
        last = timeline.last_by_map(block.number) if timeline is not None else None
        return last.state if last is not None else fresh_state(self.rules)

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

    def _refuse_offered_blocks(self) -> None:
        """Log what a node that stands says to each newer block of its peers, which it drops for it."""
        offered = self._chain.head.number
        if offered > self._refused_at:
            self._refused_at = offered
            self.log.append(f"Invalid block {self.head.number + 1}: {LOCK_TIMEOUT}")
            self.log.append("Disconnecting from peer, reason BREACH_OF_PROTOCOL")

    def _leave_fork(self) -> None:
        if self._chain.is_canonical(self.head):
            return
        self._import = None
        left: dict[int, Block] = {}
        while not self._chain.is_canonical(self.head):
            left[self.head.number] = self.head
            if (parent := self._chain.by_hash(self.head.parent_hash)) is None:
                raise RuntimeError(f"block {self.head.number} of node {self.number} has no parent in the chain")
            self.head = parent
        removed: list[NodeLog] = []
        for group, timeline in self.timelines.items():
            for number, records in timeline.forget_after(self.head.number):
                removed.extend(logs_of(group, left[number], records, removed=True))
        self.timelines = {group: timeline for group, timeline in self.timelines.items() if timeline.blocks}
        self.failed = {
            pmt_hash: found for pmt_hash, found in self.failed.items() if self._number_of(pmt_hash) is not None
        }
        if removed and self.observer is not None:
            self.observer.logs_removed(removed)

    def _number_of(self, pmt_hash: bytes) -> int | None:
        found = self._chain.locate(pmt_hash)
        return found[0].number if found is not None and found[0].number <= self.head.number else None
