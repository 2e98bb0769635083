"""The replays that a block brings its node: one after the other, for each history bundle that the node holds. Pure.

Source: Besu 23.10.3, PrivacyBlockProcessor.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.besu.codec.bundles import BundleItem
from orchestrator.devnet.chain.chain import Block, Chain
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.chain.replayability import find_invalid
from orchestrator.devnet.enclaves.enclave import HistoryPayload, Payload
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.private.execution import ExecutionRules, execute, fresh_state
from orchestrator.devnet.private.execution_cache import ExecutionCache, context_of
from orchestrator.devnet.private.head_maps import GroupTimeline
from orchestrator.devnet.private.private_state import ExecutedTransaction, GroupState
from orchestrator.devnet.private.replay import ReplayJob, ReplayRules, plan_replay


class NoHistoryError(Exception):
    """The second key of a marker leads to a payload that is no history: the block can't be imported as it is answered.

    Source: docs/besu.md#what-a-replay-needs, 13. Nothing is stored by then, so that the same block passes once the
    payload is not found.
    """


def bundles_of(
    receive: Callable[[bytes, bool], Payload | None], transactions: Sequence[PublicTransaction]
) -> deque[tuple[bytes, HistoryPayload]]:
    """Key and history of each bundle that a block's markers point to and an enclave answers, in the block's order.

    Whoever signed the marker: the enclave is asked for the second key of its input, and nothing else decides.

    Raises:
        EnclaveDownError: the enclave does not answer.
        NoHistoryError: it answers something else.
    """
    found: deque[tuple[bytes, HistoryPayload]] = deque()
    for transaction in transactions:
        history_key = transaction.history_key
        payload = receive(history_key, True) if history_key is not None else None
        if history_key is None or payload is None:
            continue
        if not isinstance(payload, HistoryPayload):
            raise NoHistoryError(f"what marker 0x{transaction.hash.hex()} names as a history is a transaction")
        found.append((history_key, payload))
    return found


@dataclass(slots=True, kw_only=True)
class BlockReplays:
    """The replays of one block on one node.

    Attributes:
        timelines: the node's groups.
        head: the node's, the block's parent.
        bundles: still to do.
        chain, cache, rules: as the node's.
        job: the replay under way.
    """

    timelines: dict[bytes, GroupTimeline]
    head: Block
    bundles: deque[tuple[bytes, HistoryPayload]]
    chain: Chain
    cache: ExecutionCache
    rules: ExecutionRules
    job: ReplayJob | None = field(default=None, init=False)

    def advance(self, now: float, ready_at: float, seconds_each: float) -> tuple[bool, float]:
        """Replay what is due by ``now``; return whether all is done, and when it is or the next will be.

        Args:
            now: seconds of the network's clock.
            ready_at: when the first replay could begin.
            seconds_each: what a transaction takes.

        Raises:
            ReplayFailedError: a history can't be replayed.
        """
        rules = ReplayRules(block_at=self.chain.block, invalid_in=self._invalid_in, execute=self._execute)
        while self.job is not None or self.bundles:
            if self.job is None:
                self.job = self._plan(*self.bundles.popleft())
                continue
            ready_at = self.job.advance(now, ready_at, seconds_each, rules)
            if not self.job.done:
                return False, ready_at
            self.timelines[self.job.privacy_group_id].history_key = self.job.history_key
            self.job = None
        return True, ready_at

    def _plan(self, history_key: bytes, history: HistoryPayload) -> ReplayJob | None:
        group = from_base64(history.records[0].signed.transaction.privacy_group_id or "") or b""
        return plan_replay(self.timelines, group, history.records, self.head.number, self._number_of, history_key)

    def _number_of(self, pmt_hash: bytes) -> int | None:
        found = self.chain.locate(pmt_hash)
        return found[0].number if found is not None and found[0].number <= self.head.number else None

    def _invalid_in(self, block: Block) -> str | None:
        parent = block.number - 1
        invalid = find_invalid(block.transactions, lambda address: self.chain.account(address, parent))
        return invalid.why if invalid is not None else None

    def _execute(self, before: GroupState | None, record: BundleItem, block: Block) -> ExecutedTransaction:
        state = before if before is not None else fresh_state(self.rules)
        execution = self.cache.get(state, record.pmt_hash, block)
        if execution is None:
            execution = execute(state, record.signed, record.pmt_hash, context_of(block), self.rules)
            self.cache.keep(state, record.pmt_hash, block, execution)
        elif execution.record is not None and execution.record.signed.raw != record.signed.raw:
            # A history made by hand may have another transaction for a marker: no other node shares what comes of it.
            execution = execute(state, record.signed, record.pmt_hash, context_of(block), self.rules)
        if execution.record is None:
            # A replay stores a failure like a success, with the root unchanged; the root check then tells.
            return ExecutedTransaction(record.pmt_hash, record.signed, state, replace(execution.receipt, status=0))
        return execution.record
