"""What a node can read of private state, payloads and receipts. Pure.

Source: Besu 23.10.3, how private transactions and receipts are looked up: through the enclave, or for transactions
before the node's own joining through the history bundle that it replayed.
"""

from dataclasses import dataclass

from orchestrator.besu.private_transaction import SignedPrivateTransaction
from orchestrator.devnet.chain import Block, Chain
from orchestrator.devnet.enclave import EnclaveNetwork, HistoryPayload, TransactionPayload
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.node import Node
from orchestrator.devnet.private_state import NOT_EXECUTED, GroupState, PrivateReceipt
from orchestrator.devnet.public_transaction import PublicTransaction


@dataclass(frozen=True, slots=True)
class FoundPrivateTransaction:
    """A private transaction that a node can show, with the place of its marker."""

    signed: SignedPrivateTransaction
    block: Block
    index: int
    marker: PublicTransaction


def state_at(node: Node, privacy_group_id: bytes, block_number: int) -> GroupState | None:
    """A group's state after a block, as this node has it; None when it has none."""
    timeline = node.timelines.get(privacy_group_id)
    return timeline.state_at(block_number) if timeline is not None else None


def members_at(node: Node, privacy_group_id: bytes, block_number: int) -> tuple[str, ...]:
    """A group's members after a block, as this node knows them; none for a group that it does not know."""
    state = state_at(node, privacy_group_id, block_number)
    return state.contract.participants if state is not None else ()


def find_private_transaction(
    chain: Chain, enclaves: EnclaveNetwork, node: Node, pmt_hash: bytes, key: str
) -> FoundPrivateTransaction | None:
    """Find the private transaction of a marker that this node has imported, as enclave key ``key`` may read it.

    Raises:
        EnclaveDownError: the node's enclave does not answer.
    """
    located = chain.locate(pmt_hash)
    if located is None or located[0].number > node.head.number:
        return None
    block, index = located
    marker = block.transactions[index]
    if not marker.is_marker:
        return None
    payload = enclaves.receive(node.enclave, marker.payload_key, key)
    if isinstance(payload, TransactionPayload):
        return FoundPrivateTransaction(payload.signed, block, index, marker)
    for timeline in node.timelines.values():
        for history_key in timeline.history_keys:
            history = enclaves.receive(node.enclave, history_key, key)
            if not isinstance(history, HistoryPayload):
                continue
            for record in history.records:
                if record.pmt_hash == pmt_hash:
                    return FoundPrivateTransaction(record.signed, block, index, marker)
    return None


def receipt_of(node: Node, found: FoundPrivateTransaction) -> PrivateReceipt:
    """What this node says about the execution of a private transaction that it can show."""
    pmt_hash = found.marker.hash
    group = from_base64(found.signed.transaction.privacy_group_id or "") or b""
    timeline = node.timelines.get(group)
    if timeline is not None:
        for _, record in timeline.between(found.block.number, found.block.number):
            if record.pmt_hash == pmt_hash:
                return record.receipt
    failed = node.failed.get(pmt_hash)
    return failed[1] if failed is not None and failed[0] == found.block.hash else NOT_EXECUTED
