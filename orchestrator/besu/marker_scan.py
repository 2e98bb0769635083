"""Finding the PMTs of signed private transactions whose hash never came back."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from orchestrator.besu.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.node import Node
from orchestrator.besu.private_transaction import signature_of

_BLOCKS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class MinedMarker:
    """A PMT in a block.

    Attributes:
        pmt_hash: its hash.
        block_number: the block that holds it.
        raw: the signed private transaction that it carries.
    """

    pmt_hash: str
    block_number: int
    raw: bytes


async def find_markers(node: Node, raws: Collection[bytes], first_block: int, last_block: int) -> list[MinedMarker]:
    """Return the PMTs from ``first_block`` to ``last_block`` that carry one of the signed transactions, oldest first.

    Costs two HTTP requests for each 64 blocks. The node must have the payloads: the one that the transactions were
    sent through, or another member's.

    Args:
        node: where to look.
        raws: signed private transactions, as ``sign_private_transaction`` returned them.
        first_block: first block to look into.
        last_block: last block to look into; the node's head bounds it.

    Raises:
        BesuError: the node cannot be read.
    """
    wanted = set(raws)
    signatures = {signature for signature in map(signature_of, wanted) if signature is not None}
    found: list[MinedMarker] = []
    for start in range(first_block, last_block + 1, _BLOCKS_AT_ONCE):
        blocks = await node.blocks(start, min(start + _BLOCKS_AT_ONCE - 1, last_block))
        markers = [
            (transaction.transaction_hash, block.head.number)
            for block in blocks
            for transaction in block.transactions
            if transaction.to == PRIVACY_PRECOMPILE
        ]
        carried = await node.private_transactions([pmt_hash for pmt_hash, _ in markers], signatures=signatures)
        found += [
            MinedMarker(pmt_hash, block_number, signed.raw)
            for (pmt_hash, block_number), signed in zip(markers, carried, strict=True)
            if signed is not None and signed.raw in wanted
        ]
    return found
