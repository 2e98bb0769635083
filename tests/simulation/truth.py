"""What is so, whatever any node or replica believes: each group as a member has it that was there from the start."""

import base64
from itertools import pairwise

from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.enclaves.enclave import HistoryPayload, Payload, TransactionPayload
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.private.contract import BlockContext
from orchestrator.devnet.private.execution import fresh_state, process
from orchestrator.devnet.private.private_state import ExecutedTransaction, GroupState


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
        self._groups: dict[str, list[tuple[int, ExecutedTransaction]]] = {}

    def executed(self, privacy_group_id: str) -> list[tuple[int, ExecutedTransaction]]:
        """Return a group's history, each transaction with its block."""
        return self._groups.get(privacy_group_id, [])

    def last(self, privacy_group_id: str) -> ExecutedTransaction | None:
        """Return what was executed last in a group."""
        known = self.executed(privacy_group_id)
        return known[-1][1] if known else None

    def state_at(self, privacy_group_id: str, block_number: int) -> GroupState | None:
        """Return a group's state after a block; None when it did not exist."""
        known = [record.state for number, record in self.executed(privacy_group_id) if number <= block_number]
        return known[-1] if known else None

    def removal_of(self, privacy_group_id: str, enclave_key: str) -> bytes:
        """Return the transaction, as it was signed, that removed a member last; nothing when none did."""
        states = [(record.state.contract.participants, record) for _, record in self.executed(privacy_group_id)]
        for (before, _), (after, record) in reversed(list(pairwise(states))):
            if enclave_key in before and enclave_key not in after:
                return record.signed.raw
        return b""

    def private_of(self, transaction: PublicTransaction) -> bytes:
        """Return the private transaction that a marker carries, as it was signed; nothing when it is no marker."""
        payload = self._payload(transaction.payload_key) if transaction.is_marker else None
        return payload.signed.raw if isinstance(payload, TransactionPayload) else b""

    def group_of(self, transaction: PublicTransaction) -> str:
        """Return the group of a marker's private transaction; nothing when it is no marker."""
        payload = self._payload(transaction.payload_key) if transaction.is_marker else None
        return payload.signed.transaction.privacy_group_id or "" if isinstance(payload, TransactionPayload) else ""

    def outdates(self, transaction: PublicTransaction) -> bool:
        """Return whether a marker brings a history that does not end with what was executed last in its group."""
        key = transaction.history_key
        payload = self._payload(key) if key is not None else None
        last = self.last(self.group_of(transaction)) if isinstance(payload, HistoryPayload) else None
        return last is not None and isinstance(payload, HistoryPayload) and payload.records[-1].signed != last.signed

    def is_near(self, block: Block, transaction: PublicTransaction) -> bool:
        """Return whether a marker brings a history that ends in the block before: its replay takes of other groups what
        they have there (docs/besu.md#how-replay-damages-other-groups, 2)."""
        known = self.executed(self.group_of(transaction))
        return transaction.history_key is not None and bool(known) and known[-1][0] == block.number - 1

    def beside(self, privacy_group_id: str, before: ExecutedTransaction) -> set[str]:
        """Return the other groups of the members that a group has since a transaction of its own."""
        last = self.last(privacy_group_id)
        members = last.state.contract.participants if last is not None else ()
        new = set(members) - set(before.state.contract.participants)
        return {
            group
            for group, known in self._groups.items()
            if group != privacy_group_id and not new.isdisjoint(known[-1][1].state.contract.participants)
        }

    def execute(self, block: Block, transaction: PublicTransaction) -> None:
        """Take the next transaction of a block that was just made."""
        payload = self._payload(transaction.payload_key) if transaction.is_marker else None
        if not isinstance(payload, TransactionPayload):
            return
        group, rules = payload.signed.transaction.privacy_group_id or "", self._network.rules
        last = self.last(group)
        state = last.state if last is not None else fresh_state(rules)
        context = BlockContext(number=block.number, parent_hash=block.parent_hash, coinbase=block.miner)
        execution = process(state, payload.signed, payload.version, transaction.hash, context, rules)
        if execution.record is not None:
            self._groups.setdefault(group, []).append((block.number, execution.record))

    def _payload(self, key: bytes) -> Payload | None:
        found = self._network.enclaves._payloads.get(key)
        return None if found is None else found[1]

    def forget_after(self, block_number: int) -> None:
        """Forget what was in blocks that were taken off the chain."""
        kept = {
            group: [(number, record) for number, record in known if number <= block_number]
            for group, known in self._groups.items()
        }
        self._groups = {group: known for group, known in kept.items() if known}
