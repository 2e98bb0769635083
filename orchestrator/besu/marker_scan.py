"""Finding the PMTs of signed private transactions whose hash never came back."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from orchestrator.besu.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.node import Node
from orchestrator.besu.private_transaction import signature_of

_BLOCKS_AT_ONCE: Final = 64
_MOST_SIGNATURES: Final = 20_000


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


class SeenSignatures(dict[str, tuple[int, int]]):
    """r and s of the private transactions of PMTs that were looked into: they never change.

    After a crash, or when a node lost its pool, every lane searches the same blocks; with this each of their PMTs is
    read once.
    """

    def note(self, pmt_hash: str, signature: tuple[int, int]) -> None:
        """Remember one; the oldest is forgotten for it when there are many."""
        if len(self) >= _MOST_SIGNATURES:
            del self[next(iter(self))]
        self[pmt_hash] = signature


async def find_markers(
    node: Node, raws: Collection[bytes], first_block: int, last_block: int, seen: SeenSignatures | None = None
) -> list[MinedMarker]:
    """Return the PMTs from ``first_block`` to ``last_block`` that carry one of the signed transactions, oldest first.

    Costs two or three HTTP requests for each 64 blocks. The node must have the payloads: the one that the transactions
    were sent through, or another member's.

    Args:
        node: where to look.
        raws: signed private transactions, as ``sign_private_transaction`` returned them.
        first_block: first block to look into.
        last_block: last block to look into.
        seen: what earlier searches on this node saw.

    Raises:
        BesuError: the node cannot be read, or does not have one of the blocks (``NotKnownError``).
    """
    wanted = set(raws)
    signatures = {signature for signature in map(signature_of, wanted) if signature is not None}
    known = SeenSignatures() if seen is None else seen
    found: list[MinedMarker] = []
    for start in range(first_block, last_block + 1, _BLOCKS_AT_ONCE):
        blocks = await node.blocks(start, min(start + _BLOCKS_AT_ONCE - 1, last_block))
        markers = [
            (transaction.transaction_hash, block.head.number)
            for block in blocks
            for transaction in block.transactions
            if transaction.to == PRIVACY_PRECOMPILE
        ]
        await _look_into([pmt_hash for pmt_hash, _ in markers if pmt_hash not in known], node, known)
        alike = [marker for marker in markers if known.get(marker[0]) in signatures]
        carried = await node.private_transactions([pmt_hash for pmt_hash, _ in alike]) if alike else ()
        found += [
            MinedMarker(pmt_hash, block_number, signed.raw)
            for (pmt_hash, block_number), signed in zip(alike, carried, strict=True)
            if signed is not None and signed.raw in wanted
        ]
    return found


async def _look_into(pmt_hashes: list[str], node: Node, known: SeenSignatures) -> None:
    if not pmt_hashes:
        return
    for pmt_hash, signature in zip(pmt_hashes, await node.private_signatures(pmt_hashes), strict=True):
        if signature is not None:
            known.note(pmt_hash, signature)
