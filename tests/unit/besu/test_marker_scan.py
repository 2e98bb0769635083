from collections.abc import Sequence
from typing import cast

from orchestrator.besu.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.marker_scan import MinedMarker, SeenSignatures, find_markers
from orchestrator.besu.node import Node
from orchestrator.besu.private_transaction import (
    PrivateTransaction,
    SignedPrivateTransaction,
    decode_private_transaction,
    sign_private_transaction,
)
from orchestrator.besu.results import Block, Head, PublicTransaction

# A well-known development key: everybody has it.
KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
MEMBER = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="


def signed(number: int) -> bytes:
    group = "YWNjZXB0YW5jZS1ncm91cC1vZi0zMi1ieXRlcy4uLi4="
    fields = PrivateTransaction(
        private_nonce=number, private_from=MEMBER, to=None, privacy_group_id=group, chain_id=1337
    )
    return sign_private_transaction(fields, KEY)


def pmt(number: int) -> str:
    return f"0x{number:064x}"


class MarkerNode:
    """A node whose block n carries private transaction n; counts what it is asked."""

    def __init__(self) -> None:
        self.looked_into: list[str] = []
        self.verified: list[str] = []

    async def blocks(self, first: int, last: int) -> tuple[Block, ...]:
        return tuple(self._block(number) for number in range(first, last + 1))

    @staticmethod
    def _block(number: int) -> Block:
        head = Head(number=number, hash=pmt(1000 + number), parent_hash=pmt(999 + number), timestamp=number)
        marker = PublicTransaction(
            transaction_hash=pmt(number), sender="0x00", sender_nonce=0, to=PRIVACY_PRECOMPILE, data=b""
        )
        return Block(head=head, transactions=(marker,))

    async def private_signatures(self, pmt_hashes: Sequence[str]) -> tuple[tuple[int, int], ...]:
        self.looked_into += pmt_hashes
        return tuple((found.r, found.s) for found in map(self._carried, pmt_hashes))

    async def private_transactions(self, pmt_hashes: Sequence[str]) -> tuple[SignedPrivateTransaction, ...]:
        self.verified += pmt_hashes
        return tuple(map(self._carried, pmt_hashes))

    @staticmethod
    def _carried(pmt_hash: str) -> SignedPrivateTransaction:
        return decode_private_transaction(signed(int(pmt_hash, 16)))


async def test_many_searches_look_into_each_pmt_once() -> None:
    """Twenty searches of the same twenty blocks each find theirs, and each PMT is read once and verified once."""
    node, seen = MarkerNode(), SeenSignatures()
    for number in range(20):
        found = await find_markers(cast("Node", node), [signed(number)], 0, 19, seen)
        assert found == [MinedMarker(pmt(number), number, signed(number))]
    assert sorted(node.looked_into) == sorted(node.verified) == [pmt(number) for number in range(20)]


async def test_bytes_that_nobody_sent_are_not_found() -> None:
    """What is no transaction, or another one, is in no block."""
    node = MarkerNode()
    assert await find_markers(cast("Node", node), [b"no transaction", signed(99)], 0, 9) == []
    assert node.verified == []
