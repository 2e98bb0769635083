"""What is so, whatever any node or replica believes: each group as a member has it that was there from the start."""

import base64

from orchestrator.devnet.chain import Block
from orchestrator.devnet.contract import BlockContext
from orchestrator.devnet.enclave import TransactionPayload
from orchestrator.devnet.execution import fresh_state, process
from orchestrator.devnet.network import Network
from orchestrator.devnet.private_state import ExecutedTransaction, GroupState, GroupTimeline
from orchestrator.devnet.public_transaction import PublicTransaction


def group_bytes(privacy_group_id: str) -> bytes:
    """Return the 32 bytes of a group's id."""
    return base64.b64decode(privacy_group_id)


class Truth:
    """Executes every private transaction that is mined, in the order of the blocks, and never replays anything.

    Args:
        network: The devnet.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._groups: dict[str, GroupTimeline] = {}

    def executed(self, privacy_group_id: str) -> tuple[ExecutedTransaction, ...]:
        """Return a group's history."""
        known = self._groups.get(privacy_group_id)
        return tuple(known.records) if known is not None else ()

    def last(self, privacy_group_id: str) -> ExecutedTransaction | None:
        """Return what was executed last in a group."""
        known = self._groups.get(privacy_group_id)
        return known.records[-1] if known is not None and known.records else None

    def block_of(self, privacy_group_id: str, index: int) -> int:
        """Return the block of a transaction of a group's history."""
        return self._groups[privacy_group_id].blocks[index]

    def state_at(self, privacy_group_id: str, block_number: int) -> GroupState | None:
        """Return a group's state after a block; None when it did not exist."""
        known = self._groups.get(privacy_group_id)
        return known.state_at(block_number) if known is not None else None

    def execute(self, block: Block, transaction: PublicTransaction) -> None:
        """Take the next transaction of a block that was just made."""
        payloads = self._network.enclaves._payloads
        _, payload = payloads.get(transaction.payload_key, (None, None)) if transaction.is_marker else (None, None)
        if not isinstance(payload, TransactionPayload):
            return
        group, rules = payload.signed.transaction.privacy_group_id or "", self._network.rules
        last = self.last(group)
        state = last.state if last is not None else fresh_state(rules)
        context = BlockContext(number=block.number, parent_hash=block.parent_hash, coinbase=block.miner)
        execution = process(state, payload.signed, payload.version, transaction.hash, context, rules)
        if execution.record is not None:
            self._groups.setdefault(group, GroupTimeline()).append(block.number, execution.record)

    def forget_after(self, block_number: int) -> None:
        """Forget what was in blocks that were taken off the chain."""
        for timeline in self._groups.values():
            timeline.forget_after(block_number)
        self._groups = {group: timeline for group, timeline in self._groups.items() if timeline.records}
