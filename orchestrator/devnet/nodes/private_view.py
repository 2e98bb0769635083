"""What a node can read of private state, payloads and receipts. Pure.

Source: Besu 23.10.3, how private transactions and receipts are looked up: through the enclave, or for transactions
before the node's own joining through the last history bundle that it replayed of a group in the block's head map.
"""

from dataclasses import dataclass

from orchestrator.besu.codec.bundles import BundleItem
from orchestrator.besu.codec.private_transaction import SignedPrivateTransaction
from orchestrator.devnet.chain.chain import Block, Chain
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.enclaves.enclave import EnclaveNetwork, HistoryPayload, Payload, TransactionPayload
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.private.private_state import NOT_EXECUTED, ExecutedTransaction, GroupState, PrivateReceipt


@dataclass(frozen=True, slots=True)
class FoundPrivateTransaction:
    """A private transaction that a node can show, with the place of its marker."""

    signed: SignedPrivateTransaction
    block: Block
    index: int
    marker: PublicTransaction


def state_at(node: Node, privacy_group_id: bytes, block_number: int) -> GroupState | None:
    """A group's state after a block, as this node has it; None when it has none.

    Of the block's own transactions first, then by its head map (Besu 23.10.3, PrivateStateRootResolver).
    """
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
        if timeline.history_key is None or timeline.head_at(block.number) is None:
            continue
        history = enclaves.receive(node.enclave, timeline.history_key, key)
        if not isinstance(history, HistoryPayload):
            continue
        for record in history.records:
            if record.pmt_hash == pmt_hash:
                return FoundPrivateTransaction(record.signed, block, index, marker)
    return None


def history_bundle(
    enclaves: EnclaveNetwork, node: Node, privacy_group_id: bytes, block_number: int
) -> tuple[BundleItem, ...]:
    """The history that a node bundles for new members of a group, read at a block; none when it has none.

    Raises:
        EnclaveDownError: the node's enclave does not answer.
    """
    walked, history_key = walked_history(node, privacy_group_id, block_number)
    first = enclaves.receive(node.enclave, history_key) if walked and history_key is not None else None
    return joined_history(first, walked)


def walked_history(
    node: Node, privacy_group_id: bytes, block_number: int
) -> tuple[list[ExecutedTransaction], bytes | None]:
    """A group's history as the node's head maps have it, and the key of the bundle that it was itself added with."""
    timeline = node.timelines.get(privacy_group_id)
    return ([], None) if timeline is None else (timeline.walk(block_number), timeline.history_key)


def joined_history(first: Payload | None, walked: list[ExecutedTransaction]) -> tuple[BundleItem, ...]:
    """What a node bundles: the bundle that it was itself added with, and as much of its own history as is longer.

    The first part comes whole; where the node's head maps are damaged, the bundle is torn (Besu 23.10.3,
    FlexiblePrivacyController).
    """
    records = first.records if isinstance(first, HistoryPayload) and walked else ()
    return (*records, *walked[len(records) :])


def receipt_of(node: Node, found: FoundPrivateTransaction) -> PrivateReceipt:
    """What this node says about the execution of a private transaction that it can show."""
    pmt_hash = found.marker.hash
    group = from_base64(found.signed.transaction.privacy_group_id or "") or b""
    timeline = node.timelines.get(group)
    if timeline is not None:
        for record in timeline.executed_in(found.block.number):
            if record.pmt_hash == pmt_hash:
                return record.receipt
    failed = node.failed.get(pmt_hash)
    return failed[1] if failed is not None and failed[0] == found.block.hash else NOT_EXECUTED
